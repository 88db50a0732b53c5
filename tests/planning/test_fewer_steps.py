"""Plain sampling with fewer steps: its predicted error by brute force, and which short runs had better use it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from magcache import MagnitudeCurve, Reason, euler_influence, known_curves, load_curve, plan_budget, plan_speedup, predicted_error
from magcache.curves.propagation import CONTRACTING, GROWING, Propagation, Source
from magcache.planning.budget import parts_of_plain
from magcache.planning.fewer_steps import CLEARLY_BETTER, SHORT_RUN, fewer_steps_error, part_of_plain
from magcache.planning.prediction import ErrorModel

MIXED = Propagation(growth=2.0, shape=1.5, stride=0.5, coherence=0.3)
each_propagation = pytest.mark.parametrize("propagation", [GROWING, CONTRACTING, MIXED], ids=["growing", "contracting", "mixed"])
SPEEDUPS = (1.2, 1.5, 2.0, 2.5, 3.0)
_DIRECTIONS = np.random.default_rng(0).normal(size=(3, 20))


def levels(steps: int) -> np.ndarray:
    """The sigmas of a run, with the closing 0."""
    return np.append(np.geomspace(1, 0.1, steps), 0.0)


def level_at(place: float | np.ndarray, steps: int) -> Any:
    """The sigma at a place of the run, which is a step and a part of it."""
    return np.interp(place, np.arange(steps + 1), levels(steps))


def residual(sigma: float | np.ndarray) -> np.ndarray:
    """A smooth path."""
    sigma = np.asarray(sigma)[..., None]
    return _DIRECTIONS[0] + np.sin(2.5 * sigma) * _DIRECTIONS[1] + sigma**2 * _DIRECTIONS[2]


def smooth(steps: int, propagation: Propagation, counts: tuple[int, ...]) -> MagnitudeCurve:
    """A curve that was measured on that path, at the sigmas of the run and of plain sampling with each number of steps."""
    places = sorted({round(place * steps / count, 9) for count in (steps, *counts) for place in range(count)})
    return curve_of(level_at(np.array(places), steps), propagation)


def curve_of(sigmas: np.ndarray, propagation: Propagation, residuals: np.ndarray | None = None) -> MagnitudeCurve:
    residuals = residual(sigmas) if residuals is None else residuals
    products = tuple(tuple(row) for row in (residuals @ residuals.T).tolist())
    return MagnitudeCurve(
        name="smooth", family="flux", sigmas=tuple(sigmas.tolist()), ratios={"cond": (1.0,) * len(sigmas)},
        products={("cond", "cond"): products}, propagation=propagation,
    )  # fmt: skip


def model_of(curve: MagnitudeCurve, steps: int, influence: np.ndarray | None = None) -> ErrorModel:
    return ErrorModel.of(curve, levels(steps)[:-1].tolist(), reuse="extrapolate", influence=influence)


def error_on_a_fine_grid(steps: int, count: int, propagation: Propagation, influence: np.ndarray, points: int = 600) -> float:
    """The error by its definition: at each of many points of the run, the residual of plain sampling stands for that of the run."""
    weights, lengths = propagation.weights(steps), -np.diff(levels(steps))
    drifts, apart = np.zeros((count, 20)), 0.0
    for step in range(steps):
        places = step + (np.arange(points) + 0.5) / points
        fewer = np.floor(places * count / steps).astype(int)
        errors = (residual(level_at(fewer * steps / count, steps)) - residual(levels(steps)[step])) / points
        np.add.at(drifts, fewer, np.sqrt(weights[step]) * influence[step] * errors)
        whole = errors.sum(axis=0)
        apart += weights[step] * (influence[step] * lengths[step] ** (propagation.stride - 1)) ** 2 * (whole @ whole)
    residuals = residual(levels(steps)[:-1])
    dropped = (np.sqrt(weights) * influence) @ residuals
    alone = (weights * (influence * lengths ** (propagation.stride - 1)) ** 2 * (residuals**2).sum(axis=1)).sum()
    cost = propagation.coherence * (drifts**2).sum() + (1 - propagation.coherence) * apart
    return math.sqrt(cost / (propagation.coherence * dropped @ dropped + (1 - propagation.coherence) * alone))


# Its predicted error


@each_propagation
@pytest.mark.parametrize(("steps", "count"), [(6, 1), (6, 3), (6, 4), (9, 5), (9, 8)])
@pytest.mark.parametrize("known", [False, True], ids=["Euler", "another sampler"])
def test_the_error_of_fewer_steps_is_what_its_definition_says(propagation: Propagation, steps: int, count: int, known: bool):
    influence = np.random.default_rng(1).uniform(-0.3, 0.1, steps) if known else None
    curve = smooth(steps, propagation, (count,))
    found = fewer_steps_error(curve, model_of(curve, steps, influence), count, 1.0)
    euler = np.array(euler_influence(levels(steps)[:-1].tolist()))
    assert found == pytest.approx(error_on_a_fine_grid(steps, count, propagation, euler if influence is None else influence), rel=5e-3)


@each_propagation
@pytest.mark.parametrize("name", ["smooth", "flux", "wan2.2_t2v_14B"])
def test_as_many_steps_as_the_run_has_make_no_error(name: str, propagation: Propagation):
    curve = smooth(12, propagation, ()) if name == "smooth" else load_curve(name)
    model = ErrorModel.of(curve, curve.sigmas, reuse="hold")
    assert fewer_steps_error(curve, model, model.steps, 1.0) == 0


@each_propagation
def test_more_steps_make_less_error(propagation: Propagation):
    counts = tuple(range(1, 13))
    curve = smooth(12, propagation, counts)
    errors = [fewer_steps_error(curve, model_of(curve, 12), count, 1.0) for count in counts]
    assert (np.diff(errors) < 0).all()


def test_a_residual_that_does_not_change_makes_no_error():
    for propagation in (GROWING, CONTRACTING, MIXED):
        curve = curve_of(levels(8)[:-1], propagation, np.ones((8, 20)))
        assert [fewer_steps_error(curve, model_of(curve, 8), count, 1.0) for count in range(1, 9)] == pytest.approx([0] * 8, abs=1e-6)


@pytest.mark.parametrize(("size", "nothing"), [(3e-6, True), (1e-4, False)])
def test_errors_of_rounding_are_none(size: float, nothing: bool):
    noise = np.random.default_rng(0).normal(size=(9, 200))
    curve = curve_of(levels(9)[:-1], replace(CONTRACTING, source="measured"), 1 + size * noise)
    model, computed = model_of(curve, 9), [0, 1, 2, 5, 8]
    assert (4e-7 < model.error_of(computed) <= 1e-6) == nothing
    assert (part_of_plain(curve, model, computed, 1.0) == 0) == nothing


def test_a_short_run_whose_residual_does_not_change_can_be_planned():
    for steps in range(6, SHORT_RUN):
        curve = curve_of(levels(steps)[:-1], GROWING, np.ones((steps, 20)))
        plan = plan_speedup(curve, curve.sigmas, 1.5)
        assert plan.nfe == int(steps / 1.5) and plan.reason is None
        assert parts_of_plain(curve, curve.sigmas).keys() == {steps - 1, steps - 2}


def test_products_that_no_residuals_have_spoil_no_plan():
    products = tuple(tuple(row) for row in (-np.eye(8)).tolist())
    curve = replace(curve_of(levels(8)[:-1], GROWING), products={("cond", "cond"): products})
    assert plan_speedup(curve, curve.sigmas, 1.5).steps == 8


def test_guidance_composes_the_residuals_of_plain_sampling_too():
    sigmas = levels(8)[:-1]
    cond, uncond = residual(sigmas), np.cos(3 * sigmas)[:, None] * _DIRECTIONS[0] + _DIRECTIONS[2]
    pairs = {("cond", "cond"): cond @ cond.T, ("cond", "uncond"): cond @ uncond.T, ("uncond", "uncond"): uncond @ uncond.T}
    curve = MagnitudeCurve(
        name="two", family="flux", sigmas=tuple(sigmas.tolist()), ratios={"cond": (1.0,) * 8},
        products={pair: tuple(map(tuple, matrix.tolist())) for pair, matrix in pairs.items()},
    )  # fmt: skip
    guided = curve_of(sigmas, GROWING, uncond + 4 * (cond - uncond))
    model = ErrorModel.of(curve, curve.sigmas, reuse="hold", guidance=4.0)
    expected = fewer_steps_error(guided, ErrorModel.of(guided, guided.sigmas, reuse="hold"), 4, 1.0)
    assert fewer_steps_error(curve, model, 4, 4.0) == pytest.approx(expected, rel=1e-6)


def part(curve: MagnitudeCurve, model: ErrorModel, computed: list[int]) -> float:
    """That of the model's own propagation."""
    return model.error_of(computed) / fewer_steps_error(curve, model, len(computed), 1.0)


