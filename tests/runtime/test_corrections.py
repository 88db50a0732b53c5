"""Recipes of two residuals, and the correction at the first computed step after a gap."""

from __future__ import annotations

import gc
import weakref

import pytest

from magcache import Plan
from magcache.planning.plan import Correction
from magcache.reports.run_report import Disturbance
from magcache.runtime.residuals import StaleResidualError
from magcache.runtime.session import Session

from .runs import CPU, begin_computed, begin_reused, compute, equal, is_reused, residual, reuse, session

# Recipes


def test_a_recipe_adds_up_the_last_two_computed_steps():
    made = Plan((1.0, 0.9, 0.8, 0.7), (False, False, True, True), (0.0,) * 4, ((), (), ((1, 1.5), (0, -0.5)), ((1, 2.0), (0, -1.0))))
    run = session(made)
    compute(run, 1.0, residual(fill=1, streams=2))
    compute(run, 0.9, residual(fill=3, streams=2))
    assert equal(reuse(run, 0.8), residual(fill=4, streams=2))
    assert equal(reuse(run, 0.7), residual(fill=5, streams=2))


def test_a_missing_older_residual_means_compute():
    recipes = ((), (), ((1, 2.0), (0, -1.0)))
    run = session(Plan((1.0, 0.9, 0.8), (False, False, True), (0.0,) * 3, recipes))
    begin_computed(run, 1.0).finish()
    compute(run, 0.9, residual())
    assert not is_reused(run, 0.8)


# Corrections


def correcting() -> Session:
    recipes = ((), (), ((1, 2.0), (0, -1.0)), ((1, 3.0), (0, -2.0)), (), ())
    corrections = (None, None, None, None, Correction(0.5, ((1, 4.0), (0, -3.0))), None)
    return session(Plan((1.0, 0.9, 0.8, 0.7, 0.6, 0.5), (False, False, True, True, False, False), (0.0,) * 6, recipes, corrections))


def after_the_gap() -> Session:
    """The first four steps have gone as planned."""
    run = correcting()
    compute(run, 1.0, residual(2, fill=1), members=("a", "b"))
    compute(run, 0.9, residual(2, fill=3), members=("a", "b"))
    reuse(run, 0.8)
    reuse(run, 0.7)
    return run


def test_a_computed_step_after_a_gap_predicts_its_residual():
    run = correcting()
    for sigma, fill in ((1.0, 1), (0.9, 3)):
        assert not compute(run, sigma, residual(fill=fill)).expected
    reuse(run, 0.8)
    reuse(run, 0.7)
    evaluation = begin_computed(run, 0.6)
    assert evaluation.gain == 0.5
    assert equal(evaluation.expect(["a"], CPU), residual(fill=9))
    run.note_correction(evaluation)
    assert not begin_computed(run, 0.5).expected
    assert [event.corrected for event in run.close().events] == [False] * 4 + [True, False]


def test_a_prediction_frees_its_sources_before_the_step_is_computed():
    run = correcting()
    first = residual(fill=1)
    gone = weakref.ref(first[0])
    compute(run, 1.0, first)
    del first
    compute(run, 0.9, residual(fill=3))
    reuse(run, 0.8)
    reuse(run, 0.7)
    assert gone() is not None
    begin_computed(run, 0.6).expect(["a"], CPU)
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("other", [0.8, 0.7])
def test_a_gap_that_did_not_go_as_planned_is_not_corrected(other: float):
    run = correcting()
    compute(run, 1.0, residual(fill=1))
    compute(run, 0.9, residual(fill=3))
    for sigma in (0.8, 0.7):
        if sigma == other:
            run.recompute(begin_reused(run, sigma), "call").finish()
        else:
            reuse(run, sigma)
    assert not begin_computed(run, 0.6).expected
    assert not any(event.corrected for event in run.close().events)


def test_a_gap_of_which_a_step_was_left_out_is_not_corrected():
    run = correcting()
    compute(run, 1.0, residual(fill=1))
    compute(run, 0.9, residual(fill=3))
    reuse(run, 0.7)
    assert not begin_computed(run, 0.6).expected


def test_a_gap_with_two_evaluations_in_a_step_is_not_corrected():
    run = correcting()
    compute(run, 1.0, residual(fill=1))
    compute(run, 0.9, residual(fill=3))
    for sigma in (0.8, 0.75, 0.7):
        reuse(run, sigma)
    assert not begin_computed(run, 0.6).expected


@pytest.mark.parametrize("call", ["another", None])
def test_a_gap_of_another_composition_is_not_corrected(call: str | None):
    assert not begin_computed(after_the_gap(), 0.6, call).expected


@pytest.mark.parametrize("disturbance", Disturbance)
def test_a_run_that_is_disturbed_is_not_corrected(disturbance: Disturbance):
    run = after_the_gap()
    run.disturb(disturbance)
    assert not begin_computed(run, 0.6).expected


@pytest.mark.parametrize("members", [["c"], ["a", "c"], ["a", "a"]], ids=str)
def test_a_forward_that_was_not_recorded_or_comes_twice_cannot_be_predicted(members: list[str]):
    run = after_the_gap()
    evaluation = begin_computed(run, 0.6)
    with pytest.raises(StaleResidualError):
        evaluation.expect(members, CPU)
    assert not any(event.corrected for event in run.close().events)


def test_an_evaluation_is_corrected_in_all_its_forwards_or_in_none():
    """The second forward cannot be predicted: the evaluation is computed again, and its first forward is not told as corrected."""
    run = after_the_gap()
    evaluation = begin_computed(run, 0.6)
    evaluation.expect(["a"], CPU)
    evaluation.store(["a"], ["cond"], residual(fill=5))
    run.note_correction(evaluation)
    with pytest.raises(StaleResidualError):
        evaluation.expect(["c"], CPU)
    again = run.recompute(evaluation, "call")
    assert (again.expected, again.gain, again.index) == ((), 0.0, evaluation.index)
    assert not run.so_far().events[-1].corrected
    again.store(["a", "c"], ["cond", "uncond"], residual(2))
    assert not again.missed


def test_a_record_that_later_steps_need_outlives_the_prediction():
    recipes = ((), (), ((1, 1.0),), (), ((3, 2.0), (1, -1.0)))
    corrections = (None, None, None, Correction(0.5, ((1, 1.0), (0, 1.0))), None)
    run = session(Plan((1.0, 0.9, 0.8, 0.7, 0.6), (False, False, True, False, True), (0.0,) * 5, recipes, corrections))
    compute(run, 1.0, residual(fill=1))
    compute(run, 0.9, residual(fill=2))
    reuse(run, 0.8)
    evaluation = begin_computed(run, 0.7)
    assert [run.outlives(step) for step in range(5)] == [False, True, False, True, False]
    assert equal(evaluation.expect(["a"], CPU), residual(fill=3))
    evaluation.store(["a"], ["cond"], residual(fill=5))
    evaluation.finish()
    assert equal(reuse(run, 0.6), residual(fill=8))
