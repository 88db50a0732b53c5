"""A run's residuals: when one is reused, and when it is not."""

from __future__ import annotations

from collections.abc import Hashable
from concurrent.futures import ThreadPoolExecutor

import pytest

from magcache import Plan
from magcache.reports.run_report import Disturbance, RunLabel
from magcache.runtime.recorder import Recorder
from magcache.runtime.residuals import Residual, StaleResidualError
from magcache.runtime.session import ComputedEvaluation, Session

from .runs import CPU, begin_computed, begin_reused, compute, equal, is_reused, plan, residual, reuse, session, stacked

# Reuse


def test_reuses_what_was_recorded():
    run = session("crrcr")
    first, second = residual(fill=1), residual(fill=2)
    compute(run, 1.0, first)
    assert reuse(run, 0.9)[0] is first[0]
    assert reuse(run, 0.8)[0] is first[0]
    compute(run, 0.7, second)
    assert reuse(run, 0.6)[0] is second[0]


def test_every_stream_is_reused():
    run = session("cr")
    value = residual(2, fill=3, streams=2)
    compute(run, 1.0, value, members=("cond", "uncond"))
    assert equal(reuse(run, 0.9, members=("uncond",)), tuple(stream[1:] for stream in value))


def test_rows_belong_to_their_members():
    run = session("crrr")
    value = stacked(residual(2, fill=1), residual(2, fill=2))
    compute(run, 1.0, value, members=("cond", "uncond"))
    assert equal(reuse(run, 0.9, members=("cond", "uncond")), value)
    assert equal(reuse(run, 0.8, members=("uncond", "cond")), (value[0].flip(0),))
    assert equal(reuse(run, 0.7, members=("uncond",)), (value[0][2:],))


def test_forwards_of_one_evaluation_may_be_grouped_otherwise():
    """Low memory splits a batch into forwards of its own; what was recorded apart is reused together, and the reverse."""
    run = session("crr")
    evaluation = begin_computed(run, 1.0)
    for member, fill in (("cond", 1), ("uncond", 2)):
        evaluation.store([member], [member], residual(fill=fill))
    evaluation.finish()
    assert equal(reuse(run, 0.9, members=("cond", "uncond")), stacked(residual(fill=1), residual(fill=2)))
    apart = begin_reused(run, 0.8)
    assert [apart.recall([member], CPU)[0][0, 0, 0] for member in ("uncond", "cond")] == [2, 1]


def test_evaluations_within_a_step_follow_its_decision():
    run = session("crcr")
    compute(run, 1.0, residual(fill=1))
    late = residual(fill=2)
    compute(run, 0.95, late)
    assert reuse(run, 0.9)[0] is late[0]
    assert reuse(run, 0.85)[0] is late[0]
    compute(run, 0.8, residual(fill=3))
    assert [event.step for event in run.close().events] == [0, 0, 1, 1, 2]


def test_two_runs_do_the_same():
    reports = []
    for _ in range(2):
        run = session("crcr")
        for sigma in (1.0, 0.8):
            compute(run, sigma, residual())
            reuse(run, sigma - 0.1)
        reports.append(run.close())
    assert reports[0].events == reports[1].events
    assert reports[0].reused == 2


def test_a_schedule_that_starts_again_reuses_within_each_stretch():
    sigmas = (1.0, 0.7, 0.4, 0.8, 0.5, 0.2)
    run = session(Plan(sigmas, (False, True, True) * 2, (0.0,) * 6))
    compute(run, 1.0, residual(fill=1))
    assert [reuse(run, sigma)[0][0, 0, 0] for sigma in (0.7, 0.4)] == [1, 1]
    compute(run, 0.8, residual(fill=2))
    assert [reuse(run, sigma)[0][0, 0, 0] for sigma in (0.5, 0.2)] == [2, 2]
    assert [event.step for event in run.close().events] == [0, 1, 2, 3, 4, 5]


# When in doubt, compute


def test_nothing_recorded():
    assert not is_reused(session("cr"), 0.9)


def test_an_evaluation_that_did_not_finish():
    run = session("cr")
    begin_computed(run, 1.0).store(["a"], ["cond"], residual())
    assert not is_reused(run, 0.9)


def test_an_evaluation_that_recorded_nothing():
    run = session("cr")
    begin_computed(run, 1.0).finish()
    assert not is_reused(run, 0.9)


@pytest.mark.parametrize("value", [None, residual(3)], ids=["not seen", "rows do not divide"])
def test_an_evaluation_that_was_not_seen_in_full(value: Residual | None):
    run = session("cr")
    evaluation = begin_computed(run, 1.0)
    evaluation.store(["a", "b"], ["cond", "uncond"], residual(2))
    evaluation.store(["c", "d"], ["cond", "uncond"], value)
    assert evaluation.missed
    evaluation.finish()
    assert not is_reused(run, 0.9)


