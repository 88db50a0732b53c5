"""What becomes of a calibration: a short one replaces no longer one, one that cannot be written is kept in memory, and one with a name
serves only those who choose it."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import folder_paths
import pytest
import torch

from magcache import MagnitudeCurve
from magcache.comfyui.curve_folders import curve_store
from magcache.comfyui.patch import MagCachePatch
from magcache.runtime.calibration_mode import CalibrationMode
from magcache.runtime.modes import SpeedupMode, ThresholdMode
from magcache.settings import ThresholdSettings

from .runs import Log, sample
from .tiny import Tiny


def with_mode(model: Any, mode: Any) -> tuple[Any, Log]:
    log = Log()
    return MagCachePatch(mode, log.add).attach(model), log


def calibrated(flux: Tiny, count: int, name: str = "", **more: Any) -> str:
    """Calibrate with `count` steps. The text on the node."""
    model, log = with_mode(flux.model, CalibrationMode("auto", name, **more))
    assert torch.equal(sample(flux, model, count=count, cfg=3.0), sample(flux, count=count, cfg=3.0)), "the picture is not lost"
    return log.texts[-1]


@pytest.fixture(params=["a file in its place", "a system folder"])
def read_only(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A models/magcache that not even root can write to."""
    folder = tmp_path / "file" if request.param == "a file in its place" else Path("/proc/magcache")
    if folder.parent == tmp_path:
        folder.write_text("in the way")
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "magcache", ([str(folder)], set()))
    return folder


@pytest.mark.parametrize("name", ["", "mine"])
def test_a_calibration_of_few_steps_does_not_replace_a_longer_one(flux: Tiny, curves_folder: Path, name: str):
    calibrated(flux, 12, name)
    (path,) = curves_folder.iterdir()
    before = path.read_text()
    text = calibrated(flux, 6, name)
    assert path.read_text() == before
    assert "Nothing was saved" in text and "of 12 steps is kept" in text and f"delete {path} first" in text
    path.unlink()
    assert "Nothing was saved" not in calibrated(flux, 6, name) and MagnitudeCurve.load(path).steps == 6
    calibrated(flux, 4, f"{name}2")
    assert MagnitudeCurve.load(path).steps == 6, "another name"
    for count in (6, 7, 12, 10):  # As long, longer, and no short one.
        calibrated(flux, count, name)
        assert MagnitudeCurve.load(path).steps == count


def test_a_broken_file_is_replaced_also_by_a_short_calibration(flux: Tiny, curves_folder: Path):
    (curves_folder / "mine.json").write_text("{")
    calibrated(flux, 6, "mine")
    assert MagnitudeCurve.load(curves_folder / "mine.json").steps == 6
    (curves_folder / "mine.json").write_text("{")
    assert "cannot be read as a curve" in calibrated(flux, 6, "mine", average=True), "an average needs both"


def test_what_cannot_be_written_is_kept_in_memory_and_serves_the_next_runs(flux: Tiny, read_only: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, logger="magcache")
    plain = sample(flux, count=16, cfg=3.0)
    model, log = with_mode(flux.model, SpeedupMode(2.0))
    assert torch.equal(sample(flux, model, count=16, cfg=3.0), plain)
    again, other = with_mode(flux.model, SpeedupMode(2.0))  # As after a change of the node.
    for each in (model, again):
        sample(flux, each, count=16, cfg=3.0)
    assert [report.nfe for report in log.reports + other.reports] == [16, 8, 8]
    assert "kept in memory until the program ends" in log.texts[0] and f"could not be saved to {read_only}" in log.texts[0]
    assert not [text for text in log.texts[1:] + other.texts if "memory until" in text or "could not" in text], "it is said once"
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING and "in memory" in record.getMessage()]) == 1
    (name,) = curve_store().own_names()
    assert log.reports[1].label.curve == name


