"""A search that several workers share and that a kill does not end."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from magcache.errors import MagCacheError
from magcache.server.tune.space import AUTO
from magcache.server.tune.study import Study, open_study

ABOUT = {"workflow": "hash", "seeds": 2}


def opened(folder: Path, total: int = 4):
    return open_study(folder, AUTO, ABOUT, total)


def ask(study: Study) -> int:
    asked = study.next()
    assert asked is not None
    return asked[0]


def finish(study: Study) -> list[int]:
    """Measure what is left, each a little slower and closer than the last."""
    numbers = []
    while (asked := study.next()) is not None:
        numbers.append(asked[0])
        study.measured(asked[0], 7 + asked[0], 20, 30.0 + asked[0])
    return numbers


def test_as_many_as_asked_for_are_measured_and_the_good_guesses_come_first(tmp_path: Path):
    with opened(tmp_path, total=5) as study:
        assert len(finish(study)) == 5 and study.left == 0
        assert [tried.setting for tried in study.tried()[: len(AUTO.first)]] == list(AUTO.first)
        first = study.tried()[0]
        assert (first.nfe, first.evaluations, first.psnr) == (7, 20, 30.0)


def test_a_later_run_goes_on_and_may_ask_for_more(tmp_path: Path):
    with opened(tmp_path, total=2) as study:
        finish(study)
        before = study.tried()
    with opened(tmp_path, total=2) as study:
        assert study.next() is None
    with opened(tmp_path, total=5) as study:
        assert len(finish(study)) == 3 and study.tried()[:2] == before


def test_what_a_killed_run_was_at_is_tried_again_with_the_same_setting(tmp_path: Path):
    with opened(tmp_path) as study:
        asked = study.next()  # And never told.
    with opened(tmp_path) as study:
        finish(study)
        assert asked is not None and asked[1] in [tried.setting for tried in study.tried()]
        assert len(study.tried()) == 4


def test_what_a_kill_leaves_in_the_folder_does_no_harm(tmp_path: Path):
    with opened(tmp_path, total=2) as study:
        finish(study)
    with (tmp_path / "study.jsonl").open("a") as file:
        file.write('{"op_code": 5, "wor')
    (tmp_path / "study.jsonl.lock").touch()
    for total in (3, 4):
        with opened(tmp_path, total) as study:
            assert len(finish(study)) == 1 and len(study.tried()) == total


def test_what_a_worker_gives_back_is_done_by_another(tmp_path: Path):
    with opened(tmp_path) as study:
        asked = study.next()
        assert asked is not None
        study.given_back(asked[0])
        finish(study)
        assert [tried.setting for tried in study.tried()].count(asked[1]) == 1


def test_a_setting_that_fails_does_not_count(tmp_path: Path):
    with opened(tmp_path) as study:
        failed = ask(study)
        study.failed(failed)
        assert len(finish(study)) == 4 and failed not in [tried.number for tried in study.tried()]


def test_a_worker_waits_for_what_another_may_give_back(tmp_path: Path):
    with opened(tmp_path, total=1) as study:
        first, second = ask(study), list[object]()
        worker = threading.Thread(target=lambda: second.append(study.next()))
        worker.start()
        worker.join(0.2)
        assert worker.is_alive()
        study.given_back(first)
        worker.join(10)
        assert second[0] is not None


def test_stopping_sends_waiting_workers_home(tmp_path: Path):
    with opened(tmp_path, total=1) as study:
        ask(study)
        got = list[object]()
        worker = threading.Thread(target=lambda: got.append(study.next()))
        worker.start()
        study.stop()
        worker.join(10)
        assert got == [None]


def test_the_front_has_what_nothing_beats_in_both(tmp_path: Path):
    with opened(tmp_path, total=5) as study:
        for nfe, psnr in ((10, 40.0), (8, 36.0), (9, 35.0), (12, 39.0), (10, 40.0)):
            study.measured(ask(study), nfe, 20, psnr)
        assert [(tried.number, tried.nfe, tried.psnr, tried.speedup) for tried in study.front()] == [(1, 8, 36.0, 2.5), (0, 10, 40.0, 2.0)]


def test_two_runs_at_a_time_and_another_workflow_are_refused(tmp_path: Path):
    with opened(tmp_path), pytest.raises(MagCacheError, match="in use by another"), opened(tmp_path):
        pass
    with pytest.raises(MagCacheError, match="another version"), open_study(tmp_path, AUTO, {**ABOUT, "seeds": 3}, 4):
        pass
    with opened(tmp_path) as study:
        assert study.left == 4
