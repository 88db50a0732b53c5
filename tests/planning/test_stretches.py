"""Schedules that start again, that repeat a sigma or that end in zeros: each falling stretch is planned, the rest is trimmed."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from magcache import (
    MagnitudeCurve,
    Plan,
    Reason,
    ThresholdSettings,
    euler_influence,
    load_curve,
    plan_budget,
    plan_by_threshold,
    plan_speedup,
)
from magcache.curves.curve import same_sigma
from magcache.planning.plan import Correction, Stretch, compute_all, falling_stretches, joined

RESTART = (1.0, 0.7, 0.4, 0.8, 0.5, 0.2)
FLAT = MagnitudeCurve(name="flat", family="flux", sigmas=(1.0, 0.5, 0.1), ratios={"cond": (1.0,) * 3})


def rule(**changes: Any) -> ThresholdSettings:
    return ThresholdSettings(**({"threshold": 1e9, "max_skip": 1000, "retention": 0.0} | changes))


# Where a schedule falls


@pytest.mark.parametrize(
    ("sigmas", "stretches"),
    [
        (RESTART, [((1.0, 0.7, 0.4), (0, 1, 2)), ((0.8, 0.5, 0.2), (3, 4, 5))]),
        ((1.0, 0.7, 0.4), [((1.0, 0.7, 0.4), (0, 1, 2))]),
        ((0.2, 0.4, 0.6), [((0.2,), (0,)), ((0.4,), (1,)), ((0.6,), (2,))]),
        ((1.0, 1.0, 0.5, 0.5, 0.5, 0.2), [((1.0, 0.5, 0.2), (0, 2, 5))]),
        ((1.0, 0.99999, 0.5), [((1.0, 0.5), (0, 2))]),
        ((0.5, 0.50001, 0.2), [((0.5, 0.2), (0, 2))]),
        ((1.0, 0.5, 0.0, 0.0), [((1.0, 0.5), (0, 1))]),
        ((1.0, 0.5, 0.0, 0.8, 0.3, 0.0), [((1.0, 0.5), (0, 1)), ((0.8, 0.3), (3, 4))]),
        ((1.0, 0.5, 0.0, 0.5, 0.3), [((1.0, 0.5, 0.3), (0, 1, 4))]),
        ((1.0, 0.99994, 0.99988, 0.99982), [((1.0, 0.99988), (0, 2))]),
        ((0.0, 0.0), []),
        ((), []),
    ],
)
def test_falling_stretches(sigmas: tuple[float, ...], stretches: list[tuple[tuple[float, ...], tuple[int, ...]]]):
    assert falling_stretches(sigmas) == [Stretch(*stretch) for stretch in stretches]


@settings(deadline=None, max_examples=100, database=None)
@given(st.lists(st.floats(0, 2) | st.sampled_from([0.0, 0.5, 0.50001, 1.0]), max_size=20))
def test_stretches_hold_every_step_once_and_fall(sigmas: list[float]):
    stretches = falling_stretches(sigmas)
    steps = [step for stretch in stretches for step in stretch.steps]
    assert steps == sorted(set(steps))
    for step in set(range(len(sigmas))) - set(steps):
        kept = [each for each in steps if each < step]
        assert sigmas[step] == 0 or same_sigma(sigmas[step], sigmas[kept[-1]]), "only zeros and repeats are left out"
    for stretch in stretches:
        assert stretch.sigmas == tuple(sigmas[step] for step in stretch.steps)
        assert list(stretch.sigmas) == sorted(set(stretch.sigmas), reverse=True) and min(stretch.sigmas) > 0
    for one, other in pairwise(stretches):
        assert one.sigmas[-1] < other.sigmas[0], "a stretch ends only where sigmas rise"


# One plan out of several


def plan_of(sigmas: tuple[float, ...], reused: str, reason: Reason | None = None) -> Plan:
    flags = tuple(letter == "r" for letter in reused)
    return Plan(sigmas, flags, tuple(0.25 if flag else 0.0 for flag in flags), reason=reason)


def test_joined_plans_draw_on_their_own_steps():
    recipes = ((), (), ((1, 2.0), (0, -1.0)), ())
    corrections = (None, None, None, Correction(0.5, ((1, 3.0), (0, -2.0))))
    one = plan_of((1.0, 0.7, 0.4), "crr")
    other = Plan((0.9, 0.6, 0.3, 0.1), (False, False, True, False), (0.0, 0.0, 0.125, 0.0), recipes, corrections)
    plan = joined([one, other])
    assert plan.sigmas == (1.0, 0.7, 0.4, 0.9, 0.6, 0.3, 0.1)
    assert plan.computed == (0, 3, 4, 6)
    assert plan.errors == (0.0, 0.25, 0.25, 0.0, 0.0, 0.125, 0.0)
    assert [plan.recipe(step) for step in range(7)] == [(), ((0, 1.0),), ((0, 1.0),), (), (), ((4, 2.0), (3, -1.0)), ()]
    assert [plan.correction(step) for step in range(7)] == [None] * 6 + [Correction(0.5, ((4, 3.0), (3, -2.0)))]
    assert joined([one]) == one
    assert replace(joined([other, other]), reason=None) == joined([other, other])


def test_joined_plans_say_why_the_first_of_them_skips_less_than_asked():
    skipping, limited = plan_of((0.9, 0.5), "cr"), plan_of((0.9, 0.5), "cr", Reason.LIMITED)
    late = plan_of((0.9, 0.5), "cc", Reason.ERROR_TOO_LARGE)
    assert joined([skipping, skipping]).reason is None
    assert joined([skipping, late]).reason is joined([late, limited]).reason is Reason.ERROR_TOO_LARGE
    assert joined([skipping, limited]).reason is joined([limited, late]).reason is Reason.LIMITED


# To which stretch an evaluation belongs


def test_a_run_goes_from_stretch_to_stretch():
    plan = compute_all(RESTART, Reason.OFF)
    assert [plan.stretch_of(step) for step in range(6)] == [range(0, 3)] * 3 + [range(3, 6)] * 3
    present, found = 0, []
    for sigma in (1.0, 0.85, 0.7, 0.55, 0.4, 0.8, 0.6, 0.5, 0.3, 0.2, 0.1):
        present = plan.step_at(sigma, present)
        found.append(present)
    assert found == [0, 0, 1, 1, 2, 3, 3, 4, 4, 5, 5]


def test_the_same_sigma_belongs_to_the_present_stretch():
    plan = compute_all(RESTART, Reason.OFF)
    assert [plan.step_at(0.6, present) for present in range(6)] == [1, 1, 1, 3, 3, 3]
    assert [plan.step_at(0.9, present) for present in range(6)] == [0, 0, 0, None, None, None]
    assert [plan.step_at(sigma, 2) for sigma in (0.80001, 0.79999)] == [3, 3], "the next stretch begins there, but for rounding"
    assert [plan.step_at(sigma, 2) for sigma in (0.81, 0.75)] == [0, 0], "higher than the present, but the next stretch begins elsewhere"
    assert plan.step_at(0.8, 5) == 3, "there is no next stretch; this one began at 0.8"


def test_the_next_stretch_may_begin_lower_than_the_one_before():
    plan = compute_all((1.0, 0.2, 0.3, 0.1), Reason.OFF)
    assert [plan.step_at(0.3, present) for present in range(4)] == [0, 2, 2, 2]


# Plans by both rules


def test_each_stretch_is_planned_by_the_published_rule():
    assert plan_by_threshold(FLAT, RESTART, rule()).computed == (0, 3)
    assert plan_by_threshold(FLAT, RESTART, rule(max_skip=1)).computed == (0, 2, 3, 5)
    assert plan_by_threshold(FLAT, RESTART, rule()).sigmas == RESTART


def test_retention_and_window_count_the_steps_of_the_whole_run():
    assert plan_by_threshold(FLAT, RESTART, rule(retention=0.5)).computed == (0, 1, 2, 3)
    assert plan_by_threshold(FLAT, RESTART, rule(end_step=-3)).computed == (0, 3, 4, 5)
    assert plan_by_threshold(FLAT, RESTART, rule(start_step=5)).computed == (0, 1, 2, 3, 4)


def test_a_step_that_is_trimmed_still_counts_for_retention_and_window():
    run = (1.0, 1.0, 1.0, 0.7, 0.4, 0.2, 0.0)
    plan = plan_by_threshold(FLAT, run, rule(start_step=4, end_step=4))
    assert (plan.sigmas, plan.computed) == ((1.0, 0.7, 0.4, 0.2), (0, 1, 3)), "0.4 is step 4 of the run"


@pytest.mark.parametrize("plan_of_run", [lambda run: plan_by_threshold(FLAT, run, rule()), lambda run: plan_speedup(FLAT, run, 2.0)])
def test_repeats_and_zeros_are_trimmed_from_plans(plan_of_run: Any):
    run = tuple(float(sigma) for sigma in np.linspace(1, 0.1, 18))
    repeated = tuple(sigma for sigma in run for _ in range(2))
    plan = plan_of_run(run)
    assert plan.sigmas == run and any(plan.reused)
    assert plan_of_run(repeated) == plan_of_run((*run, 0.0)) == plan_of_run((*repeated, 0.0, 0.0)) == plan
    assert [plan.step_at(sigma) for sigma in repeated] == [step for step in range(18) for _ in range(2)]
    assert plan.step_at(0.0) == 17, "an evaluation at 0 belongs to the last step"


def test_a_run_is_short_by_its_steps_not_by_what_repeats_in_its_schedule():
    run = tuple(float(sigma) for sigma in np.linspace(1, 0.1, 10))
    plan = plan_speedup(FLAT, run, 2.0)
    assert plan.reason is Reason.FEWER_STEPS
    assert plan == plan_speedup(FLAT, tuple(sigma for sigma in run for _ in range(2)), 2.0)


def test_each_stretch_reaches_the_speedup():
    curve = load_curve("flux")
    late = tuple(sigma for sigma in curve.sigmas_for(40) if sigma < 0.8)
    influence = (*euler_influence(curve.sigmas), *euler_influence(late))
    plan = plan_speedup(curve, (*curve.sigmas, *late), 2.0, influence=influence)
    assert plan == joined([plan_speedup(curve, part, 2.0, influence=euler_influence(part)) for part in (curve.sigmas, late)])
    assert any(plan.reused[:28]) and any(plan.reused[28:]) and plan.reason is None
    assert all(28 <= source < step for step in range(28, plan.steps) for source, _ in plan.recipe(step))
    assert any(plan.corrections[28:])


def test_a_single_step_between_others_is_computed():
    curve = load_curve("flux")
    plan = plan_speedup(curve, (0.3, *curve.sigmas), 2.0)
    assert plan.reused[1:] == plan_speedup(curve, curve.sigmas, 2.0).reused and not plan.reused[0]
    assert plan_by_threshold(FLAT, (0.3, *RESTART), rule()).computed == (0, 1, 4)


def test_a_number_of_evaluations_is_not_shared_out_among_stretches():
    plan = plan_budget(load_curve("flux"), RESTART, nfe=4)
    assert plan == compute_all(RESTART, Reason.NOT_FALLING)


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_a_sigma_that_is_no_number_spoils_the_whole_run(odd: float):
    run = (1.0, 0.8, 0.6, 0.4, odd, 0.2)
    assert plan_by_threshold(FLAT, run, rule()).computed == plan_speedup(FLAT, run, 2.0).computed == tuple(range(6))
