"""From residuals to a curve."""

from __future__ import annotations

import math
import weakref
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from magcache.curves.averaging import averaged
from magcache.errors import CalibrationError, CurveError
from magcache.runtime.recorder import Recorder

SIGMAS = (1.0, 0.9, 0.7, 0.4, 0.1)


def residuals(seed: int, shape: tuple[int, ...] = (2, 6, 16), steps: int = len(SIGMAS)) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    drift = torch.randn(shape, generator=generator)
    found = []
    for _ in range(steps):
        drift = drift + 0.3 * torch.randn(shape, generator=generator)
        found.append(drift)
    return found


def record(recorder: Recorder, series: list[torch.Tensor], branch: str = "cond", member: object = "a", sigmas: tuple[float, ...] = SIGMAS):
    for sigma, residual in zip(sigmas, series, strict=True):
        recorder.observe(sigma, branch, member, residual)  # type: ignore[arg-type]


def statistics(series: list[torch.Tensor]) -> tuple[list[float], list[float], list[float]]:
    """Ratio, spread and distance step by step, in double precision and without torch."""
    table: tuple[list[float], list[float], list[float]] = ([1.0], [0.0], [0.0])
    rows = [residual.float().numpy().astype(np.float64).reshape(-1, residual.shape[-1]) for residual in series]
    for before, now in pairwise(rows):
        sizes, sizes_before = np.linalg.norm(now, axis=1), np.linalg.norm(before, axis=1)
        ratio = sizes / sizes_before
        cosine = (now * before).sum(axis=1) / (sizes * sizes_before)
        for column, value in zip(table, (ratio.mean(), ratio.std(), 1 - cosine.mean()), strict=True):
            column.append(float(value))
    return table