def test_named_averaged_and_thorough_calibrations_are_kept_in_memory_too(flux: Tiny, read_only: Path, caplog: pytest.LogCaptureFixture):
    for runs in (1, 2):
        text = calibrated(flux, 12, "mine", average=True, thorough=True)
        assert "kept in memory" in text and curve_store().load("mine", 12).provenance.get("runs", 1) == runs
    assert curve_store().load("mine", 12).propagation.source == "measured" and len(curve_store().load("mine", 12).propagation.trials) == 2
    assert "of 12 steps is kept" in calibrated(flux, 6, "mine")
    assert len([record for record in caplog.records if "in memory until" in record.getMessage()]) == 1
    model, log = with_mode(flux.model, SpeedupMode(2.0, "mine"))
    sample(flux, model, count=12, cfg=3.0)
    assert log.reports[0].label.curve == "mine" and log.reports[0].reused


def test_a_named_curve_does_not_take_over_auto(flux: Tiny, curves_folder: Path):
    text = calibrated(flux, 16, "my style")
    assert "choose it by its name" in text and "faster" not in text
    model, log = with_mode(flux.model, SpeedupMode(2.0))
    for _ in range(2):
        sample(flux, model, count=16, cfg=3.0)
    assert [report.nfe for report in log.reports] == [16, 8]
    assert "your curve 'my style' of this model: choose it" in log.texts[0] and log.reports[1].label.curve.startswith("flux-")
    chosen, other = with_mode(flux.model, SpeedupMode(2.0, "my style"))
    sample(flux, chosen, count=16, cfg=3.0)
    assert other.reports[0].label.curve == "my style" and other.reports[0].nfe == 8
    sample(flux, model, count=16, cfg=3.0)
    calibrated(flux, 16, "newer")
    sample(flux, model, count=16, cfg=3.0)
    assert [report.label.curve for report in log.reports[2:]] == [log.reports[1].label.curve] * 2


def test_a_run_without_a_curve_says_that_there_is_a_named_one(flux: Tiny, curves_folder: Path):
    calibrated(flux, 16, "my style")
    runs = [(ThresholdMode("auto", ThresholdSettings()), 16, "euler"), (SpeedupMode(2.0), 6, "euler"), (SpeedupMode(2.0), 16, "lcm")]
    for mode, count, sampler in runs:
        model, log = with_mode(flux.model, mode)
        sample(flux, model, count=count, cfg=3.0, sampler=sampler)
        assert log.reports[0].reused == 0 and "your curve 'my style' of this model: choose it by its name" in log.reports[0].label.note


@pytest.mark.parametrize("own_name", [True, False])
def test_files_of_before_are_told_apart_by_their_names(flux: Tiny, curves_folder: Path, own_name: bool):
    """An automatic one serves `auto` as it did; a named one is told."""
    calibrated(flux, 16, "mine" if own_name else "")
    (path,) = curves_folder.iterdir()
    document = json.loads(path.read_text())
    del document["provenance"]["named"]
    path.write_text(json.dumps(document))
    model, log = with_mode(flux.model, SpeedupMode(2.0))
    sample(flux, model, count=16, cfg=3.0)
    assert log.reports[0].nfe == (16 if own_name else 8)
    assert ("your curve 'mine' of this model" in log.texts[0]) is own_name


def test_a_curve_whose_file_was_renamed_is_told_by_the_name_of_the_file(flux: Tiny, curves_folder: Path):
    calibrated(flux, 16, "mine")
    (curves_folder / "mine.json").rename(curves_folder / "renamed.json")
    assert "your curve 'renamed' of this model" in calibrated(flux, 16)


def test_a_long_name_leaves_room_for_the_part_of_a_schedule(flux: Tiny, curves_folder: Path):
    model, log = with_mode(flux.model, CalibrationMode("auto", "長" * 200))
    sample(flux, model, count=12, cfg=3.0, denoise=0.4)
    (name,) = curve_store().own_names()
    assert name.startswith("長" * 150) and "-below0." in name and len(name) == 200 and "saved" in log.texts[0]


def test_a_curve_of_another_model_is_no_hint(flux: Tiny, curves_folder: Path):
    calibrated(flux, 16, "mine")
    path = curves_folder / "mine.json"
    curve = MagnitudeCurve.load(path)
    replace(curve, provenance={**curve.provenance, "fingerprint": "f" * 16}).save(path)
    assert "mine" not in calibrated(flux, 16)