@pytest.mark.parametrize("batches", [[["a", "a"]], [["a"], ["a"]], [["a", "b"], ["b", "c"]], [["a"], ["b"], ["a"]]], ids=str)
def test_nothing_is_reused_of_an_evaluation_in_which_a_member_came_twice(batches: list[list[str]]):
    """A sampler may evaluate the model several times with the same conditioning: these cannot be told apart."""
    run = session("crr")
    evaluation = begin_computed(run, 1.0)
    for batch in batches:
        evaluation.store(batch, ["cond"] * len(batch), residual(len(batch)))
    assert evaluation.missed
    evaluation.finish()
    assert not is_reused(run, 0.9)


@pytest.mark.parametrize("batches", [[["a", "a"]], [["a"], ["a"]], [["a", "b"], ["b"]]], ids=str)
def test_a_member_that_comes_twice_is_not_recalled_again(batches: list[list[str]]):
    run = session("cr")
    compute(run, 1.0, residual(2), members=("a", "b"))
    evaluation = begin_reused(run, 0.9)
    for batch in batches[:-1]:
        evaluation.recall(batch, CPU)
    with pytest.raises(StaleResidualError, match="twice"):
        evaluation.recall(batches[-1], CPU)


def test_members_are_counted_in_each_evaluation_anew():
    run = session("crrc")
    compute(run, 1.0, residual())
    assert equal(reuse(run, 0.9), reuse(run, 0.8))
    assert not compute(run, 0.7, residual()).missed


def test_another_composition():
    run = session("crr")
    value = residual()
    compute(run, 1.0, value, call=("positive", "negative"))
    assert not is_reused(run, 0.9, call=("positive",))
    assert reuse(run, 0.8, call=("positive", "negative"))[0] is value[0]
    report = run.close()
    assert (report.nfe, report.reused, report.refused) == (2, 1, 1)


def test_a_composition_that_cannot_be_told_apart():
    run = session("crr")
    evaluation = compute(run, 1.0, residual(), call=None)
    assert (evaluation.record, evaluation.missed) == (None, True)
    assert not is_reused(run, 0.9, call=None)
    compute(run, 0.9, residual(), call="call")
    assert not is_reused(run, 0.8, call=None)
    report = run.close()
    assert (report.reused, report.refused) == (0, 3)
    assert report.residual_bytes == residual()[0].nbytes, "only that of the call that is known"


def test_a_rising_sigma():
    """The record was made at a lower noise level than it would now serve."""
    run = session("crcr")
    compute(run, 0.8, residual())
    assert not is_reused(run, 0.9)


def test_a_record_older_than_the_plan_assumes():
    run = session("crcr")
    compute(run, 1.0, residual())
    assert not is_reused(run, 0.7)


def test_above_the_plan():
    run = session("cr")
    evaluation = compute(run, 14.6, residual())
    assert evaluation.record is None
    assert run.close().events[0].step is None


def test_recall_of_what_was_never_recorded():
    run = session("crr")
    compute(run, 1.0, residual(), members=("a",))
    evaluation = begin_reused(run, 0.9)
    with pytest.raises(StaleResidualError):
        evaluation.recall(["a", "b"], CPU)
    again = run.recompute(evaluation, "call")
    assert isinstance(again, ComputedEvaluation) and (again.index, again.sigma) == (evaluation.index, 0.9)
    again.store(["a", "b"], ["cond", "cond"], residual(2))
    assert not again.missed, "the second attempt counts afresh"
    again.finish()
    assert equal(reuse(run, 0.8, members=("a", "b")), residual(2)), "the second attempt serves the rest of the gap"
    report = run.close()
    assert (report.evaluations, report.reused, report.refused) == (3, 1, 1)


def test_a_step_that_had_to_be_computed_serves_the_rest_of_its_gap():
    run = session("crrr")
    compute(run, 1.0, residual(fill=1))
    compute(run, 0.9, residual(fill=2), call="another composition")
    assert equal(reuse(run, 0.8, call="another composition"), residual(fill=2))
    assert equal(reuse(run, 0.7), residual(fill=1))


def test_nothing_is_reused_beside_another_cache():
    run = session("crrr")
    compute(run, 1.0, residual())
    reuse(run, 0.9)
    run.disturb(Disturbance.OTHER_CACHE)
    assert not is_reused(run, 0.8)
    compute(run, 0.7, residual())
    report = run.close()
    assert report.disturbances == (Disturbance.OTHER_CACHE,)
    assert [event.reused for event in report.events] == [False, True, False, False]


def test_more_evaluations_than_steps_do_not_stop_reuse():
    run = session("crr")
    compute(run, 1.0, residual())
    assert not run.disturbed
    for _ in range(2):
        run.disturb(Disturbance.EXTRA_EVALUATIONS)
    assert run.disturbed and is_reused(run, 0.9)
    assert run.so_far().disturbances == (Disturbance.EXTRA_EVALUATIONS,)


