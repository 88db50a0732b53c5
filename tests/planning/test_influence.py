"""How much each step moves the end of a run: by Euler, over the stretches of a schedule, and what the planner makes of it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from magcache import MagnitudeCurve, euler_influence, load_curve, plan_budget, plan_speedup, predicted_error
from magcache.curves.propagation import CONTRACTING, GROWING, Propagation
from magcache.errors import SettingsError
from magcache.planning.budget import parts_of_plain
from magcache.planning.influence import stretch_influence
from magcache.planning.plan import falling_stretches, joined

SIGMAS = tuple(np.linspace(1, 0.05, 20).tolist())
RESTART = (*SIGMAS, 0.0, *(sigma for sigma in SIGMAS if sigma < 0.9))
MIXED = Propagation(growth=2.0, shape=1.5, stride=0.5, coherence=0.3)
each_propagation = pytest.mark.parametrize("propagation", [GROWING, CONTRACTING, MIXED], ids=["growing", "contracting", "mixed"])


def curve_of(residuals: np.ndarray, propagation: Propagation) -> MagnitudeCurve:
    """A curve as a calibration makes it, of the given residuals."""
    products = tuple(tuple(row) for row in (residuals @ residuals.T).tolist())
    return MagnitudeCurve(
        name="mine",
        family="flux",
        sigmas=SIGMAS,
        ratios={"cond": (1.0,) * 20},
        products={("cond", "cond"): products},
        propagation=propagation,
    )


def walking(propagation: Propagation) -> MagnitudeCurve:
    """A curve of residuals that wander."""
    return curve_of(np.cumsum(np.random.default_rng(0).normal(size=(20, 40)), axis=0) + 4, propagation)


# Euler's


def test_a_step_of_euler_moves_the_run_as_far_as_sigma_falls():
    assert euler_influence((1.0, 0.75, 0.25)) == (-0.25, -0.5, -0.25)
    assert euler_influence((1.0, 0.75, 0.25), closing=0.125) == (-0.25, -0.5, -0.125)
    assert euler_influence((0.5,)) == (-0.5,)


def test_a_step_that_repeats_its_sigma_moves_nothing_and_one_that_rises_moves_back():
    assert euler_influence((1.0, 0.5, 0.5, 0.75)) == (-0.5, 0.0, 0.25, -0.75)


@pytest.mark.parametrize("closing", [0.0, 0.03])
def test_all_steps_together_move_the_run_from_its_first_sigma_to_the_closing_one(closing: float):
    assert sum(euler_influence(SIGMAS, closing)) == pytest.approx(closing - 1)


def test_a_run_without_steps_has_no_influence():
    assert euler_influence(()) == ()


# Of a stretch


def test_a_repeated_sigma_adds_its_influence_to_the_step_before():
    sigmas = (1.0, 1.0, 0.5, 0.5, 0.5, 0.2)
    (stretch,) = falling_stretches(sigmas)
    assert stretch_influence((1.0, 2.0, 4.0, 8.0, 16.0, 32.0), stretch, 6).tolist() == [3, 28, 32]
    np.testing.assert_allclose(stretch_influence(euler_influence(sigmas), stretch, 6), euler_influence((1.0, 0.5, 0.2)))


def test_each_stretch_has_the_influence_of_its_own_steps():
    sigmas = (1.0, 0.5, 0.0, 0.8, 0.8, 0.3, 0.0)
    one, other = falling_stretches(sigmas)
    influence = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
    assert stretch_influence(influence, one, 3).tolist() == [1, 6] and stretch_influence(influence, other, 7).tolist() == [24, 96]


# What the planner makes of it


def options(influence: Any) -> list[Any]:
    """Every way to plan with that influence."""
    curve = load_curve("flux")
    return [
        lambda: plan_budget(curve, SIGMAS, nfe=10, influence=influence),
        lambda: plan_speedup(curve, SIGMAS, 2.0, influence=influence),
        lambda: plan_speedup(curve, SIGMAS[:8], 2.0, influence=influence),
        lambda: parts_of_plain(curve, SIGMAS[:12], influence=influence),
    ]


@pytest.mark.parametrize(
    "influence", [[], [-0.1] * 19, [-0.1] * 21, [math.nan] * 20, [-0.1] * 19 + [math.inf]], ids=["0", "19", "21", "nan", "inf"]
)
def test_an_influence_that_is_not_one_number_a_step_is_refused(influence: list[float]):
    for plan in options(influence):
        with pytest.raises(SettingsError, match=r"The influence is \[.*; expected (20|8|12) finite numbers, one a step"):
            plan()


@each_propagation
@pytest.mark.parametrize("times", [0.01, 3.0])
def test_an_influence_in_proportion_to_eulers_changes_no_plan(propagation: Propagation, times: float):
    curve, euler = walking(propagation), euler_influence(SIGMAS)
    plans = [plan_budget(curve, SIGMAS, nfe=9, influence=[scale * step for step in euler]) for scale in (1, times)]
    assert plans[0].computed == plans[1].computed and any(plans[0].corrections)
    gains = [[each.gain if each else 0 for each in plan.corrections] for plan in plans]
    np.testing.assert_allclose(gains[0], gains[1], rtol=1e-6)
    errors = [predicted_error(curve, SIGMAS, (0, 1, 5, 9), influence=[scale * step for step in euler]) for scale in (1, times)]
    assert errors[0] == pytest.approx(errors[1])


@each_propagation
def test_without_an_influence_that_of_euler_is_taken(propagation: Propagation):
    curve = walking(propagation)
    plain = plan_budget(curve, SIGMAS, nfe=9)
    assert plain == plan_budget(curve, SIGMAS, nfe=9, influence=euler_influence(SIGMAS), correct=False)
    assert plain != plan_budget(curve, SIGMAS, nfe=9, influence=np.linspace(-0.01, -0.2, 20).tolist(), correct=False)


@each_propagation
@pytest.mark.parametrize("step", [1, 9, 18])
def test_an_error_at_a_step_without_influence_is_free(propagation: Propagation, step: int):
    curve, others = walking(propagation), [each for each in range(20) if each != step]
    influence = [0.0 if each == step else -0.05 for each in range(20)]
    assert predicted_error(curve, SIGMAS, others) > 0
    assert predicted_error(curve, SIGMAS, others, influence=influence) == 0


@each_propagation
def test_steps_without_influence_are_the_first_to_be_reused(propagation: Propagation):
    curve, idle = walking(propagation), {5, 8, 9, 13, 16}
    influence = [0.0 if step in idle else -0.05 for step in range(20)]
    assert set(range(20)) - set(plan_budget(curve, SIGMAS, nfe=15, influence=influence, correct=False).computed) == idle


@each_propagation
def test_steps_that_move_the_run_more_are_computed_more(propagation: Propagation):
    curve, heavy = walking(propagation), set(range(12, 18))
    influence = [-0.5 if step in heavy else -0.05 for step in range(20)]
    counts = [len(heavy & set(plan_budget(curve, SIGMAS, nfe=10, **more).computed)) for more in ({}, {"influence": influence})]
    assert counts[1] > counts[0]


@each_propagation
def test_each_stretch_is_planned_with_its_own_influence(propagation: Propagation):
    curve = walking(propagation)
    influence = np.random.default_rng(1).uniform(-0.2, 0.05, len(RESTART)).tolist()
    plan = plan_speedup(curve, RESTART, 2.0, influence=influence)
    first = [*influence[:19], influence[19] + influence[20]]
    parts = [plan_speedup(curve, SIGMAS, 2.0, influence=first), plan_speedup(curve, RESTART[21:], 2.0, influence=influence[21:])]
    assert plan == joined(parts) and len(RESTART[21:]) >= 16  # A shorter run would be planned in another way.
    assert plan != plan_speedup(curve, RESTART, 2.0, influence=[*influence[:30], *reversed(influence[30:])])


@each_propagation
def test_evaluations_within_a_step_count_for_the_step(propagation: Propagation):
    curve, twice = walking(propagation), tuple(sigma for sigma in SIGMAS for _ in range(2))
    each = np.random.default_rng(2).uniform(-0.2, 0.05, 40)
    plan = plan_budget(curve, twice, nfe=9, influence=each.tolist(), correct=False)
    assert plan == plan_budget(curve, SIGMAS, nfe=9, influence=(each[::2] + each[1::2]).tolist(), correct=False)
    assert plan.nfe == 9
