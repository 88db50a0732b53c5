"""Finished videos are kept in a folder and read back, whatever else is in it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from magcache.framepack.facts import Facts, Quality, Skipped
from magcache.framepack.history import History, open_picture
from magcache.framepack.settings import Task

from .studio import task

FACTS = Facts("a model", 73, 64, 64, 1.5)
FULL = replace(
    FACTS, plain_seconds=3.0, quality=Quality(33.0, 21.5, 7), skipped=Skipped("line", "table", "note", True, 24, 15, 1.4)
)  # fmt: skip


def write(folder: Path, name: str) -> None:
    (folder / f"{name}.mp4").write_bytes(b"video")


def test_a_new_page_finds_what_an_older_one_kept(tmp_path: Path):
    history = History(tmp_path / "videos")
    kept = [history.add(each, facts, write) for each, facts in ((task(seed=1), FACTS), (task(seed=2, prompt="“é”"), FULL))]
    found = History(tmp_path / "videos")
    assert found.entries() == sorted(kept, key=lambda entry: entry.name, reverse=True) and found.unreadable == []
    assert {entry.facts for entry in found.entries()} == {FACTS, FULL}
    assert found.find(kept[0].name) == kept[0] and found.find("another") is None


def test_the_pictures_come_back(tmp_path: Path):
    of = task()
    both = Task(of.settings, of.picture, of.picture.rotate(90))
    one, two = (History(tmp_path).add(each, FACTS, write) for each in (of, both))
    assert open_picture(one.picture).tobytes() == of.picture.tobytes() and one.last_picture is None
    assert open_picture(two.last_picture).tobytes() == of.picture.rotate(90).tobytes()


def test_the_newest_comes_first_and_names_are_free(tmp_path: Path):
    history = History(tmp_path)
    names = [history.add(task(), FACTS, write).name for _ in range(3)]
    assert len(set(names)) == 3 and [entry.name for entry in history.entries()] == names[::-1]


def test_a_file_beside_the_video_has_its_settings(tmp_path: Path):
    entry = History(tmp_path).add(task(prompt="Füchse"), FULL, write)
    text = (entry.folder / f"{entry.name}.json").read_text(encoding="utf-8")
    assert "Füchse" in text and json.loads(text)["settings"]["prompt"] == "Füchse"
    assert entry.video.parent == entry.folder and entry.video.is_file()


def test_nothing_half_written_is_left(tmp_path: Path):
    def fail(folder: Path, name: str) -> None:
        write(folder, name)
        raise KeyboardInterrupt

    history = History(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        history.add(task(), FACTS, fail)
    assert list(tmp_path.iterdir()) == [] and history.entries() == []


BROKEN = {
    "no_json": lambda text: text[:-20],
    "other_format": lambda text: text.replace("magcache.framepack", "other"),
    "no_facts": lambda text: text.replace('"facts"', '"fact"'),
    "a_fact_is_missing": lambda text: text.replace('"seconds": 1.5', '"second": 1.5'),
    "a_fact_is_no_number": lambda text: text.replace('"frames": 73', '"frames": "73"'),
    "a_setting_is_out_of_range": lambda text: text.replace('"steps": 12', '"steps": 1200'),
    "too_deep": lambda _: "[" * 100_000,
    "empty": lambda _: "",
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_file_that_is_not_understood_is_named_and_the_others_are_shown(tmp_path: Path, broken: str):
    history = History(tmp_path)
    bad, good = history.add(task(), FULL, write), history.add(task(seed=4), FULL, write)
    path = bad.folder / f"{bad.name}.json"
    text = path.read_text()
    path.write_text(BROKEN[broken](text))
    assert path.read_text() != text
    found = History(tmp_path)
    assert found.entries() == [good]
    assert len(found.unreadable) == 1 and path.name in found.unreadable[0]


def test_other_files_in_the_folder_are_left_alone(tmp_path: Path):
    (tmp_path / "holiday.mp4").write_bytes(b"")
    (tmp_path / "notes").mkdir()
    assert History(tmp_path).entries() == []
