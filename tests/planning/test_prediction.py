"""The predicted error against its definition and the search; what plans of shipped curves look like; public plans of real models."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from magcache import MagnitudeCurve, load_curve, plan_budget, plan_speedup, predicted_error
from magcache.curves import shipped
from magcache.curves.propagation import CONTRACTING, GROWING, Propagation
from magcache.errors import InfeasibleError, PlanError, SettingsError
from magcache.planning import budget
from magcache.planning.influence import euler_influence
from magcache.planning.prediction import ErrorModel, best_reuse
from magcache.planning.search import best_steps
from magcache.settings import Reuse

SHIPPED = [MagnitudeCurve.load(path) for path in sorted(Path(shipped.__file__).parent.glob("*.json"))]
MIXED = Propagation(growth=2.0, shape=1.5, stride=0.5, coherence=0.3)
each_propagation = pytest.mark.parametrize("propagation", [GROWING, CONTRACTING, MIXED], ids=["growing", "contracting", "mixed"])
each_reuse = pytest.mark.parametrize("reuse", ["hold", "scale", "extrapolate"])


def levels(steps: int) -> tuple[float, ...]:
    """The sigmas of a run."""
    return tuple(np.geomspace(1, 0.05, steps).tolist())


def walk(steps: int, seed: int) -> np.ndarray:
    """Residuals that wander."""
    return np.cumsum(np.random.default_rng(seed).normal(size=(steps, 30)), axis=0) + 4


def curve_of(residuals: np.ndarray, propagation: Propagation = GROWING, **more: Any) -> MagnitudeCurve:
    """A curve as a calibration makes it, of the given residuals."""
    steps, products = len(residuals), tuple(tuple(row) for row in (residuals @ residuals.T).tolist())
    return MagnitudeCurve(
        name="mine", family="flux", sigmas=levels(steps), ratios={"cond": (1.0,) * steps}, products={("cond", "cond"): products},
        propagation=propagation, **more,
    )  # fmt: skip


def reused(residuals: np.ndarray, reuse: Reuse, before: int | None, last: int, at: int) -> np.ndarray:
    """The reused residual, straight from its definition."""
    sigmas, newest, wanted = levels(len(residuals)), residuals[last], residuals[at]
    if reuse == "scale":
        return newest * np.clip((newest * wanted).sum() / (newest * newest).sum(), 0.5, 2.0)
    if reuse == "hold" or before is None:
        return newest
    change = (newest - residuals[before]) * (sigmas[at] - sigmas[last]) / (sigmas[last] - sigmas[before])
    return newest + np.clip(((wanted - newest) * change).sum() / (change * change).sum(), 0.0, 1.0) * change


def gain_of(drift: np.ndarray, error: np.ndarray, influence: float) -> float:
    """Three quarters of the gain that leaves the least drift."""
    return 0.75 * float(np.clip((drift * error).sum() / (influence * (error * error).sum()), 0.0, 2.0))


def error_by_definition(
    residuals: np.ndarray, computed: list[int], reuse: Reuse, propagation: Propagation, influence: np.ndarray, correct: bool
) -> float:
    """√(cost of the plan / cost of dropping every residual), from the residuals themselves."""
    steps, weights = len(residuals), propagation.weights(len(residuals))
    alone = influence * np.abs(euler_influence(levels(steps))) ** (propagation.stride - 1)
    cost = 0.0
    for before, last, after in zip([None, *computed[:-1]], computed, [*computed[1:], steps], strict=True):
        drift = np.zeros(residuals.shape[1])
        for at in range(last + 1, after):
            error = reused(residuals, reuse, before, last, at) - residuals[at]
            drift += influence[at] * error
            cost += (1 - propagation.coherence) * weights[at] * alone[at] ** 2 * (error * error).sum()
        if correct and last + 1 < after < steps:
            error = reused(residuals, reuse, before, last, after) - residuals[after]
            drift -= gain_of(drift, error, influence[after]) * influence[after] * error
        cost += propagation.coherence * weights[last] * (drift * drift).sum()
    dropped = (np.sqrt(weights) * influence) @ residuals
    apart = (weights * alone**2 * (residuals**2).sum(axis=1)).sum()
    return math.sqrt(cost / (propagation.coherence * (dropped * dropped).sum() + (1 - propagation.coherence) * apart))


# By its definition


@each_propagation
@each_reuse
@pytest.mark.parametrize("computed", [[0], [0, 1, 2, 9], [0, 1, 3, 4, 8, 11], [0, 5, 6, 7], [*range(11)]], ids=str)
def test_the_predicted_error_is_what_its_definition_says(reuse: Reuse, propagation: Propagation, computed: list[int]):
    residuals, curve = walk(12, 0), curve_of(walk(12, 0), propagation)
    influence = np.random.default_rng(2).uniform(-0.3, 0.1, 12)
    found = predicted_error(curve, curve.sigmas, computed, reuse=reuse, influence=influence.tolist())
    assert found == pytest.approx(error_by_definition(residuals, computed, reuse, propagation, influence, correct=True), rel=1e-9)
    euler = predicted_error(curve, curve.sigmas, computed, reuse=reuse)
    expected = error_by_definition(residuals, computed, reuse, propagation, np.array(euler_influence(curve.sigmas)), correct=False)
    assert euler == pytest.approx(expected, rel=1e-9)


def test_the_guided_residual_counts():
    cond, uncond = walk(9, 3), walk(9, 4)
    pairs = {("cond", "cond"): cond @ cond.T, ("cond", "uncond"): cond @ uncond.T, ("uncond", "uncond"): uncond @ uncond.T}
    curve = replace(curve_of(cond), products={pair: tuple(map(tuple, matrix.tolist())) for pair, matrix in pairs.items()})
    guided = curve_of(uncond + 3.5 * (cond - uncond))
    computed = [0, 1, 4, 8]
    expected = predicted_error(guided, guided.sigmas, computed)
    assert predicted_error(curve, curve.sigmas, computed, guidance=3.5) == pytest.approx(expected)
    assert predicted_error(curve, curve.sigmas, computed) != pytest.approx(expected)


@pytest.mark.parametrize(
    "curve", [load_curve("flux"), load_curve("wan2.1_t2v_14B"), curve_of(walk(12, 0), CONTRACTING)], ids=lambda it: it.name
)
def test_a_run_in_full_has_no_error(curve: MagnitudeCurve):
    assert predicted_error(curve, curve.sigmas, range(curve.steps), influence=euler_influence(curve.sigmas)) == 0


@pytest.mark.parametrize(("propagation", "most"), [(GROWING, 1), (replace(CONTRACTING, growth=0.0), 1), (CONTRACTING, 2)], ids=str)
def test_a_run_whose_residuals_are_all_dropped_has_an_error_of_about_1(propagation: Propagation, most: float):
    residuals = np.concatenate([np.zeros((1, 30)), walk(11, 0)])  # Holding the first one is dropping the others.
    curve = curve_of(residuals, propagation)
    found = predicted_error(curve, curve.sigmas, [0], reuse="hold")
    assert 1 - 1e-9 <= found <= most + 1e-9


@each_propagation
def test_the_size_of_residuals_does_not_matter(propagation: Propagation):
    errors = [predicted_error(curve_of(7 * walk(9, 0) * by, propagation), levels(9), [0, 1, 4, 8]) for by in (1, 10)]
    assert errors[0] == pytest.approx(errors[1])


@pytest.mark.parametrize(("name", "reuse"), [("flux", "hold"), ("mine", "extrapolate")])
def test_residuals_are_reused_as_suits_the_curve_unless_told(name: str, reuse: Reuse):
    curve = load_curve("flux") if name == "flux" else curve_of(walk(12, 0))
    assert best_reuse(curve) == reuse
    errors = {way: predicted_error(curve, curve.sigmas, [0, 1, 2, 5, 9], reuse=way) for way in ("hold", "extrapolate")}
    assert predicted_error(curve, curve.sigmas, [0, 1, 2, 5, 9]) == errors[reuse] != errors[{"hold": "extrapolate"}.get(reuse, "hold")]


# Against the search


@each_propagation
@pytest.mark.parametrize("reuse", ["hold", "extrapolate"])
@pytest.mark.parametrize("known", [False, True], ids=["without influence", "with influence"])
def test_no_plan_of_as_many_evaluations_has_less_error(reuse: Reuse, propagation: Propagation, known: bool):
    curve = curve_of(walk(9, 5), propagation)
    options: dict[str, Any] = {"reuse": reuse, "influence": euler_influence(curve.sigmas) if known else None}
    for nfe in range(5, 9):
        least = min(
            predicted_error(curve, curve.sigmas, (0, 1, 2, *middle, 8), **options)
            for middle in itertools.combinations(range(3, 8), nfe - 4)
        )
        plan = plan_budget(curve, curve.sigmas, nfe=nfe, **options)
        assert plan.nfe == nfe and predicted_error(curve, curve.sigmas, plan.computed, **options) == pytest.approx(least, rel=1e-9)


def test_four_evaluations_may_leave_out_the_third_step():
    curve = curve_of(walk(13, 6))
    computed = plan_budget(curve, curve.sigmas, nfe=4).computed
    errors = {
        (0, 1, step, 12): predicted_error(curve, curve.sigmas, (0, 1, step, 12)) for step in range(5, 9)
    }  # Gaps of up to half the run.
    assert computed == min(errors, key=lambda plan: errors[plan])


def test_the_nearest_number_of_evaluations_that_can_be_planned_is_named():
    curve = load_curve("hunyuan_video")
    assert plan_budget(curve, levels(20), nfe=4).nfe == 4
    assert plan_speedup(curve, levels(20), 20 / 3).nfe == 4
    with pytest.raises(InfeasibleError, match="the nearest that can is 4 "):
        plan_budget(curve, levels(20), nfe=3)


@each_propagation
@each_reuse
def test_the_predicted_error_is_the_cost_that_the_search_found_least(reuse: Reuse, propagation: Propagation):
    curve = curve_of(walk(14, 1), propagation)
    model = ErrorModel.of(curve, curve.sigmas, reuse=reuse, influence=euler_influence(curve.sigmas))
    found = best_steps(model.costs(7), 3, np.ones(14, bool), 14)
    assert len(found) == 10
    for cost, computed in found.values():
        assert model.error_of(computed) == pytest.approx(math.sqrt(cost / model.scale()), rel=1e-9)


@pytest.mark.parametrize("curve", [load_curve("flux"), load_curve("hunyuan_video"), curve_of(walk(20, 0))], ids=lambda it: it.name)
def test_the_best_plan_of_more_evaluations_has_less_error(curve: MagnitudeCurve):
    errors = [predicted_error(curve, curve.sigmas, plan_budget(curve, curve.sigmas, nfe=nfe).computed) for nfe in range(6, curve.steps + 1)]
    assert (np.diff(errors) < 0).all() and errors[-1] == 0


# What is refused


@pytest.mark.parametrize("computed", [[], [1, 2], [0, 12], [-1, 0, 3], [0, 99]], ids=str)
def test_steps_that_are_no_plan_of_the_run_are_refused(computed: list[int]):
    with pytest.raises(PlanError, match="expected steps from 0 to 11, step 0 among them"):
        predicted_error(load_curve("flux"), levels(12), computed)


def test_the_order_of_the_computed_steps_does_not_matter():
    curve = load_curve("flux")
    assert predicted_error(curve, curve.sigmas, [9, 0, 2, 2, 1]) == predicted_error(curve, curve.sigmas, (0, 1, 2, 9))


@pytest.mark.parametrize("step", [1.5, math.nan, "1", None], ids=str)
def test_a_step_that_is_no_whole_number_is_refused(step: Any):
    with pytest.raises(PlanError):
        predicted_error(load_curve("flux"), levels(12), [0, step, 3])


@pytest.mark.parametrize(
    "sigmas",
    [(1.0, 0.5, 0.7, 0.2), (1.0, 0.5, 0.5, 0.2), (1.0, 0.5, 0.2, 0.0), (1.0, math.nan, 0.5, 0.2), (math.inf, 1.0, 0.5, 0.2)],
    ids=str,
)
def test_sigmas_that_do_not_fall_are_refused(sigmas: tuple[float, ...]):
    with pytest.raises(SettingsError, match="must be finite, above 0 and fall"):
        predicted_error(load_curve("flux"), sigmas, [0, 1])


@pytest.mark.parametrize("influence", [[-0.1] * 11, [], [math.nan] * 12], ids=["short", "empty", "nan"])
def test_an_influence_that_is_not_one_number_a_step_is_refused(influence: list[float]):
    with pytest.raises(SettingsError, match="expected 12 finite numbers"):
        predicted_error(load_curve("flux"), levels(12), [0, 1, 4], influence=influence)


# The plan that is made of computed steps


@each_propagation
@each_reuse
def test_a_plan_rebuilds_residuals_with_the_errors_it_predicts(reuse: Reuse, propagation: Propagation):
    residuals, curve = walk(12, 7), curve_of(walk(12, 7), propagation)
    computed = [0, 3, 4, 5, 9]
    model = ErrorModel.of(curve, curve.sigmas, reuse=reuse, influence=euler_influence(curve.sigmas))
    plan = model.plan(computed)
    assert plan.computed == tuple(computed) and plan.sigmas == curve.sigmas and plan.reason is None
    for step in set(range(12)) - set(computed):
        last = max(each for each in computed if each < step)
        before = max((each for each in computed if each < last), default=None)
        rebuilt = sum(weight * residuals[source] for source, weight in plan.recipe(step))
        np.testing.assert_allclose(rebuilt, reused(residuals, reuse, before, last, step), rtol=1e-6)
        assert plan.errors[step] == pytest.approx(np.linalg.norm(rebuilt - residuals[step]) / np.linalg.norm(residuals[step]), rel=1e-6)


@each_propagation
@each_reuse
def test_a_computed_step_after_a_gap_corrects_with_the_gain_of_its_definition(reuse: Reuse, propagation: Propagation):
    residuals, curve = walk(12, 7), curve_of(walk(12, 7), propagation)
    influence = np.array(euler_influence(curve.sigmas))
    plan = ErrorModel.of(curve, curve.sigmas, reuse=reuse, influence=influence).plan([0, 3, 4, 5, 9])
    for before, last, after in [(None, 0, 3), (4, 5, 9)]:
        correction = plan.correction(after)
        errors = {at: reused(residuals, reuse, before, last, at) - residuals[at] for at in range(last + 1, after + 1)}
        drift = sum(influence[at] * errors[at] for at in range(last + 1, after))
        expected = gain_of(drift, errors[after], influence[after])
        assert (correction is None) == (expected == 0)
        if correction:
            assert correction.gain == pytest.approx(expected, rel=1e-6)
            predicted = sum(weight * residuals[source] for source, weight in correction.expected)
            np.testing.assert_allclose(predicted, residuals[after] + errors[after], rtol=1e-6)
    assert [step for step in range(12) if plan.correction(step)] in ([3, 9], [3], [9])


def test_without_an_influence_or_unless_wanted_nothing_is_corrected():
    curve = curve_of(walk(12, 7))
    influence = euler_influence(curve.sigmas)
    for options in ({}, {"influence": influence, "correct": False}):
        model = ErrorModel.of(curve, curve.sigmas, reuse="hold", **options)
        assert not any(model.plan([0, 3, 4, 5, 9]).corrections)
    assert any(ErrorModel.of(curve, curve.sigmas, reuse="hold", influence=influence).plan([0, 3, 4, 5, 9]).corrections)


def test_the_last_computed_step_may_be_followed_by_a_gap():
    plan = ErrorModel.of(curve_of(walk(12, 7)), levels(12), reuse="hold").plan([0, 1, 8])
    assert plan.reused[9:] == (True,) * 3 and all(error > 0 for error in plan.errors[9:])


# The work of a search


@pytest.mark.parametrize(("steps", "longest"), [(12, 6), (20, 10), (100, 50), (250, 125), (500, 32), (1000, 8)])
@pytest.mark.parametrize("measured", [False, True], ids=["published", "measured"])
def test_the_tables_of_a_search_stay_small(steps: int, longest: int, measured: bool, monkeypatch: pytest.MonkeyPatch):
    asked: list[tuple[tuple[int, ...], int]] = []

    def watched(costs: np.ndarray, first: int, allowed: np.ndarray, most: int) -> dict[int, tuple[float, list[int]]]:
        asked.append((costs.shape, most))
        return {most: (0.0, [*range(most - 1), steps - 1])}

    monkeypatch.setattr(budget, "best_steps", watched)
    curve = curve_of(walk(20, 0)) if measured else load_curve("hunyuan_video")
    plan_budget(curve, curve.sigmas_for(steps), nfe=steps - 4)
    assert asked == [((longest + 1 if measured else 1, steps, longest + 1), steps - 4)]
    assert steps**2 * (longest + 1) <= 9e6 or longest == 6


# Plans of shipped curves


def plans_of(curve: MagnitudeCurve, steps: int) -> tuple[dict[int, tuple[int, ...]], list[int]]:
    """The computed steps of the plan of each number of evaluations from 4 on, and the numbers for which there is none."""
    plans: dict[int, tuple[int, ...]] = {}
    for nfe in range(4, steps + 1):
        try:
            plans[nfe] = plan_budget(curve, curve.sigmas_for(steps), nfe=nfe).computed
        except InfeasibleError as error:
            assert error.nearest == 6
    return plans, [nfe for nfe in range(4, steps + 1) if nfe not in plans]


@pytest.mark.parametrize(
    ("curve", "steps"), [(curve, steps) for curve in SHIPPED for steps in sorted({curve.steps, 50})], ids=lambda it: getattr(it, "name", it)
)
def test_every_shipped_curve_gives_plans_of_every_number_of_evaluations(curve: MagnitudeCurve, steps: int):
    sigmas = curve.sigmas_for(steps)
    plans, missing = plans_of(curve, steps)
    barred = {"flux", "flux_kontext_28steps", "wan2.2_i2v_14B", "wan2.2_t2v_14B"}  # A step that must be computed lies far from the middle.
    assert missing == ([4, 5] if curve.name in barred else [])
    always = {
        min(range(steps), key=lambda step: abs(sigmas[step] - sigma))
        for sigma in (*curve.vetoes, *(curve.sigmas[it] for it in curve.masked))
    }
    for nfe, computed in plans.items():
        assert len(computed) == nfe and computed[:2] == (0, 1) and computed[-1] == steps - 1 and always <= set(computed)
        assert computed[2] == 2 or nfe == 4
        first, *later = (sum(part <= 3 * step / steps < part + 1 for step in computed) for part in range(3))
        assert first >= max(later), f"{nfe} evaluations are not dense at first: {computed}"
    longest = max(max(np.diff(computed)) - 1 for computed in plans.values())
    assert longest <= steps // 2 and (longest >= steps // 2 - 1 or curve.name in barred), "gaps grow up to half the run"


@pytest.mark.parametrize("steps", [20, 50])
def test_a_masked_or_vetoed_step_is_computed_though_it_costs_something(steps: int):
    curve = load_curve("hunyuan_video")
    free = set(range(steps)) - set(plan_budget(curve, curve.sigmas_for(steps), nfe=steps // 2).computed)
    step = max(free)
    vetoed = replace(curve, vetoes=(curve.sigmas_for(steps)[step],))
    plan = plan_budget(vetoed, curve.sigmas_for(steps), nfe=steps // 2)
    assert step in plan.computed
    sigmas, computed = curve.sigmas_for(steps), plan_budget(curve, curve.sigmas_for(steps), nfe=steps // 2).computed
    assert predicted_error(curve, sigmas, plan.computed) > predicted_error(curve, sigmas, computed)


# Beside public plans of real models, found by searches on final pictures (arXiv:2609.39343) or latents


@pytest.mark.parametrize(
    ("name", "public"),
    [
        ("flux", "0 1 2 3 4 5 6 7 8 9 10 11 13 14 17 19 23 30 37 45 49"),
        ("flux", "0 1 2 3 4 5 7 8 11 15 22 38 49"),
        ("qwen_image", "0 1 2 3 4 5 6 7 8 9 10 12 14 17 19 22 26 32 40 46 49"),
        ("hunyuan_video", "0 1 2 3 4 5 6 7 8 9 10 11 13 15 19 26 31 38 44 47 49"),
    ],
)
def test_plans_lie_near_those_that_were_searched_on_real_models(name: str, public: str):
    curve, theirs = load_curve(name, 50), [*map(int, public.split())]
    ours = plan_budget(curve, curve.sigmas_for(50), nfe=len(theirs)).computed
    assert np.abs(np.subtract(ours, theirs)).mean() < 2


@pytest.mark.parametrize(
    ("worse", "times"),
    [
        ("0 6 12 18 25 31 37 43 49", 2),
        ("0 6 12 18 24 30 36 42 49", 2),
        ("0 1 2 30 38 42 45 47 49", 2),
        ("0 1 20 30 38 42 45 47 49", 2),
        ("0 1 2 3 4 5 6 7 49", 1.3),
    ],
    ids=["evenly spaced", "as TeaCache", "late", "later", "early only"],
)
def test_the_best_of_all_plans_of_flux_with_9_of_50_steps_is_predicted_to_be_better(worse: str, times: float):
    curve = load_curve("flux")
    best, other = (predicted_error(curve, curve.sigmas_for(50), [*map(int, plan.split())]) for plan in ("0 1 2 4 6 11 24 41 49", worse))
    assert times * best < other
