"""The planner against brute force and against residuals whose best reuse is known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from magcache.curves.propagation import CONTRACTING, GROWING, Propagation
from magcache.planning.reuse_errors import Gaps, Reuses, gaps, reuses
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


def table(
    residuals: Residuals,
    sigmas: np.ndarray,
    reuse: Reuse,
    max_skip: int,
    propagation: Propagation = CONTRACTING,
    influence: np.ndarray | None = None,
    correct: bool = False,
):
    """The costs of all gaps, as the search takes them."""
    products, last = residuals @ residuals.T, np.arange(len(sigmas))
    influence = np.append(np.diff(sigmas), -sigmas[-1]) if influence is None else influence
    correcting = np.full(len(sigmas), correct)
    options = [reuses(products, sigmas, last - distance, last, max_skip, reuse) for distance in range(1, max_skip + 2)]
    return np.stack([gaps(products, sigmas, each, influence, propagation, correcting).costs for each in options])


def brute_force(
    residuals: Residuals,
    sigmas: np.ndarray,
    reuse: Reuse,
    propagation: Propagation,
    influence: np.ndarray,
    max_skip: int,
    allowed: np.ndarray,
    count: int,
    correct: bool,
):
    """The least cost of all plans, each summed up from the residuals themselves."""
    steps, best, weight = len(sigmas), np.inf, propagation.weights(len(sigmas))
    strides = np.abs(np.append(np.diff(sigmas), -sigmas[-1]))
    for middle in itertools.combinations(range(2, steps - 1), count - 3):
        computed = [0, 1, *middle, steps - 1]
        if any(step not in computed for step in np.flatnonzero(~allowed)) or max(np.diff(computed)) > max_skip + 1:
            continue
        total = 0.0
        for before, last, after in zip(computed, computed[1:], computed[2:], strict=False):
            drift, apart = np.zeros(residuals.shape[1]), 0.0
            for at in range(last + 1, after):
                error = reused(residuals, sigmas, reuse, before, last, at) - residuals[at]
                drift += influence[at] * error
                apart += weight[at] * (influence[at] / strides[at] ** (1 - propagation.stride)) ** 2 * (error * error).sum()
            if correct and after > last + 1:
                error = reused(residuals, sigmas, reuse, before, last, after) - residuals[after]
                pull = influence[after] * (error * error).sum()
                drift -= influence[after] * 0.75 * np.clip((drift * error).sum() / pull, 0.0, 2.0) * error
            total += propagation.coherence * weight[last] * (drift * drift).sum() + (1 - propagation.coherence) * apart
        best = min(best, total)
    return best


MIXED = Propagation(growth=2.0, shape=1.5, stride=0.5, coherence=0.3)


@pytest.mark.parametrize("correct", [False, True])
@pytest.mark.parametrize("reuse", ["hold", "scale", "extrapolate"])
@pytest.mark.parametrize("propagation", [GROWING, CONTRACTING, MIXED], ids=["growing", "contracting", "mixed"])
@pytest.mark.parametrize(("steps", "max_skip", "vetoed"), [(6, 6, ()), (9, 2, ()), (10, 6, (5,)), (11, 3, (4, 8))])
def test_the_plan_is_as_good_as_the_best_of_all_plans(
    reuse: Reuse, propagation: Propagation, steps: int, max_skip: int, vetoed: tuple[int, ...], correct: bool
):
    residuals, sigmas = walk(steps, steps), np.linspace(1, 0.05, steps)
    influence = np.random.default_rng(1).uniform(-0.3, 0.1, steps)
    allowed = np.array([step not in vetoed for step in range(steps)])
    found = best_steps(table(residuals, sigmas, reuse, max_skip, propagation, influence, correct), 2, allowed, steps)
    for count in range(3, steps + 1):
        expected = brute_force(residuals, sigmas, reuse, propagation, influence, max_skip, allowed, count, correct)
        assert (count in found) == np.isfinite(expected)
        if count in found:
            cost, computed = found[count]
            assert cost == pytest.approx(expected, rel=1e-9, abs=1e-9)
            assert len(computed) == count and {0, 1, steps - 1, *vetoed} <= set(computed)


@pytest.mark.parametrize("reuse", ["hold", "scale"])
def test_where_a_gap_does_not_depend_on_the_step_before_a_single_distance_is_enough(reuse: Reuse):
    residuals, sigmas = walk(16, 2), np.linspace(1, 0.05, 16)
    costs, everywhere = table(residuals, sigmas, reuse, 8, GROWING), np.ones(16, bool)
    short, long = best_steps(costs[:1], 3, everywhere, 16), best_steps(costs, 3, everywhere, 16)
    assert short.keys() == long.keys() and all(short[count][1] == long[count][1] for count in short)


def test_no_more_evaluations_are_looked_for_than_asked():
    residuals, sigmas = walk(12, 3), np.linspace(1, 0.05, 12)
    costs, everywhere = table(residuals, sigmas, "extrapolate", 6), np.ones(12, bool)
    few, all_of_them = best_steps(costs, 3, everywhere, 7), best_steps(costs, 3, everywhere, 12)
    assert few == {count: found for count, found in all_of_them.items() if count <= 7} and max(few) == 7
    assert best_steps(costs, 3, everywhere, 2) == {}


def after(products: np.ndarray, sigmas: np.ndarray, reuse: Reuse, before: int, last: int, max_skip: int) -> Reuses:
    """The reuses after one pair of computed steps."""
    return reuses(products, sigmas, np.array([before]), np.array([last]), max_skip, reuse)


@pytest.mark.parametrize("spacing", [np.linspace(1, 0.1, 12), np.geomspace(1, 0.02, 12)])
def test_residuals_on_a_line_in_sigma_are_extrapolated_exactly(spacing: np.ndarray):
    start, slope = np.random.default_rng(0).normal(size=(2, 30))
    residuals = start + spacing[:, None] * slope
    for before, last, step in [(2, 3, 4), (2, 5, 9), (5, 7, 10)]:
        options = after(residuals @ residuals.T, spacing, "extrapolate", before, last, 4)
        place = (0, step - last - 1)
        rebuilt = options.newest[place] * residuals[last] + options.older[place] * residuals[before]
        np.testing.assert_allclose(rebuilt, residuals[step], atol=1e-9)
        assert options.error[0, : 11 - last].max() < 1e-12 and np.isinf(options.error[0, 11 - last :]).all()


def test_residuals_that_turn_back_are_held_rather_than_extrapolated():
    residuals = np.array([[0.0, 1.0], [1.0, 1.0], [0.0, 1.0], [1.0, 1.0]])
    options = after(residuals @ residuals.T, np.array([4.0, 3.0, 2.0, 1.0]), "extrapolate", 0, 1, 1)
    assert options.older[0, 0] == 0 and options.newest[0, 0] == 1


def test_the_residual_of_the_first_step_is_held_since_nothing_was_computed_before():
    residuals = walk(5, 1)
    options = after(residuals @ residuals.T, np.linspace(1, 0.2, 5), "extrapolate", -1, 0, 3)
    assert (options.newest == 1).all() and (options.older == 0).all() and np.isfinite(options.error).all()


def test_scaling_by_a_growing_residual_is_exact_and_bounded():
    sizes = np.array([1.0, 1.5, 6.0])
    assert after(np.outer(sizes, sizes), np.array([3.0, 2.0, 1.0]), "scale", 0, 1, 1).newest[0, 0] == 2.0


def test_extrapolating_is_never_worse_than_holding():
    residuals, sigmas = walk(14, 3), np.linspace(1, 0.05, 14)
    products, last = residuals @ residuals.T, np.arange(14)
    for distance in range(1, 6):
        held, extrapolated = (reuses(products, sigmas, last - distance, last, 5, way).error for way in ("hold", "extrapolate"))
        assert (extrapolated <= held + 1e-12).all()


def test_a_computed_step_corrects_an_error_that_grows_evenly_over_the_gap():
    start, bend = np.random.default_rng(0).normal(size=(2, 30))
    sigmas = np.linspace(1, 0.1, 10)
    residuals = start + (np.arange(10) ** 2)[:, None] * bend
    products, influence = residuals @ residuals.T, np.append(np.diff(sigmas), -sigmas[-1])
    options = after(products, sigmas, "extrapolate", 2, 3, 3)

    def gap(correct: bool, influence: np.ndarray = influence) -> Gaps:
        return gaps(products, sigmas, options, influence, CONTRACTING, np.full(10, correct))

    plain, correcting = gap(False), gap(True)
    # Steps 2 and 3 are computed, 4 and 5 reused, 6 computed with three quarters of the full correction.
    assert correcting.costs[0, 2] == pytest.approx(plain.costs[0, 2] / 16) and correcting.gains[0, 2] > 0
    assert not plain.gains.any() and (correcting.costs <= plain.costs + 1e-12).all()
    turned = influence * np.where(np.arange(10) == 6, -1, 1)  # The step that would correct pulls the other way.
    assert gap(True, turned).gains[0, 2] == 0 and not gap(True, np.where(np.arange(10) == 6, 0, influence)).gains[0, 2]
