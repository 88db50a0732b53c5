"""A study that several workers share and that resumes after a kill."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from magcache.errors import MagCacheError
from magcache.server.tune.space import AUTO_SPACE
from magcache.server.tune.study import Study, open_study

TASK_KEY = {"workflow": "hash", "seeds": 2}


def opened(folder: Path, total: int = 4):
    return open_study(folder, AUTO_SPACE, TASK_KEY, total)


def propose(study: Study) -> int:
    """Number of the next trial."""
    proposed = study.propose()
    assert proposed is not None
    return proposed[0]


def finish(study: Study) -> list[int]:
    """Measure the remaining trials, each a little slower and closer than the one before."""
    numbers = []
    while (proposed := study.propose()) is not None:
        numbers.append(proposed[0])
        study.measured(proposed[0], 7 + proposed[0], 20, 30.0 + proposed[0])
    return numbers


def test_the_total_is_measured_and_the_first_settings_come_first(tmp_path: Path):
    with opened(tmp_path, total=5) as study:
        assert len(finish(study)) == 5 and study.remaining == 0
        assert [trial.settings for trial in study.trials()[: len(AUTO_SPACE.first)]] == list(AUTO_SPACE.first)
        first = study.trials()[0]
        assert (first.nfe, first.evaluations, first.psnr) == (7, 20, 30.0)


def test_a_later_process_resumes_and_may_raise_the_total(tmp_path: Path):
    with opened(tmp_path, total=2) as study:
        finish(study)
        before = study.trials()
    with opened(tmp_path, total=2) as study:
        assert study.propose() is None
    with opened(tmp_path, total=5) as study:
        assert len(finish(study)) == 3 and study.trials()[:2] == before


def test_the_trial_of_a_killed_process_is_measured_again_with_the_same_settings(tmp_path: Path):
    with opened(tmp_path) as study:
        proposed = study.propose()  # And no result.
    with opened(tmp_path) as study:
        finish(study)
        assert proposed is not None and proposed[1] in [trial.settings for trial in study.trials()]
        assert len(study.trials()) == 4


def test_a_half_written_line_and_a_lock_left_by_a_kill_do_no_harm(tmp_path: Path):
    with opened(tmp_path, total=2) as study:
        finish(study)
    with (tmp_path / "study.jsonl").open("a") as file:
        file.write('{"op_code": 5, "wor')
    (tmp_path / "study.jsonl.lock").touch()
    for total in (3, 4):
        with opened(tmp_path, total) as study:
            assert len(finish(study)) == 1 and len(study.trials()) == total


def test_a_postponed_trial_is_proposed_again(tmp_path: Path):
    with opened(tmp_path) as study:
        proposed = study.propose()
        assert proposed is not None
        study.postponed(proposed[0])
        finish(study)
        assert [trial.settings for trial in study.trials()].count(proposed[1]) == 1


def test_a_failed_trial_does_not_count(tmp_path: Path):
    with opened(tmp_path) as study:
        failed = propose(study)
        study.failed(failed)
        assert len(finish(study)) == 4 and failed not in [trial.number for trial in study.trials()]


def test_a_worker_waits_for_a_trial_that_another_may_postpone(tmp_path: Path):
    with opened(tmp_path, total=1) as study:
        first, second = propose(study), list[object]()
        worker = threading.Thread(target=lambda: second.append(study.propose()))
        worker.start()
        worker.join(0.2)
        assert worker.is_alive()
        study.postponed(first)
        worker.join(10)
        assert second[0] is not None


def test_stopping_ends_the_wait_of_workers(tmp_path: Path):
    with opened(tmp_path, total=1) as study:
        propose(study)
        got = list[object]()
        worker = threading.Thread(target=lambda: got.append(study.propose()))
        worker.start()
        study.stop()
        worker.join(10)
        assert got == [None]


def test_the_pareto_front_holds_what_nothing_beats_in_both(tmp_path: Path):
    with opened(tmp_path, total=5) as study:
        for nfe, psnr in ((10, 40.0), (8, 36.0), (9, 35.0), (12, 39.0), (10, 40.0)):
            study.measured(propose(study), nfe, 20, psnr)
        assert [(trial.number, trial.nfe, trial.psnr, trial.speedup) for trial in study.pareto_front()] == [
            (1, 8, 36.0, 2.5),
            (0, 10, 40.0, 2.0),
        ]


def test_a_second_process_and_another_task_are_refused(tmp_path: Path):
    with opened(tmp_path), pytest.raises(MagCacheError, match="in use by another"), opened(tmp_path):
        pass
    with pytest.raises(MagCacheError, match="another version"), open_study(tmp_path, AUTO_SPACE, {**TASK_KEY, "seeds": 3}, 4):
        pass
    with opened(tmp_path) as study:
        assert study.remaining == 4
