"""The user's own curves: which folder wins, which calibration of a model is found, and what is said of files that cannot be used."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import replace
from pathlib import Path

import pytest

from magcache import MagnitudeCurve, SpeedupSettings
from magcache.curves.store import CurveStore, Saved
from magcache.curves.unsaved import UnsavedCurves
from magcache.errors import MagCacheError, UnknownCurveError


def curve(
    name: str, first: float = 1.0, last: float = 0.1, mark: str = "m", model: str = "flux", named: bool = False, family: str = "flux"
) -> MagnitudeCurve:
    """A calibration that MagCache has named, unless `named`."""
    sigmas = tuple(first + (last - first) * step / 9 for step in range(10))
    provenance = {"fingerprint": mark, "model": model, "named": named}
    return MagnitudeCurve(name=name, family=family, sigmas=sigmas, ratios={"cond": (1.0,) * 10}, provenance=provenance)


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
    assert store.save(curve("mine")) == Saved(first / "mine.json")
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
        path = store.save(each).path
        os.utime(path, (1000 - age, 1000 - age))
    run = [1.0, 0.7, 0.4, 0.2]
    found = store.own_curve_of("m", "flux", run)
    assert found is not None and found.name == "whole"
    assert store.own_curve_of("m", "kontext", run).name == "edit"  # type: ignore[union-attr]
    assert store.own_curve_of("m", "flux", [0.5, 0.3]).name == "whole"  # type: ignore[union-attr]
    assert store.own_curve_of("nobody", "flux", run) is None
    os.utime(store.save(curve("newer")).path, (2000, 2000))
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


def test_a_preset_that_cannot_be_written_is_explained(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(MagCacheError, match=r"preset could not be saved"):
        CurveStore((tmp_path / "file",)).save_preset("mine", SpeedupSettings(2.0, "hold"))


def test_what_a_folder_cannot_take_is_kept_in_memory_with_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    blocked, kept = tmp_path / "file", UnsavedCurves()
    blocked.write_text("in the way")
    for last in (0.5, 0.1):
        saved = CurveStore((blocked,), kept).save(curve("mine", last=last))
        assert saved.path == blocked / "mine.json" and "could not be saved to" in saved.problem
    again = CurveStore((blocked,), kept)
    assert again.load("mine", 10).sigmas[-1] == pytest.approx(0.1) and again.names()[-1] == "mine" and again.family_of("mine") == "flux"
    assert again.own_curve_of("m", "flux", [1.0, 0.5]) == again.load("mine", 10)
    assert len(caplog.records) == 1 and "until the program ends" in caplog.text
    assert not CurveStore((blocked,)).own_names() and not CurveStore((tmp_path,), kept).own_names(), (
        "it is that folder's, and this object's"
    )
    blocked.unlink()
    assert again.save(curve("mine", last=0.2)) == Saved(blocked / "mine.json")
    blocked.joinpath("mine.json").unlink()
    assert not again.own_names(), "what was written is not kept in memory as well"


def test_a_newer_measurement_in_memory_goes_before_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = CurveStore((tmp_path,))
    store.save(curve("mine", last=0.5))

    def full(self: MagnitudeCurve, path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(MagnitudeCurve, "save", full)
    assert "No space left" in store.save(curve("mine")).problem
    found = store.own_curve_of("m", "flux", [1.0, 0.5])
    assert found is not None and found.sigmas[-1] == pytest.approx(0.1) == store.load("mine", 10).sigmas[-1]
    assert store.own_names() == ["mine"]


def test_a_named_calibration_serves_only_those_who_choose_it(store: CurveStore):
    store.save(curve("my style", named=True))
    assert store.own_curve_of("m", "flux", [1.0, 0.5]) is None and store.named_curves_of("m") == ["my style"]
    store.save(curve("flux-m"))
    assert store.own_curve_of("m", "flux", [1.0, 0.5]).name == "flux-m"  # type: ignore[union-attr]
    assert store.named_curves_of("m") == ["my style"] and store.named_curves_of("x") == []


@pytest.mark.parametrize("name", ["私の曲線", "我的 曲线", "Мой LoRA 🦊", "../up", "a/b", "CON", "trailing...", "x" * 200, "a [red]b[/]"])
def test_a_curve_is_found_by_the_name_that_was_typed(store: CurveStore, name: str):
    path = store.save(curve(name, family="wan")).path
    assert path.parent == store.folders[0] and path.is_file()
    assert store.names()[-1] == name and store.load(name, 10).name == name and store.family_of(name) == "wan"
    assert store.save(curve(name)).path == path and store.own_names() == [name]
    store.save_preset(name, SpeedupSettings(2.4, "hold"))
    assert store.preset_of(name) == SpeedupSettings(2.4, "hold")
    assert {each.parent for each in store.folders[0].rglob("*.json")} == {store.folders[0], store.folders[0] / "presets"}


def test_names_that_differ_only_by_case_have_files_that_differ_by_more(store: CurveStore):
    for name, last in (("Mine", 0.1), ("mine", 0.2), ("MINE", 0.3)):
        store.save(curve(name, last=last))
        store.save_preset(name, SpeedupSettings(1 + last, "hold"))
    assert len({path.name.casefold() for path in store.folders[0].glob("*.json")}) == 3
    assert sorted(store.own_names()) == ["MINE", "Mine", "mine"]
    assert [round(store.load(name, 10).sigmas[-1], 3) for name in ("Mine", "mine", "MINE")] == [0.1, 0.2, 0.3]
    assert [store.preset_of(name).speedup for name in ("Mine", "mine", "MINE")] == [1.1, 1.2, 1.3]  # type: ignore[union-attr]


def test_a_file_that_hides_a_shipped_curve_still_loads_and_is_told(store: CurveStore):
    assert store.hidden() == []
    path = store.save(curve("flux", last=0.5)).path
    assert store.hidden() == [path] and store.load("flux", 28).sigmas[-1] == 0.5


def test_the_family_is_known_of_files_by_other_hands_too(store: CurveStore):
    document = curve("mine", family="wan").to_json()
    (store.folders[0] / "mine.json").write_text(json.dumps(dict(reversed(document.items()))))
    (store.folders[0] / "broken.json").write_text("{")
    assert store.family_of("mine") == "wan" and store.family_of("flux") == "flux"
    assert store.family_of("broken") is None and store.family_of("none") is None
