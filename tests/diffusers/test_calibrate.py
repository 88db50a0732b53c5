"""calibrate(): a curve by one call of a pipeline, and how errors spread by a few more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import EulerAncestralDiscreteScheduler

import magcache.diffusers as mc
from magcache import MagnitudeCurve
from magcache.errors import CalibrationError

from .pipelines import PIPES
from .tiny_parts import Pipe, same


def calibrated(pipe: Any, kind: Pipe, folder: Path, steps: int = 12, **options: Any) -> MagnitudeCurve:
    with torch.no_grad():
        return mc.calibrate(pipe, folder=folder, **options, **kind.call(0, steps))


def test_a_curve_is_measured_saved_and_used(tmp_path: Path):
    kind = PIPES["flux"]
    pipe = kind.build()
    curve = calibrated(pipe, kind, tmp_path, 20)
    assert curve.steps == 20 and curve.products and MagnitudeCurve.load(tmp_path / f"{curve.name}.json") == curve
    assert pipe.transformer._compiled_call_impl is None
    cache = mc.apply(pipe, 2.0, folder=tmp_path)
    kind.run(pipe, steps=20)
    assert cache.report().reused == 10


def test_a_thorough_calibration_measures_how_errors_spread(tmp_path: Path):
    kind = PIPES["flux"]
    curve = calibrated(kind.build(), kind, tmp_path, 20, thorough=True)
    assert curve.propagation.source == "measured" and curve.propagation.trials
    assert MagnitudeCurve.load(tmp_path / f"{curve.name}.json") == curve


def test_calls_are_repeated_from_the_same_noise(tmp_path: Path):
    """The generator that the user gives is used up by the first call: its state is put back."""
    kind = PIPES["flux"]
    arguments = {name: value for name, value in kind.call(0, 20).items() if name != "generator"}
    with torch.no_grad():
        one = mc.calibrate(kind.build(), thorough=True, folder=tmp_path / "a", generator=torch.Generator().manual_seed(0), **arguments)
        other = mc.calibrate(kind.build(), thorough=True, folder=tmp_path / "b", **arguments)
    assert one.propagation == other.propagation


def test_sections_are_averaged(tmp_path: Path):
    kind = PIPES["framepack"]
    assert kind.runs > 1
    curve = calibrated(kind.build(), kind, tmp_path)
    assert curve.provenance["runs"] == kind.runs and len(list(tmp_path.glob("*.json"))) == 1


def test_a_thorough_calibration_keeps_the_mean_of_all_sections(tmp_path: Path):
    kind = PIPES["framepack"]
    curve = calibrated(kind.build(), kind, tmp_path, thorough=True)
    assert curve.provenance["runs"] == kind.runs and curve.propagation.trials


def test_both_branches_of_guidance_are_recorded(tmp_path: Path):
    for name in ("wan21_t2v", "sd3", "ltx", "z_image"):
        curve = calibrated(PIPES[name].build(), PIPES[name], tmp_path)
        assert {"cond", "uncond"} <= set(curve.ratios), name
        assert ("cond", "uncond") in curve.products and curve.provenance["cfg"] > 1, name


def test_each_expert_has_a_curve_of_its_part(tmp_path: Path):
    kind = PIPES["wan22_euler"]
    curve = calibrated(kind.build(), kind, tmp_path, 30)
    first, second = sorted((MagnitudeCurve.load(path) for path in tmp_path.glob("*.json")), key=lambda found: -found.sigmas[0])
    assert curve == first and first.sigmas[-1] > second.sigmas[0]
    assert first.provenance["fingerprint"] != second.provenance["fingerprint"]


def test_an_earlier_cache_is_there_again(tmp_path: Path):
    kind = PIPES["flux"]
    pipe = kind.build()
    cache = mc.apply(pipe, 2.0, curve="flux", folder=tmp_path)
    kind.run(pipe, steps=20)
    before = kind.run(pipe, steps=20)
    calibrated(pipe, kind, tmp_path, 20)
    assert same(kind.run(pipe, steps=20), before) and cache.report().reused == 10


def test_a_call_that_is_interrupted_calibrates_nothing(tmp_path: Path):
    kind = PIPES["flux"]
    pipe = kind.build()

    def stop(pipe: Any, step: int, _: Any, arguments: dict[str, Any]) -> dict[str, Any]:
        pipe._interrupt = step >= 5
        return arguments

    with torch.no_grad(), pytest.raises(CalibrationError, match="did not reach the last step"):
        mc.calibrate(pipe, folder=tmp_path, **kind.call(0, 12, callback_on_step_end=stop))
    assert not list(tmp_path.glob("*.json")) and pipe.transformer._compiled_call_impl is None


def test_a_scheduler_that_adds_noise_calibrates_nothing(tmp_path: Path):
    pipe = PIPES["pixart"].build()
    pipe.scheduler = EulerAncestralDiscreteScheduler.from_config(pipe.scheduler.config)
    with pytest.raises(CalibrationError, match="adds noise"):
        calibrated(pipe, PIPES["pixart"], tmp_path)
