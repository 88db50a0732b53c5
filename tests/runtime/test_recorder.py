"""From residuals to a curve."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch

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


def record(
    recorder: Recorder, series: Sequence[torch.Tensor], branch: str = "cond", member: Hashable = "a", sigmas: tuple[float, ...] = SIGMAS
) -> None:
    for sigma, residual in zip(sigmas, series, strict=True):
        recorder.observe(sigma, branch, member, (residual,))


def rows(residual: torch.Tensor) -> np.ndarray:
    """Its tokens, in double precision and without torch."""
    return residual.float().numpy().astype(np.float64).reshape(-1, residual.shape[-1])


def ratios(series: list[torch.Tensor]) -> list[float]:
    """γ step by step."""
    sizes = [np.linalg.norm(rows(residual), axis=1) for residual in series]
    return [1.0, *(float((now / before).mean()) for before, now in pairwise(sizes))]


def products(one: list[torch.Tensor], other: list[torch.Tensor], unit: float | None = None) -> np.ndarray:
    """Inner products in units of the mean square of the first."""
    a, b = (np.stack([rows(residual).ravel() for residual in series]) for series in (one, other))
    return a @ b.T / ((a * a).sum(axis=1).mean() if unit is None else unit)


@pytest.mark.parametrize("shape", [(1, 6, 16), (2, 6, 16), (1, 3, 4, 5, 8)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_agrees_with_numpy(shape: tuple[int, ...], dtype: torch.dtype):
    series = [residual.to(dtype) for residual in residuals(0, shape)]
    recorder = Recorder()
    record(recorder, series)
    curve = recorder.curve("mine", "wan", {"steps": 5})
    assert curve.ratios["cond"] == pytest.approx(ratios(series), rel=1e-5)
    np.testing.assert_allclose(curve.products["cond", "cond"], products(series, series), rtol=1e-6)
    assert (curve.name, curve.family, curve.sigmas, dict(curve.provenance)) == ("mine", "wan", SIGMAS, {"steps": 5})


def test_finds_a_known_magnitude_law():
    """‖r(σ)‖ = exp(−2σ) along fixed directions: found exactly, and predicted for any other grid."""
    directions = torch.nn.functional.normalize(residuals(1)[0], dim=-1) * torch.rand(2, 6, 1, generator=torch.Generator().manual_seed(2))
    recorder = Recorder()
    record(recorder, [directions * math.exp(-2 * sigma) for sigma in SIGMAS])
    curve = recorder.curve("law", "flux", {})
    assert curve.ratios["cond"][1:] == pytest.approx([math.exp(2 * (a - b)) for a, b in pairwise(SIGMAS)], rel=1e-5)
    matrix = np.array(curve.products["cond", "cond"])
    np.testing.assert_allclose(matrix, np.sqrt(np.outer(np.diag(matrix), np.diag(matrix))), rtol=1e-5, err_msg="they do not turn")
    other = tuple(1 - step / 17 for step in range(17))
    assert curve.ratios_at(other, "cond")[1:] == pytest.approx([math.exp(2 / 17)] * 16, rel=1e-5)


@pytest.mark.parametrize("scale", [1e-5, 1e4])
def test_the_scale_of_the_residual_does_not_matter(scale: float):
    recorder = Recorder()
    series = residuals(0)
    record(recorder, [residual * scale for residual in series])
    curve = recorder.curve("mine", "flux", {})
    assert curve.ratios["cond"] == pytest.approx(ratios(series), rel=1e-3)
    np.testing.assert_allclose(curve.products["cond", "cond"], products(series, series), rtol=1e-3)


def test_a_turn_without_a_change_of_size():
    one, other = torch.zeros(1, 2, 4), torch.zeros(1, 2, 4)
    one[..., 0], other[..., 1] = 3, 3
    recorder = Recorder()
    record(recorder, [one, other, -other], sigmas=(0.9, 0.5, 0.1))
    curve = recorder.curve("turn", "flux", {})
    assert curve.ratios["cond"] == pytest.approx((1, 1, 1))
    np.testing.assert_allclose(curve.products["cond", "cond"], [[1, 0, 0], [0, 1, -1], [0, -1, 1]], atol=1e-6)


def test_branches_are_told_apart_and_their_members_averaged():
    recorder = Recorder()
    series = {member: residuals(seed) for seed, member in enumerate(("window 1", "window 2", "window 3"))}
    record(recorder, series["window 1"], "cond", "window 1")
    record(recorder, series["window 2"], "cond", "window 2")
    record(recorder, series["window 3"], "uncond", "window 1")
    curve = recorder.curve("mine", "flux", {})
    one, other, uncond = (ratios(found) for found in series.values())
    assert set(curve.ratios) == {"cond", "uncond"}
    assert curve.ratios["cond"] == pytest.approx(np.mean([one, other], axis=0).tolist(), abs=1e-5)
    assert curve.ratios["uncond"] == pytest.approx(uncond, abs=1e-5)


def test_products_are_those_of_the_branches_that_guidance_composes():
    recorder = Recorder()
    series = {branch: residuals(seed) for seed, branch in enumerate(("cond", "uncond", "ref"))}
    for branch, found in series.items():
        record(recorder, found, branch)
    curve = recorder.curve("mine", "flux", {})
    unit = max(float(np.diag(products(found, found, 1.0)).mean()) for branch, found in series.items() if branch != "ref")
    assert set(curve.products) == {("cond", "cond"), ("cond", "uncond"), ("uncond", "uncond")}
    for pair, matrix in curve.products.items():
        np.testing.assert_allclose(matrix, products(series[pair[0]], series[pair[1]], unit), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("names", "found"), [(("video", "sound"), "sound"), ((), "stream1")])
def test_streams_share_the_magnitudes_and_have_their_own_products(names: tuple[str, ...], found: str):
    image, sound = residuals(0, (1, 6, 16)), residuals(1, (1, 2, 4))
    recorder = Recorder(names)
    for sigma, residual in zip(SIGMAS, zip(image, sound, strict=True), strict=True):
        recorder.observe(sigma, "cond", "a", residual)
    curve = recorder.curve("mine", "ltx", {})
    expected = [(6 * one + 2 * other) / 8 for one, other in zip(ratios(image), ratios(sound), strict=True)]
    assert curve.ratios["cond"] == pytest.approx(expected, rel=1e-5)
    assert curve.streams == (found,)
    np.testing.assert_allclose(curve.products["cond", "cond"], products(image, image), rtol=1e-5)
    np.testing.assert_allclose(curve.products[f"{found}:cond", f"{found}:cond"], products(sound, sound), rtol=1e-5)


def test_a_stream_without_tokens_is_left_out():
    """A video model with sound may be asked for a silent video, or for sound alone."""
    image, nothing = residuals(0, (1, 6, 16)), torch.zeros(1, 0, 4)
    for residual in ([(one, nothing) for one in image], [(nothing, one) for one in image]):
        recorder = Recorder(("video", "sound"))
        for sigma, pair in zip(SIGMAS, residual, strict=True):
            recorder.observe(sigma, "cond", "a", pair)
        curve = recorder.curve("mine", "ltx", {})
        assert not curve.streams
        np.testing.assert_allclose(curve.products["cond", "cond"], products(image, image), rtol=1e-5)


def test_large_residuals_are_sampled():
    """Inner products of an even part of the tokens and channels, in a small and fixed amount of memory."""
    series = residuals(0, (1, 5000, 96), steps=3)
    recorder = Recorder()
    record(recorder, series, sigmas=SIGMAS[:3])
    curve = recorder.curve("mine", "flux", {})
    np.testing.assert_allclose(curve.products["cond", "cond"], products(series, series), rtol=0.02)
    (kept,) = recorder._series.values()
    assert all(sample.nbytes <= 2**18 for sample in kept.samples[""]) and kept.sizes.shape == (5000,)


def test_observing_reads_nothing_from_the_device(monkeypatch: pytest.MonkeyPatch):
    """Reading a number would wait for the device at every step; the means stay there until the curve is asked for."""
    recorder, series = Recorder(), residuals(0)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a value was read from the device")

    with monkeypatch.context() as patch:
        for title in ("item", "tolist", "cpu", "to", "numpy", "__float__", "__int__", "__bool__"):
            patch.setattr(torch.Tensor, title, refuse)
        record(recorder, series)
    assert recorder.curve("mine", "flux", {}).ratios["cond"] == pytest.approx(ratios(series), rel=1e-5)


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
    with pytest.raises(CalibrationError, match=f"saw {steps} steps?.*at least 3"):
        recorder.curve("mine", "flux", {})


def test_repeating_one_sigma_is_not_a_run():
    recorder = Recorder()
    record(recorder, residuals(6), sigmas=(0.5,) * 5)
    with pytest.raises(CalibrationError, match="saw 1 step of"):
        recorder.curve("mine", "flux", {})


@pytest.mark.parametrize("value", [math.nan, math.inf, 0.0])
def test_residuals_without_a_size_make_no_curve(value: float):
    series = residuals(7)
    series[2] = torch.full_like(series[2], value)
    recorder = Recorder()
    record(recorder, series)
    with pytest.raises(CurveError, match="'mine'"):
        recorder.curve("mine", "flux", {})


def test_what_cannot_be_a_name_is_refused():
    recorder = Recorder()
    record(recorder, residuals(8))
    with pytest.raises(CurveError, match="cannot name a curve"):
        recorder.curve("auto", "flux", {})


def test_no_residual_is_kept():
    recorder, series = Recorder(), residuals(9)
    record(recorder, series)
    (kept,) = recorder._series.values()
    own = {tensor.untyped_storage().data_ptr() for tensor in (kept.sizes, *kept.samples[""], *kept.ratios)}
    assert own.isdisjoint(residual.untyped_storage().data_ptr() for residual in series), "nor a view of one"
    assert sum(sample.nbytes for sample in kept.samples[""]) == sum(residual.nbytes for residual in series), "but all of these small ones"


def test_the_sigmas_seen_so_far():
    recorder = Recorder()
    assert recorder.sigmas == []
    record(recorder, residuals(4)[:2], sigmas=(1.0, 0.9))
    record(recorder, residuals(5)[:3], branch="uncond", sigmas=(1.0, 0.9, 0.7))
    assert recorder.sigmas == [1.0, 0.9, 0.7]
