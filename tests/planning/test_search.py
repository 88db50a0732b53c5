"""The planner against brute force and against residuals whose best reuse is known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from magcache.planning.reuse_errors import gaps, reuses
from magcache.planning.search import best_steps
from magcache.settings import Reuse

Residuals = np.ndarray


def walk(steps: int, seed: int) -> Residuals:
    """Residuals that wander."""
    return np.cumsum(np.random.default_rng(seed).normal(size=(steps, 40)), axis=0) + 5


def reused(residuals: Residuals, sigmas: np.ndarray, reuse: Reuse, before: int, last: int, at: int) -> np.ndarray:
    """The reused residual, straight from its definition."""
    newest, older, wanted = residuals[last], residuals[before], residuals[at]
    if reuse == "hold":
        return newest
    if reuse == "scale":
        return newest * np.clip((newest * wanted).sum() / (newest * newest).sum(), 0.5, 2.0)
    change = (newest - older) * (sigmas[at] - sigmas[last]) / (sigmas[last] - sigmas[before])
    damping = np.clip(((wanted - newest) * change).sum() / (change * change).sum(), 0.0, 1.0)
    return newest + damping * change


def corrected(residuals: Residuals, sigmas: np.ndarray, reuse: Reuse, computed: tuple[int, int, int], drift: np.ndarray) -> np.ndarray:
    """The drift that remains after the computed step `after` has corrected the gap before it."""
    before, last, after = computed
    surprise = residuals[after] - reused(residuals, sigmas, reuse, before, last, after)
    stride = np.append(np.diff(sigmas), -sigmas[-1])[after]
    gain = 0.75 * np.clip(-(drift * surprise).sum() / (stride * (surprise * surprise).sum()), 0.0, 2.0)
    return drift + stride * gain * surprise


def brute_force(
    residuals: Residuals,
    sigmas: np.ndarray,
    reuse: Reuse,
    weight: np.ndarray,
    max_skip: int,
    allowed: np.ndarray,
    count: int,
    correct: bool,
):
    steps, best = len(sigmas), np.inf
    for middle in itertools.combinations(range(2, steps - 1), count - 3):
        computed = [0, 1, *middle, steps - 1]
        if any(step not in computed for step in np.flatnonzero(~allowed)) or max(np.diff(computed)) > max_skip + 1:
            continue
        total = 0.0
        for before, last, after in zip(computed, computed[1:], computed[2:], strict=False):
            drift = np.zeros(residuals.shape[1])
            for at in range(last + 1, after):
                drift += (sigmas[at + 1] - sigmas[at]) * (reused(residuals, sigmas, reuse, before, last, at) - residuals[at])
            if correct and after > last + 1:
                drift = corrected(residuals, sigmas, reuse, (before, last, after), drift)
            total += weight[last] * (drift * drift).sum()
        best = min(best, total)
    return best


@pytest.mark.parametrize("correct", [False, True])
@pytest.mark.parametrize("reuse", ["hold", "scale", "extrapolate"])
@pytest.mark.parametrize(("steps", "max_skip", "vetoed"), [(6, 6, ()), (9, 2, ()), (10, 6, (5,)), (12, 3, (4, 8))])
def test_the_plan_is_as_good_as_the_best_of_all_plans(reuse: Reuse, steps: int, max_skip: int, vetoed: tuple[int, ...], correct: bool):
    residuals, sigmas = walk(steps, steps), np.linspace(1, 0.05, steps)
    weight = np.random.default_rng(1).uniform(0.5, 2, steps)
    allowed = np.array([step not in vetoed for step in range(steps)])
    products = residuals @ residuals.T
    found = best_steps(gaps(products, sigmas, reuses(products, sigmas, max_skip, reuse), weight, np.full(steps, correct)).costs, 2, allowed)
    for count in range(3, steps + 1):
        expected = brute_force(residuals, sigmas, reuse, weight, max_skip, allowed, count, correct)
        assert (count in found) == np.isfinite(expected)
        if count in found:
            cost, computed = found[count]
            assert cost == pytest.approx(expected, abs=1e-9)
            assert len(computed) == count and {0, 1, steps - 1, *vetoed} <= set(computed)


@pytest.mark.parametrize("spacing", [np.linspace(1, 0.1, 12), np.geomspace(1, 0.02, 12)])
def test_residuals_on_a_line_in_sigma_are_extrapolated_exactly(spacing: np.ndarray):
    start, slope = np.random.default_rng(0).normal(size=(2, 30))
    residuals = start + spacing[:, None] * slope
    options = reuses(residuals @ residuals.T, spacing, 4, "extrapolate")
    assert np.nanmax(options.error[np.isfinite(options.error)]) < 1e-12
    for before, last, step in [(2, 3, 4), (2, 5, 9), (5, 7, 10)]:
        place = options.at(before, last, step)
        rebuilt = options.newest[place] * residuals[last] + options.older[place] * residuals[before]
        np.testing.assert_allclose(rebuilt, residuals[step], atol=1e-9)


def test_residuals_that_turn_back_are_held_rather_than_extrapolated():
    residuals = np.array([[0.0, 1.0], [1.0, 1.0], [0.0, 1.0], [1.0, 1.0]])
    options = reuses(residuals @ residuals.T, np.array([4.0, 3.0, 2.0, 1.0]), 1, "extrapolate")
    place = options.at(0, 1, 2)
    assert options.older[place] == 0 and options.newest[place] == 1


def test_scaling_by_a_growing_residual_is_exact_and_bounded():
    sizes = np.array([1.0, 1.5, 6.0])
    options = reuses(np.outer(sizes, sizes), np.array([3.0, 2.0, 1.0]), 1, "scale")
    assert options.newest[options.at(0, 1, 2)] == 2.0


def test_extrapolating_is_never_worse_than_holding():
    residuals, sigmas = walk(14, 3), np.linspace(1, 0.05, 14)
    products = residuals @ residuals.T
    held, extrapolated = reuses(products, sigmas, 5, "hold").error, reuses(products, sigmas, 5, "extrapolate").error
    assert (extrapolated <= held + 1e-12).all()


def test_a_computed_step_corrects_an_error_that_grows_evenly_over_the_gap():
    start, bend = np.random.default_rng(0).normal(size=(2, 30))
    sigmas = np.linspace(1, 0.1, 10)
    residuals = start + (np.arange(10) ** 2)[:, None] * bend
    products, weight = residuals @ residuals.T, np.ones(10)
    options = reuses(products, sigmas, 3, "extrapolate")
    plain, correcting = (gaps(products, sigmas, options, weight, np.full(10, correct)) for correct in (False, True))
    place = plain.at(2, 3, 6)  # Steps 2 and 3 are computed, 4 and 5 reused, 6 computed with three quarters of the full correction.
    assert correcting.costs[place] == pytest.approx(plain.costs[place] / 16) and correcting.gains[place] > 0
    assert not plain.gains.any() and (correcting.costs <= plain.costs + 1e-12).all()