# Report and calibration


def test_report():
    run = session("crrcr")
    for letter, sigma in zip("crrcr", plan("crrcr").sigmas, strict=True):
        compute(run, sigma, residual()) if letter == "c" else reuse(run, sigma)
    report = run.close()
    assert (report.label, report.steps, report.evaluations, report.nfe, report.refused) == (RunLabel("skipping", "flux"), 5, 5, 2, 0)
    assert [event.reused for event in report.events] == [event.planned for event in report.events] == [False, True, True, False, True]
    assert [event.sigma for event in report.events] == list(plan("crrcr").sigmas)
    assert len(report.seconds) == 5
    assert all(spent >= 0 for spent in report.seconds)
    assert report.residual_bytes == residual()[0].nbytes


def test_report_while_the_run_goes_on():
    run = session("crc")
    compute(run, plan("crc").sigmas[0], residual())
    reuse(run, plan("crc").sigmas[1])
    report = run.so_far()
    assert (report.evaluations, report.reused, len(report.seconds)) == (2, 1, 1)
    assert report.plan == plan("crc")
    compute(run, plan("crc").sigmas[2], residual())
    assert run.close().evaluations == 3, "asking does not end the run"


def test_report_of_a_run_that_never_began():
    assert session("cr").so_far().seconds == ()
    report = session("cr").close()
    assert (report.evaluations, report.seconds, report.residual_bytes) == (0, (), 0)


def test_recorder_sees_every_residual_that_is_computed():
    recorder = Recorder()
    run = session("cccc", recorder=recorder)
    for sigma, fill in zip(plan("cccc").sigmas, (1.0, 2.0, 3.0, 1.5), strict=True):
        evaluation = begin_computed(run, sigma)
        assert evaluation.watched
        evaluation.store(["a", "b"], ["cond", "uncond"], stacked(residual(fill=fill), residual(fill=1)))
        evaluation.finish()
    report = run.close()
    assert (report.reused, report.residual_bytes) == (0, 0)
    curve = recorder.curve("mine", "flux", {})
    assert curve.sigmas == plan("cccc").sigmas
    assert curve.ratios["cond"] == pytest.approx((1, 2, 1.5, 0.5))
    assert curve.ratios["uncond"] == pytest.approx((1, 1, 1, 1))


@pytest.mark.parametrize("second", [None, residual(fill=9)], ids=["not seen", "not told apart"])
def test_recorder_passes_over_what_was_not_seen(second: Residual | None):
    recorder = Recorder()
    run = session("cccc", recorder=recorder)
    calls: list[Hashable] = ["call", "call" if second is None else None, "call", "call"]
    values = (residual(), second, residual(fill=2), residual(fill=6))
    for sigma, value, call in zip(plan("cccc").sigmas, values, calls, strict=True):
        compute(run, sigma, value, call=call)
    curve = recorder.curve("mine", "flux", {})
    assert curve.sigmas == (1.0, 0.8, 0.7)
    assert curve.ratios["cond"] == pytest.approx((1, 2, 3))


def test_recorder_and_reuse_go_together():
    recorder = Recorder()
    run = session("ccrcr", recorder=recorder)
    for sigma, fill in ((1.0, 1.0), (0.9, 2.0)):
        compute(run, sigma, residual(fill=fill))
    assert equal(reuse(run, 0.8), residual(fill=2))
    compute(run, 0.7, residual(fill=3))
    assert recorder.sigmas == [1.0, 0.9, pytest.approx(0.7)]


@pytest.mark.parametrize(("decisions", "recorder", "watched"), [("cr", None, True), ("cc", None, False), ("cc", Recorder(), True)])
def test_residuals_are_watched_only_if_somebody_wants_them(decisions: str, recorder: Recorder | None, watched: bool):
    assert begin_computed(session(decisions, recorder=recorder), 1.0).watched == watched


def test_all_computed_steps_of_a_run_that_skips_are_watched():
    """So that torch.compile sees no third variant of the model."""
    run = session("ccrc")
    assert begin_computed(run, 1.0).watched and begin_computed(run, 0.7).watched


def test_a_session_is_of_one_run():
    one, other = session("cr"), Session(plan("cr"), RunLabel("full"))
    compute(one, 1.0, residual())
    assert not is_reused(other, 0.9) and is_reused(one, 0.9)


def test_evaluations_from_several_threads():
    """Two GPUs may run the forwards of one evaluation at the same time."""
    run = session("cr")
    evaluation = begin_computed(run, 1.0)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda member: evaluation.store([member], ["cond"], residual(fill=member)), range(64)))
    evaluation.finish()
    again = begin_reused(run, 0.9)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda member: again.recall([member], CPU)[0], range(64)))
    assert [float(value[0, 0, 0]) for value in found] == list(range(64))