@each_propagation
@pytest.mark.parametrize("source", ["measured", "published plans"])
def test_a_part_is_the_error_of_the_plan_divided_by_that_of_plain_sampling(propagation: Propagation, source: Source):
    curve = smooth(9, replace(propagation, source=source), (5,))
    model = model_of(curve, 9)
    assert part_of_plain(curve, model, [0, 1, 2, 5, 8], 1.0) == pytest.approx(part(curve, model, [0, 1, 2, 5, 8]))
    assert part_of_plain(curve, model, [*range(9)], 1.0) == 0


@each_propagation
@pytest.mark.parametrize(("computed", "worse"), [([0, 1, 2, 3, 4], CONTRACTING), ([0, 2, 3, 5, 8], GROWING)], ids=["early", "later"])
def test_where_the_propagation_is_assumed_the_worse_of_both_counts(propagation: Propagation, computed: list[int], worse: Propagation):
    curves = {kind: replace(rough(9), propagation=kind) for kind in (GROWING, CONTRACTING, propagation)}
    parts = {kind: part(curves[kind], model_of(curves[kind], 9), computed) for kind in (GROWING, CONTRACTING)}
    assert part_of_plain(curves[propagation], model_of(curves[propagation], 9), computed, 1.0) == pytest.approx(parts[worse])
    assert parts[worse] == max(parts.values()) > 1.4 * min(parts.values())