@pytest.mark.parametrize("shape", [(1, 6, 16), (2, 6, 16), (1, 3, 4, 5, 8)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_agrees_with_numpy(shape: tuple[int, ...], dtype: torch.dtype):
    series = [residual.to(dtype) for residual in residuals(0, shape)]
    recorder = Recorder()
    record(recorder, series)
    curve = recorder.curve("mine", "wan", {"steps": 5})
    ratios, spread, distance = statistics(series)
    assert curve.ratios["cond"] == pytest.approx(ratios, rel=1e-5)
    assert curve.spread["cond"] == pytest.approx(spread, abs=1e-5)
    assert curve.distance["cond"] == pytest.approx(distance, abs=1e-5)
    assert (curve.name, curve.family, curve.sigmas, dict(curve.provenance)) == ("mine", "wan", SIGMAS, {"steps": 5})


def test_finds_a_known_magnitude_law():
    """‖r(σ)‖ = exp(−2σ) along fixed directions: found exactly, without spread or turn, and foretold for any other grid."""
    directions = torch.nn.functional.normalize(residuals(1)[0], dim=-1) * torch.rand(2, 6, 1, generator=torch.Generator().manual_seed(2))
    recorder = Recorder()
    record(recorder, [directions * math.exp(-2 * sigma) for sigma in SIGMAS])
    curve = recorder.curve("law", "flux", {})
    assert curve.ratios["cond"][1:] == pytest.approx([math.exp(2 * (a - b)) for a, b in pairwise(SIGMAS)], rel=1e-5)
    assert curve.spread["cond"] == pytest.approx([0] * 5, abs=1e-5)
    assert curve.distance["cond"] == pytest.approx([0] * 5, abs=1e-5)
    other = tuple(1 - step / 17 for step in range(17))
    assert curve.ratios_at(other, "cond")[1:] == pytest.approx([math.exp(2 / 17)] * 16, rel=1e-5)


@pytest.mark.parametrize("scale", [1e-5, 1e4])
def test_the_scale_of_the_residual_does_not_matter(scale: float):
    recorder = Recorder()
    series = residuals(0)
    record(recorder, [residual * scale for residual in series])
    curve = recorder.curve("mine", "flux", {})
    for got, expected in zip((curve.ratios, curve.spread, curve.distance), statistics(series), strict=True):
        assert got["cond"] == pytest.approx(expected, rel=1e-3)


def test_a_turn_without_a_change_of_size():
    one, other = torch.zeros(1, 2, 4), torch.zeros(1, 2, 4)
    one[..., 0], other[..., 1] = 3, 3
    recorder = Recorder()
    record(recorder, [one, other, -other], sigmas=(0.9, 0.5, 0.1))
    curve = recorder.curve("turn", "flux", {})
    assert curve.ratios["cond"] == pytest.approx((1, 1, 1))
    assert curve.distance["cond"] == pytest.approx((0, 1, 2))


def test_branches_are_told_apart_and_their_members_averaged():
    recorder = Recorder()
    series = {member: residuals(seed) for seed, member in enumerate(("window 1", "window 2", "window 3"))}
    record(recorder, series["window 1"], "cond", "window 1")
    record(recorder, series["window 2"], "cond", "window 2")
    record(recorder, series["window 3"], "uncond", "window 1")
    curve = recorder.curve("mine", "flux", {})
    one, other, uncond = (statistics(rows) for rows in series.values())
    assert set(curve.ratios) == set(curve.spread) == set(curve.distance) == {"cond", "uncond"}
    for place, table in enumerate((curve.ratios, curve.spread, curve.distance)):
        assert table["cond"] == pytest.approx(np.mean([one[place], other[place]], axis=0).tolist(), abs=1e-5)
        assert table["uncond"] == pytest.approx(uncond[place], abs=1e-5)


@pytest.mark.parametrize("passed_over", [0.7, 0.69999, 0.8, 1.0], ids=["repeated", "repeated but for rounding", "rising", "restarted"])
def test_a_sigma_that_does_not_fall_is_passed_over(passed_over: float):
    """Samplers that evaluate within a step may come back to a sigma, or above it."""
    series = residuals(3)
    plain, disturbed = Recorder(), Recorder()
    record(plain, series)
    record(disturbed, [*series[:3], torch.full_like(series[0], 9e9), *series[3:]], sigmas=(*SIGMAS[:3], passed_over, *SIGMAS[3:]))
    assert disturbed.curve("mine", "flux", {}) == plain.curve("mine", "flux", {})


def test_members_that_come_only_for_a_part_are_left_out():
    whole, part = residuals(4), residuals(5)
    plain, mixed = Recorder(), Recorder()
    record(plain, whole)
    record(mixed, part[:4], member="until the fourth step", sigmas=SIGMAS[:4])
    record(mixed, whole)
    record(mixed, part[1:], member="from the second step on", sigmas=SIGMAS[1:])
    record(mixed, part[:4], branch="uncond", sigmas=SIGMAS[:4])
    assert mixed.curve("mine", "flux", {}) == plain.curve("mine", "flux", {})


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_too_few_steps(steps: int):
    recorder = Recorder()
    record(recorder, residuals(6)[:steps], sigmas=SIGMAS[:steps])
    with pytest.raises(CalibrationError, match=f"saw {steps} steps.*at least 3"):
        recorder.curve("mine", "flux", {})


def test_repeating_one_sigma_is_not_a_run():
    recorder = Recorder()
    record(recorder, residuals(6), sigmas=(0.5,) * 5)
    with pytest.raises(CalibrationError, match="saw 1 steps"):
        recorder.curve("mine", "flux", {})


@pytest.mark.parametrize("value", [math.nan, math.inf, 0.0])
def test_residuals_without_a_size_make_no_curve(value: float):
    series = residuals(7)
    series[2] = torch.full_like(series[2], value)
    recorder = Recorder()
    record(recorder, series)
    with pytest.raises(CurveError, match="'mine'"):
        recorder.curve("mine", "flux", {})


def test_a_name_that_cannot_be_a_file_is_refused():
    recorder = Recorder()
    record(recorder, residuals(8))
    with pytest.raises(CurveError, match="cannot name a curve"):
        recorder.curve("../mine", "flux", {})


def test_only_the_last_residual_of_a_member_is_kept():
    recorder = Recorder()
    first, second = residuals(9)[:2]
    watch = weakref.ref(first)
    recorder.observe(1.0, "cond", "a", first)
    del first
    assert watch() is not None
    recorder.observe(0.9, "cond", "a", second)
    assert watch() is None


def curve_of(seed: int, branches: tuple[str, ...] = ("cond", "uncond"), sigmas: tuple[float, ...] = SIGMAS):
    recorder = Recorder()
    for index, branch in enumerate(branches):
        record(recorder, residuals(seed + index, steps=len(sigmas)), branch, sigmas=sigmas)
    return recorder.curve("mine", "flux", {"source": "calibration"})


def test_averaging_counts_every_run_the_same():
    curves = [curve_of(seed) for seed in (0, 10, 20)]
    mean = averaged(averaged(curves[0], curves[1]), curves[2])
    assert mean.provenance["runs"] == 3
    for series in ("ratios", "spread", "distance"):
        for branch in ("cond", "uncond"):
            expected = np.mean([getattr(curve, series)[branch] for curve in curves], axis=0)
            np.testing.assert_allclose(getattr(mean, series)[branch], expected)
    for pair in mean.products:
        np.testing.assert_allclose(mean.products[pair], np.mean([curve.products[pair] for curve in curves], axis=0))


@pytest.mark.parametrize(
    "other", [{"sigmas": (1.0, 0.9, 0.7, 0.1)}, {"sigmas": (1.0, 0.8, 0.7, 0.4, 0.1)}, {"branches": ("cond",)}], ids=str
)
def test_only_like_is_averaged(other: dict):
    with pytest.raises(CalibrationError, match="cannot be averaged"):
        averaged(curve_of(0), curve_of(1, **other))


@pytest.mark.parametrize("runs", ["many", None, 0, -1, 1.5, 10**400, [2]], ids=str)
def test_a_number_of_runs_that_is_none_is_refused(runs: object):
    earlier = replace(curve_of(0), provenance={"runs": runs})
    with pytest.raises(CalibrationError, match="expected a whole number"):
        averaged(earlier, curve_of(1))
