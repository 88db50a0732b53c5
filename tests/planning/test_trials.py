"""Trial plans, and what their runs teach about how errors spread."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from magcache import MagnitudeCurve, Plan, euler_influence, plan_budget
from magcache.curves.propagation import CANDIDATES, CONTRACTING, GROWING, measured
from magcache.errors import CalibrationError, InfeasibleError
from magcache.planning.trials import TRIAL_SPEEDUP, evaluations_of, measure_propagation, trial_plans

SIGMAS = tuple(np.geomspace(1, 0.05, 20).tolist())


def calibrated(**more: Any) -> MagnitudeCurve:
    """A curve as a calibration makes it, of residuals that wander in two branches."""
    cond, uncond = np.cumsum(np.random.default_rng(0).normal(size=(2, 20, 40)), axis=1) + 4
    pairs = {("cond", "cond"): cond @ cond.T, ("cond", "uncond"): cond @ uncond.T, ("uncond", "uncond"): uncond @ uncond.T}
    return MagnitudeCurve(
        name="mine", family="flux", sigmas=SIGMAS, ratios={"cond": (1.0,) * 20},
        products={pair: tuple(map(tuple, matrix.tolist())) for pair, matrix in pairs.items()}, **more,
    )  # fmt: skip


# The plans


@pytest.mark.parametrize(
    "options",
    [{}, {"guidance": 5.0}, {"influence": euler_influence(SIGMAS)}, {"influence": euler_influence(SIGMAS), "correct": False}],
    ids=str,
)
def test_each_candidate_plans_as_it_would_if_it_were_the_curves(options: dict[str, Any]):
    curve = calibrated(propagation=measured(((0.5, 0.25),)))
    plans = trial_plans(curve, SIGMAS, **options)
    expected = [plan_budget(replace(curve, propagation=each), SIGMAS, nfe=8, **options) for each in (CONTRACTING, GROWING)]
    assert list(plans) == expected and plans[0] != plans[1]


@pytest.mark.parametrize(("steps", "nfe"), [(10, 4), (12, 4), (20, 8), (30, 12), (50, 20)])
def test_all_trials_have_as_many_evaluations(steps: int, nfe: int):
    curve = calibrated()
    plans = trial_plans(curve, curve.sigmas_for(steps))
    assert TRIAL_SPEEDUP == 2.5 and [plan.nfe for plan in plans] == [nfe] * len(CANDIDATES)


def test_the_options_of_the_run_change_the_trials():
    curve = calibrated()
    plain, guided, euler = trial_plans(curve, SIGMAS), trial_plans(curve, SIGMAS, guidance=5.0), euler_influence(SIGMAS)
    assert plain != guided
    assert any(any(plan.corrections) for plan in trial_plans(curve, SIGMAS, influence=euler))
    assert not any(any(plan.corrections) for plan in trial_plans(curve, SIGMAS, influence=euler, correct=False))


@pytest.mark.parametrize("sigmas", [(1.0, 0.6, 0.3, 0.8, 0.5, 0.2), SIGMAS[:1]], ids=["restart", "one step"])
def test_a_run_that_cannot_be_planned_has_equal_trials(sigmas: tuple[float, ...]):
    one, other = trial_plans(calibrated(), sigmas)
    assert one == other and one.nfe == len(sigmas)


@pytest.mark.parametrize("steps", [6, 9])
def test_a_run_of_fewer_than_ten_steps_has_no_trials(steps: int):
    with pytest.raises(InfeasibleError, match="nearest that can is"):
        trial_plans(calibrated(), calibrated().sigmas_for(steps))


@pytest.mark.parametrize(
    "sigmas", [tuple(sigma for sigma in SIGMAS for _ in range(2)), (*SIGMAS, *[0.0] * 3)], ids=["repeats", "closing zeros"]
)
def test_repeated_sigmas_and_zeros_count_as_no_steps_of_a_trial(sigmas: tuple[float, ...]):
    assert trial_plans(calibrated(), sigmas) == trial_plans(calibrated(), SIGMAS)


# What they measure


class Sampler:
    """Answers each trial with the next error, and remembers the plans it ran."""

    def __init__(self, *errors: float) -> None:
        self.errors = list(errors)
        self.ran: list[Plan] = []

    def __call__(self, plan: Plan) -> float:
        self.ran.append(plan)
        return self.errors.pop(0)


@pytest.mark.parametrize(("errors", "best"), [((0.1, 0.2), CONTRACTING), ((0.2, 0.1), GROWING), ((0.0, 0.1), CONTRACTING)])
def test_the_propagation_whose_plan_had_the_least_error_is_measured(errors: tuple[float, float], best: Any):
    curve, sampler = calibrated(), Sampler(*errors)
    plans = trial_plans(curve, SIGMAS)
    found = measure_propagation(curve, plans, sampler)
    assert found == replace(curve, propagation=replace(best, source="measured", trials=(errors,)))
    assert sampler.ran == list(plans)


def test_equal_plans_are_run_once():
    one, other = trial_plans(calibrated(), SIGMAS)
    sampler = Sampler(0.3, 0.2)
    assert measure_propagation(calibrated(), (one, other), sampler).propagation.trials == ((0.3, 0.2),) and sampler.ran == [one, other]
    sampler = Sampler(0.3)
    found = measure_propagation(calibrated(), (one, one), sampler).propagation
    assert found.trials == ((0.3, 0.3),) and sampler.ran == [one]
    assert found == replace(GROWING, trials=((0.3, 0.3),)), "equal plans tell nothing"


@pytest.mark.parametrize("count", [0, 1, 3])
def test_other_plans_than_one_for_each_candidate_are_refused(count: int):
    sampler = Sampler()
    with pytest.raises(CalibrationError, match=f"There are {count} trial plans; expected 2"):
        measure_propagation(calibrated(), trial_plans(calibrated(), SIGMAS)[:1] * count, sampler)
    assert not sampler.ran


def test_what_the_model_was_taken_for_stays_where_the_trials_agree_with_it():
    known = replace(GROWING, growth=3.0, shape=2.25, source="published plans")
    plans, curve = trial_plans(calibrated(), SIGMAS), calibrated(propagation=known)
    assert measure_propagation(curve, plans, Sampler(0.2, 0.1)).propagation == replace(known, source="measured", trials=((0.2, 0.1),))
    assert measure_propagation(curve, plans, Sampler(0.1, 0.2)).propagation.growth == CONTRACTING.growth
    assert measure_propagation(curve, plans, Sampler(0.2, 0.2)).propagation == replace(known, trials=((0.2, 0.2),))


def test_the_runs_measured_before_count_as_well():
    plans, curve = trial_plans(calibrated(), SIGMAS), calibrated()
    for errors, best in [((0.2, 0.1), GROWING), ((0.1, 0.15), GROWING), ((0.1, 0.4), CONTRACTING)]:
        curve = measure_propagation(curve, plans, Sampler(*errors))
        assert curve.propagation.growth == best.growth and curve.propagation.source == "measured"
    assert curve.propagation.trials == ((0.2, 0.1), (0.1, 0.15), (0.1, 0.4))
    assert MagnitudeCurve.from_json(curve.to_json()) == curve


@pytest.mark.parametrize("error", [math.nan, math.inf, -math.inf, -0.1])
@pytest.mark.parametrize("place", [0, 1])
def test_an_error_that_is_no_number_is_refused(error: float, place: int):
    plans, errors = trial_plans(calibrated(), SIGMAS), [0.1, 0.2]
    errors[place] = error
    with pytest.raises(CalibrationError, match=rf"ended {error} away from the full run; expected a number of 0 or more"):
        measure_propagation(calibrated(), plans, Sampler(*errors))


def test_equal_plans_take_their_evaluations_once():
    one, other = trial_plans(calibrated(), SIGMAS)
    assert evaluations_of((one, other)) == evaluations_of((one, other, one)) == 16
    assert evaluations_of((one, one)) == 8 and evaluations_of(()) == 0