# Short runs


def rough(steps: int) -> MagnitudeCurve:
    """A curve of residuals that have nothing to do with each other, so that any reuse is as bad as can be."""
    return curve_of(levels(steps)[:-1], GROWING, np.random.default_rng(3).normal(size=(steps, 400)))


def line(steps: int) -> MagnitudeCurve:
    """A curve of residuals on a line in sigma, which are extrapolated without any error."""
    sigmas = np.linspace(1, 0.1, steps)
    return curve_of(sigmas, GROWING, sigmas[:, None] * _DIRECTIONS[1] + _DIRECTIONS[0])


@pytest.mark.parametrize(("steps", "speedup", "nfe"), [(6, 1.5, 5), (12, 3.0, 5), (15, 3.5, 5)])
def test_a_short_run_is_skipped_only_as_far_as_skipping_is_clearly_better(steps: int, speedup: float, nfe: int):
    curve = load_curve("flux")
    sigmas = curve.sigmas_for(steps)
    plan = plan_speedup(curve, sigmas, speedup)
    assert plan.nfe == nfe and plan.reason is Reason.FEWER_STEPS
    model = ErrorModel.of(curve, sigmas, reuse="hold")
    bolder = plan_budget(curve, sigmas, nfe=nfe - 1)
    assert part_of_plain(curve, model, plan.computed, 1.0) <= CLEARLY_BETTER < part_of_plain(curve, model, bolder.computed, 1.0)


def test_clearly_better_lies_between_plans_that_gained_and_plans_that_lost():
    assert 0.34 < CLEARLY_BETTER < 0.44, "Measured on the image model of the benchmarks."


@pytest.mark.parametrize("steps", [6, 9, SHORT_RUN - 1])
def test_a_short_run_in_which_skipping_is_never_better_is_computed_in_full(steps: int):
    curve = line(steps)  # Held residuals of a line lag behind it by whole steps, those of fewer steps by parts of one.
    plan = plan_speedup(curve, curve.sigmas, 1.2, reuse="hold")
    assert plan.nfe == steps and plan.reason is Reason.FEWER_STEPS


def test_a_short_run_in_which_skipping_costs_nothing_is_skipped_as_far_as_asked():
    curve = line(10)
    plan = plan_speedup(curve, curve.sigmas, 2.0)
    assert plan.nfe == 5 and plan.reason is None


@pytest.mark.parametrize("speedup", SPEEDUPS)
def test_a_run_of_16_steps_is_skipped_as_far_as_asked_however_bad_that_is(speedup: float):
    plan = plan_speedup(rough(SHORT_RUN), levels(SHORT_RUN)[:-1], speedup)
    assert SHORT_RUN == 16 and plan.nfe == int(16 / speedup) and plan.reason is None


@pytest.mark.parametrize("name", known_curves())
def test_from_16_steps_on_no_run_is_told_to_use_fewer(name: str):
    curve = load_curve(name)
    plans = [plan_speedup(curve, curve.sigmas_for(steps), speedup) for steps in (16, 20, 28) for speedup in SPEEDUPS]
    assert Reason.FEWER_STEPS not in {plan.reason for plan in plans}


def test_a_number_of_evaluations_is_planned_however_bad_it_is():
    assert plan_budget(rough(9), levels(9)[:-1], nfe=6).nfe == 6


