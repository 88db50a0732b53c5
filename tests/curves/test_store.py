"""The user's own curves: which folder wins, which calibration of a model is found, and what is said of files that cannot be used."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path

import pytest

from magcache import MagnitudeCurve, SpeedupSettings
from magcache.curves.store import CurveStore
from magcache.errors import MagCacheError, UnknownCurveError


def curve(name: str, first: float = 1.0, last: float = 0.1, mark: str = "m", model: str = "flux") -> MagnitudeCurve:
    sigmas = tuple(first + (last - first) * step / 9 for step in range(10))
    provenance = {"fingerprint": mark, "model": model}
    return MagnitudeCurve(name=name, family="flux", sigmas=sigmas, ratios={"cond": (1.0,) * 10}, provenance=provenance)


@pytest.fixture
def store(tmp_path: Path) -> CurveStore:
    folders = tmp_path / "first", tmp_path / "second"
    for folder in folders:
        folder.mkdir()
    return CurveStore(folders)


def test_the_first_folder_wins_and_is_written_to(store: CurveStore):
    first, second = store.folders
    curve("mine", last=0.5).save(second / "mine.json")
    assert store.load("mine", 10).sigmas[-1] == 0.5
    assert store.save(curve("mine")) == first / "mine.json"
    assert store.load("mine", 10).sigmas[-1] == pytest.approx(0.1)
    assert store.names()[-1] == "mine" and "flux" in store.names()


def test_a_curve_of_the_user_goes_before_a_shipped_one_and_an_unknown_name_is_explained(store: CurveStore):
    shipped = store.load("flux", 28)
    store.save(replace(curve("flux"), name="flux"))
    assert store.load("flux", 28) != shipped and store.names().count("flux") == 1
    with pytest.raises(UnknownCurveError, match=r"no curve named 'none'.*Known: "):
        store.load("none", 28)


def test_the_calibration_that_covers_most_is_found_then_the_one_for_the_kind_then_the_newest(store: CurveStore):
    for age, each in enumerate((curve("whole"), curve("part", first=0.5), curve("other", mark="x"), curve("edit", model="kontext"))):
        path = store.save(each)
        os.utime(path, (1000 - age, 1000 - age))
    run = [1.0, 0.7, 0.4, 0.2]
    found = store.own_curve_of("m", "flux", run)
    assert found is not None and found.name == "whole"
    assert store.own_curve_of("m", "kontext", run).name == "edit"  # type: ignore[union-attr]
    assert store.own_curve_of("m", "flux", [0.5, 0.3]).name == "whole"  # type: ignore[union-attr]
    assert store.own_curve_of("nobody", "flux", run) is None
    os.utime(store.save(curve("newer")), (2000, 2000))
    assert store.own_curve_of("m", "flux", run).name == "newer"  # type: ignore[union-attr]


def test_what_cannot_be_read_is_ignored_with_a_warning(store: CurveStore, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.WARNING)
    (store.folders[0] / "broken.json").write_text("{")
    (store.folders[0] / "presets").mkdir()
    (store.folders[0] / "presets" / "mine.json").write_text("{")
    assert store.own_curve_of("m", "flux", [1.0]) is None and store.preset_of("mine") is None
    assert "ignores a curve file" in caplog.text and "ignores a preset" in caplog.text


def test_presets_are_kept_beside_the_curves(store: CurveStore):
    settings = SpeedupSettings(2.4, "hold", 0.1, 0.9)
    assert store.preset_of("mine") is None
    assert store.save_preset("mine", settings) == store.folders[0] / "presets" / "mine.json"
    assert store.preset_of("mine") == settings and "mine" not in store.own_files()


def test_a_folder_that_cannot_be_written_to_is_explained(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    store = CurveStore((tmp_path / "file",))
    with pytest.raises(MagCacheError, match=r"could not be saved to .*Make the folder writable"):
        store.save(curve("mine"))
    with pytest.raises(MagCacheError, match=r"preset could not be saved"):
        store.save_preset("mine", SpeedupSettings(2.0, "hold"))
