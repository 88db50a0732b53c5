"""A plan: what it refuses to be made of, what it says of its steps, and to which step an evaluation belongs."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from magcache import Plan, Reason
from magcache.curves.curve import same_sigma
from magcache.errors import PlanError
from magcache.planning.plan import Correction, compute_all

SIGMAS = (1.0, 0.8, 0.6, 0.4, 0.2)
CRRCR = (False, True, True, False, True)
CCRRC = (False, False, True, True, False)


def made(reused: tuple[bool, ...] = CRRCR, **parts: Any) -> Plan:
    return Plan(**({"sigmas": SIGMAS, "reused": reused, "errors": (0.0,) * 5} | parts))


def with_step(step: int, value: Any, other: Any) -> tuple[Any, ...]:
    """Five times `other`, but `value` at `step`."""
    return tuple(value if each == step else other for each in range(5))


# What contradicts itself


@pytest.mark.parametrize(
    ("parts", "complaint"),
    [
        ({"reused": (False, True)}, "A plan of 5 steps has 2 reused"),
        ({"reused": ()}, "A plan of 5 steps has 0 reused"),
        ({"errors": (0.0,) * 6}, "A plan of 5 steps has 6 errors"),
        ({"errors": ()}, "A plan of 5 steps has 0 errors"),
        ({"recipes": ((),) * 4}, "A plan of 5 steps has 4 recipes"),
        ({"corrections": (None,)}, "A plan of 5 steps has 1 corrections"),
        ({"sigmas": with_step(1, math.nan, 0.5)}, "Step 1 has sigma nan"),
        ({"sigmas": (1.0, 0.8, -math.inf, 0.4, 0.2)}, "Step 2 has sigma -inf"),
        ({"errors": with_step(2, math.nan, 0.0)}, "Step 2 has sigma 0.6 and error nan"),
        ({"errors": with_step(4, math.inf, 0.0)}, "Step 4 has sigma 0.2 and error inf"),
        ({"errors": with_step(1, -0.1, 0.0)}, "Step 1 has sigma 0.8 and error -0.1"),
        ({"reused": (True, True, True, False, True)}, "Step 0 is the first of a falling stretch"),
        ({"sigmas": (1.0, 0.8, 0.9, 0.4, 0.2)}, "Step 2 is the first of a falling stretch"),
        ({"sigmas": (1.0, 0.8, 0.8, 0.4, 0.2)}, "Step 2 is the first of a falling stretch"),
        ({"recipes": with_step(1, ((2, 1.0),), ((0, 1.0),))}, "Step 1 takes 1.0 of the residual of step 2"),
        ({"recipes": with_step(1, ((3, 1.0),), ((0, 1.0),))}, "Step 1 takes 1.0 of the residual of step 3"),
        ({"recipes": with_step(1, ((1, 1.0),), ((0, 1.0),))}, "Step 1 takes 1.0 of the residual of step 1"),
        ({"reused": CCRRC, "recipes": with_step(2, ((-1, 1.0),), ((0, 1.0),))}, "Step 2 takes 1.0 of the residual of step -1"),
        ({"recipes": with_step(4, ((2, 1.0),), ((0, 1.0),))}, "Step 4 takes 1.0 of the residual of step 2"),
        ({"recipes": with_step(2, ((0, math.inf),), ((0, 1.0),))}, "Step 2 takes inf of the residual of step 0"),
        ({"recipes": with_step(2, ((0, 2.0), (0, math.nan)), ((0, 1.0),))}, "Step 2 takes nan of the residual of step 0"),
        ({"recipes": with_step(2, (), ((0, 1.0),))}, "Step 2 is reused, but its recipe is empty"),
        ({"corrections": with_step(4, Correction(0.5, ((3, 1.0),)), None)}, "Step 4 has a correction of gain 0.5"),
        ({"corrections": with_step(3, Correction(math.nan, ((0, 1.0),)), None)}, "Step 3 has a correction of gain nan"),
        ({"corrections": with_step(3, Correction(0.5, ((2, 1.0),)), None)}, "Step 3 takes 1.0 of the residual of step 2"),
        ({"corrections": with_step(3, Correction(0.5, ((3, 1.0),)), None)}, "Step 3 takes 1.0 of the residual of step 3"),
        ({"corrections": with_step(3, Correction(0.5, ((0, math.inf),)), None)}, "Step 3 takes inf of the residual of step 0"),
    ],
)
def test_parts_that_contradict_each_other_are_refused(parts: dict[str, Any], complaint: str):
    with pytest.raises(PlanError, match=complaint):
        made(**parts)


def test_what_no_step_reuses_may_be_anything():
    """A run may have sigmas that cannot be planned; its plan then computes them all."""
    for sigmas in [(math.nan,) * 5, (0.0,) * 5, (0.2, 0.4, math.inf, 0.8, 1.0)]:
        assert made((False,) * 5, sigmas=sigmas).nfe == 5
    assert made(sigmas=(1.0, 0.8, 0.6, 0.9, 0.2)).reused == CRRCR, "a computed step may be the first of a stretch"


def test_recipes_of_computed_steps_are_not_looked_at():
    plan = made(recipes=(((4, math.nan),), ((0, 1.0),), ((0, 2.0),), (), ((3, 1.0),)))
    assert [plan.recipe(step) for step in range(5)] == [(), ((0, 1.0),), ((0, 2.0),), (), ((3, 1.0),)]


def test_a_long_plan_is_checked_in_no_time():
    sigmas = tuple(1 - step / 20_000 for step in range(20_000))
    reused = tuple(step % 4 > 0 for step in range(20_000))
    begin = time.process_time()
    assert Plan(sigmas, reused, (0.0,) * 20_000).nfe == 5_000
    assert time.process_time() - begin < 2, "not in the square of its steps, which takes minutes"


# What it says of its steps


def test_counts():
    plan = made()
    assert (plan.steps, plan.nfe, plan.computed, plan.speedup) == (5, 2, (0, 3), 2.5)
    assert plan.decisions == ["compute", "reuse", "reuse", "compute", "reuse"]
    empty = compute_all((), Reason.TOO_SHORT)
    assert (empty.steps, empty.nfe, empty.computed, empty.speedup, empty.decisions) == (0, 0, (), 1.0, [])


def test_a_plan_that_skips_nothing_says_why():
    plan = compute_all(list(SIGMAS), Reason.NO_CURVE)
    assert (plan.sigmas, plan.computed, plan.errors, plan.reason) == (SIGMAS, (0, 1, 2, 3, 4), (0.0,) * 5, Reason.NO_CURVE)
    assert made().reason is None


def test_without_recipes_the_last_computed_residual_is_held():
    plan = made()
    assert [plan.source(step) for step in range(5)] == [0, 0, 0, 3, 3]
    assert [plan.recipe(step) for step in range(5)] == [(), ((0, 1.0),), ((0, 1.0),), (), ((3, 1.0),)]


def test_a_residual_is_last_used_where_a_recipe_or_a_correction_draws_on_it():
    recipes = ((), (), ((1, 2.0), (0, -1.0)), ((1, 3.0),), ())
    assert made(CCRRC, recipes=recipes).last_uses() == [2, 3, 3, -1, -1], "step 2 serves step 3 if it had to be computed"
    corrections = with_step(4, Correction(0.5, ((1, 4.0), (0, -3.0))), None)
    assert made(CCRRC, recipes=recipes, corrections=corrections).last_uses() == [4, 4, 3, -1, -1]
    assert made().last_uses() == [2, 2, -1, 4, -1]


# Where an evaluation belongs


def test_step_at():
    plan = compute_all((1.0, 0.8, 0.5, 0.1), Reason.OFF)
    assert [plan.step_at(sigma) for sigma in plan.sigmas] == [0, 1, 2, 3]
    assert [plan.step_at(sigma) for sigma in (0.9, 0.81, 0.6, 0.3, 0.05, 0.0)] == [0, 0, 1, 2, 3, 3]
    assert [plan.step_at(sigma) for sigma in (0.80001, 0.79999, 1.00001)] == [1, 1, 0]
    assert [plan.step_at(sigma) for sigma in (1.01, 14.6, math.inf, math.nan)] == [None] * 4
    assert compute_all((), Reason.OFF).step_at(0.5) is None


runs = st.lists(st.floats(0, 1.5), max_size=40, unique=True).map(lambda sigmas: tuple(sorted(sigmas, reverse=True)))


@settings(deadline=None, max_examples=80, database=None)
@given(runs, st.floats(0, 2), st.data())
def test_step_at_finds_the_step_that_holds_sigma(run: tuple[float, ...], sigma: float, data: st.DataObject):
    """Wherever in a falling run it has got to: a sampler may evaluate an earlier sigma once more."""
    plan = compute_all(run, Reason.OFF)
    present = data.draw(st.integers(0, max(len(run) - 1, 0)))
    assert [plan.step_at(begin, present) for begin in run] == list(range(len(run)))
    step = plan.step_at(sigma, present)
    if step is None:
        assert not run or sigma > run[0]
    else:
        assert run[step] >= sigma or same_sigma(run[step], sigma)
        assert step + 1 == len(run) or run[step + 1] < sigma