@pytest.mark.parametrize("steps", [8, 12, 15])
def test_a_short_run_is_short_with_a_closing_zero_and_repeated_sigmas_too(steps: int):
    curve = rough(steps)
    run = tuple(levels(steps)[:-1].tolist())
    padded = (*(sigma for sigma in run for _ in range(2)), 0.0)
    assert len(padded) >= SHORT_RUN and plan_speedup(curve, padded, 2.0) == plan_speedup(curve, run, 2.0)
    assert plan_speedup(curve, run, 2.0).reason is Reason.FEWER_STEPS


@pytest.mark.parametrize(("steps", "short"), [(7, True), (8, False)])
def test_a_run_is_as_short_as_its_stretches_together(steps: int, short: bool):
    curve, part = line(steps), tuple(line(steps).sigmas)
    plan = plan_speedup(curve, (*part, *part), 1.5, reuse="hold")
    assert (plan.reason is Reason.FEWER_STEPS) == short and (plan.nfe == 2 * steps) == short


@pytest.mark.parametrize(("part", "short"), [(1.0, True), (0.63, True), (0.62, False), (0.5, False)])
def test_a_part_of_a_schedule_is_as_short_as_the_whole_would_be(part: float, short: bool):
    curve = rough(10)
    plan = plan_speedup(curve, curve.sigmas, 2.0, schedule_part=part)
    assert (plan.reason is Reason.FEWER_STEPS) == short and (plan.nfe > 5) == short
    assert bool(parts_of_plain(curve, curve.sigmas, schedule_part=part)) == short


@pytest.mark.parametrize("name", ["flux", "hunyuan_video", "wan2.1_t2v_14B", "chroma"])
@pytest.mark.parametrize("steps", [8, 10, 12, 15])
def test_more_speed_never_takes_more_evaluations(name: str, steps: int):
    curve = load_curve(name)
    counts = [plan_speedup(curve, curve.sigmas_for(steps), speedup).nfe for speedup in (1.2, 1.5, 2.0)]
    assert counts == sorted(counts, reverse=True)


# What a short run is told


@pytest.mark.parametrize("steps", [5, 8, 15])
def test_what_one_and_two_evaluations_fewer_cost_is_told(steps: int):
    curve = load_curve("hunyuan_video")
    sigmas = curve.sigmas_for(steps)
    parts = parts_of_plain(curve, sigmas)
    assert list(parts) == ([4] if steps == 5 else [steps - 1, steps - 2]), "the first three steps and the last are computed"
    model = ErrorModel.of(curve, sigmas, reuse="hold")
    for nfe, part in parts.items():
        computed = plan_budget(curve, sigmas, nfe=nfe).computed
        assert predicted_error(curve, sigmas, computed) == pytest.approx(model.error_of(computed))
        assert part == pytest.approx(part_of_plain(curve, model, computed, 1.0))


def test_a_closing_zero_changes_nothing_of_what_is_told():
    curve = load_curve("flux")
    assert parts_of_plain(curve, (*curve.sigmas_for(15), 0.0)) == parts_of_plain(curve, curve.sigmas_for(15))


def test_what_is_told_is_how_a_run_of_that_sampler_is_planned():
    curve = smooth(12, CONTRACTING, ())
    sigmas = levels(12)[:-1]
    influence = np.random.default_rng(5).uniform(-0.3, -0.01, 12)
    told = {correct: parts_of_plain(curve, sigmas, influence=influence, correct=correct)[10] for correct in (True, False)}
    for correct, part in told.items():
        model = ErrorModel.of(curve, sigmas, reuse="extrapolate", influence=influence, correct=correct)
        computed = plan_budget(curve, sigmas, nfe=10, influence=influence, correct=correct).computed
        assert part == pytest.approx(part_of_plain(curve, model, computed, 1.0))
    assert told[True] < told[False]


@pytest.mark.parametrize(
    "sigmas",
    [(), (1.0,), (1.0, 0.5), tuple(np.linspace(1, 0.1, 16)), (1.0, 0.6, 0.3, 0.8, 0.5, 0.2), (1.0, math.nan, 0.5, 0.2)],
    ids=["none", "1", "2", "16", "restart", "nan"],
)
def test_other_runs_are_told_nothing(sigmas: tuple[float, ...]):
    assert parts_of_plain(load_curve("flux"), sigmas) == {}


def test_a_run_in_which_nothing_may_be_skipped_is_told_nothing():
    curve = smooth(12, GROWING, ())
    assert parts_of_plain(curve, [sigma / 20 for sigma in curve.sigmas]) == {}, "below all that was measured"
