"""A run's residuals: when one is reused, when it is not, and that nothing outlives the run."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Hashable, Sequence

import pytest
import torch

from magcache import Plan
from magcache.planning.plan import Correction
from magcache.runtime.recorder import Recorder
from magcache.runtime.residuals import StaleResidualError
from magcache.runtime.session import Evaluation, Session

CPU = torch.device("cpu")


def plan(decisions: str) -> Plan:
    """A plan written as one letter a step, c computed and r reused, at sigmas 1.0, 0.9, …"""
    reused = tuple(letter == "r" for letter in decisions)
    return Plan(tuple(1 - step / 10 for step in range(len(reused))), reused, (0.0,) * len(reused))


def session(decisions: str, **options: object) -> Session:
    return Session(plan(decisions), "flux", **options)  # type: ignore[arg-type]


def residual(rows: int = 1, fill: float = 1.0) -> torch.Tensor:
    return torch.full((rows, 4, 8), fill)


def compute(
    run: Session, sigma: float, value: torch.Tensor | None, members: Sequence[Hashable] = ("a",), call: Hashable = "call"
) -> Evaluation:
    """One computed evaluation, as a host does it."""
    evaluation = run.begin(call, sigma, CPU)
    assert not evaluation.reuse
    evaluation.store(evaluation.keys(members), ["cond"] * len(members), value)
    evaluation.finish()
    return evaluation


def reuse(run: Session, sigma: float, members: Sequence[Hashable] = ("a",), call: Hashable = "call") -> torch.Tensor:
    """One reusing evaluation, as a host does it."""
    evaluation = run.begin(call, sigma, CPU)
    assert evaluation.reuse
    value = evaluation.recall(evaluation.keys(members), CPU)
    evaluation.finish()
    return value


# Reuse


def test_reuses_what_was_recorded():
    run = session("crrcr")
    first, second = residual(fill=1), residual(fill=2)
    compute(run, 1.0, first)
    assert reuse(run, 0.9) is first
    assert reuse(run, 0.8) is first
    compute(run, 0.7, second)
    assert reuse(run, 0.6) is second


def test_rows_belong_to_their_members():
    run = session("crrr")
    value = torch.cat([residual(2, fill=1), residual(2, fill=2)])
    compute(run, 1.0, value, members=("cond", "uncond"))
    assert torch.equal(reuse(run, 0.9, members=("cond", "uncond")), value)
    assert torch.equal(reuse(run, 0.8, members=("uncond", "cond")), value.flip(0))
    assert torch.equal(reuse(run, 0.7, members=("uncond",)), value[2:])


def test_forwards_of_one_evaluation_may_be_grouped_otherwise():
    """Low memory splits a batch into forwards of its own; what was recorded apart is reused together, and the reverse."""
    run = session("cr")
    evaluation = run.begin("call", 1.0, CPU)
    for member, fill in (("cond", 1), ("uncond", 2)):
        evaluation.store(evaluation.keys([member]), [member], residual(fill=fill))
    evaluation.finish()
    assert torch.equal(reuse(run, 0.9, members=("cond", "uncond")), torch.cat([residual(fill=1), residual(fill=2)]))


def test_the_same_member_twice_in_an_evaluation():
    """A sampler that calls the model several times with the same conditioning gets each call's own residual."""
    run = session("cr")
    evaluation = run.begin("call", 1.0, CPU)
    assert evaluation.keys(["a", "b", "a"]) == [("a", 0), ("b", 0), ("a", 1)]
    assert evaluation.keys(["a"]) == [("a", 2)]
    run = session("cr")
    compute(run, 1.0, torch.cat([residual(fill=1), residual(fill=2)]), members=("a", "a"))
    evaluation = run.begin("call", 0.9, CPU)
    assert [evaluation.recall(evaluation.keys(["a"]), CPU)[0, 0, 0] for _ in range(2)] == [1, 2]


def test_evaluations_within_a_step_follow_its_decision():
    run = session("crcr")
    compute(run, 1.0, residual(fill=1))
    late = residual(fill=2)
    compute(run, 0.95, late)
    assert reuse(run, 0.9) is late
    assert reuse(run, 0.85) is late
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


# When in doubt, compute


def test_nothing_recorded():
    assert not session("cr").begin("call", 0.9, CPU).reuse


def test_an_evaluation_that_did_not_finish():
    run = session("cr")
    evaluation = run.begin("call", 1.0, CPU)
    evaluation.store(evaluation.keys(["a"]), ["cond"], residual())
    assert not run.begin("call", 0.9, CPU).reuse


def test_an_evaluation_that_recorded_nothing():
    run = session("cr")
    run.begin("call", 1.0, CPU).finish()
    assert not run.begin("call", 0.9, CPU).reuse


@pytest.mark.parametrize("value", [None, residual(3)], ids=["not seen", "rows do not divide"])
def test_an_evaluation_that_was_not_seen_in_full(value: torch.Tensor | None):
    run = session("cr")
    evaluation = run.begin("call", 1.0, CPU)
    evaluation.store(evaluation.keys(["a", "b"]), ["cond", "uncond"], residual(2))
    evaluation.store(evaluation.keys(["a", "b"]), ["cond", "uncond"], value)
    evaluation.finish()
    assert not run.begin("call", 0.9, CPU).reuse


def test_another_composition():
    run = session("crr")
    value = residual()
    compute(run, 1.0, value, call=("positive", "negative"))
    assert not run.begin(("positive",), 0.9, CPU).reuse
    assert reuse(run, 0.8, call=("positive", "negative")) is value
    report = run.close()
    assert (report.nfe, report.reused, report.refused) == (2, 1, 1)


def test_a_rising_sigma():
    """A restart: the record was made at a lower noise level than it would now serve."""
    run = session("crcr")
    compute(run, 0.8, residual())
    assert not run.begin("call", 0.9, CPU).reuse


def test_a_record_older_than_the_plan_assumes():
    run = session("crcr")
    compute(run, 1.0, residual())
    assert not run.begin("call", 0.7, CPU).reuse


def test_above_the_plan():
    run = session("cr")
    evaluation = compute(run, 14.6, residual())
    assert evaluation.record is None
    assert run.close().events[0].step is None


def test_recall_of_what_was_never_recorded():
    run = session("crr")
    compute(run, 1.0, residual(), members=("a",))
    evaluation = run.begin("call", 0.9, CPU)
    assert evaluation.reuse
    with pytest.raises(StaleResidualError):
        evaluation.recall(evaluation.keys(["a", "b"]), CPU)
    again = run.recompute("call")
    assert not again.reuse
    assert again.keys(["a", "b"]) == [("a", 0), ("b", 0)], "the second attempt counts afresh"
    again.store([("a", 0), ("b", 0)], ["cond", "cond"], residual(2))
    again.finish()
    assert torch.equal(reuse(run, 0.8, members=("a", "b")), residual(2)), "the second attempt serves the rest of the gap"
    report = run.close()
    assert (report.evaluations, report.reused, report.refused) == (3, 1, 1)


def test_recall_of_the_computed():
    with pytest.raises(StaleResidualError):
        session("cc").begin("call", 1.0, CPU).recall([("a", 0)], CPU)


# Memory


def test_records_only_what_a_later_step_needs():
    run = session("ccrc")
    assert compute(run, 1.0, residual()).record is None
    assert compute(run, 0.9, residual()).record is not None
    reuse(run, 0.8)
    assert compute(run, 0.7, residual()).record is None


def test_a_residual_that_nobody_needs_is_not_kept():
    run = session("crcc")
    value = residual()
    watch = weakref.ref(value)
    compute(run, 1.0, value)
    del value
    reuse(run, 0.9)
    assert watch() is not None
    compute(run, 0.8, residual())
    gc.collect()
    assert watch() is None


def test_forgets_windows_that_moved_on():
    run = session("crcr")
    value = residual()
    watch = weakref.ref(value)
    compute(run, 1.0, value, call="window 1")
    del value
    compute(run, 0.8, residual(), call="window 2")
    gc.collect()
    assert watch() is None
    assert not run.begin("window 1", 0.7, CPU).reuse


def test_windows_side_by_side():
    run = session("crr")
    values = [residual(fill=fill) for fill in range(3)]
    for window, value in enumerate(values):
        compute(run, 1.0, value, call=window)
    for sigma in (0.9, 0.8):
        for window, value in enumerate(values):
            assert reuse(run, sigma, call=window) is value


def test_close_frees_everything():
    run = session("cr")
    value = residual(2)
    watch = weakref.ref(value)
    compute(run, 1.0, value, members=("a", "b"))
    del value
    run.close()
    gc.collect()
    assert watch() is None
    assert not run.begin("call", 0.9, CPU).reuse


def test_peak_counts_a_batch_once():
    run = session("crcr")
    size = residual(2).nbytes
    compute(run, 1.0, residual(2), members=("a", "b"), call="one")
    compute(run, 1.0, residual(2), members=("a", "b"), call="other")
    compute(run, 0.8, residual(2), members=("a", "b"), call="one")
    assert run.close().residual_bytes == 2 * size


def test_no_peak_when_nothing_is_kept():
    run = session("ccc")
    for sigma in (1.0, 0.9, 0.8):
        compute(run, sigma, residual())
    assert run.close().residual_bytes == 0


class OnDevice:
    """What the session looks at in a residual that lies on an accelerator."""

    def __init__(self, nbytes: int):
        self.device, self.nbytes = torch.device("cuda", 0), nbytes


@pytest.mark.parametrize(
    ("cache_device", "free", "moved"),
    [
        ("device", 0, False),
        ("cpu", 10**12, True),
        ("auto", 400, False),
        ("auto", 399, True),
        ("auto", 0, True),
        ("auto", None, False),
    ],
)
def test_where_residuals_stay(cache_device: str, free: int | None, moved: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("magcache.runtime.session.offloaded", lambda residual: (residual, "cpu"))
    value = OnDevice(100)
    asked: list[torch.device] = []

    def free_memory(device: torch.device) -> int:
        asked.append(device)
        assert free is not None
        return free

    run = session("cr", cache_device=cache_device, free_memory=None if free is None else free_memory)
    for _ in range(2):  # The device is asked once a run.
        assert run.keep(value) == ((value, "cpu") if moved else value)  # type: ignore[arg-type]
    assert asked == ([value.device] if cache_device == "auto" and free is not None else [])


@pytest.mark.parametrize("cache_device", ["auto", "device", "cpu"])
def test_residuals_on_the_cpu_stay_there(cache_device: str):
    def free_memory(device: torch.device) -> int:
        raise AssertionError("there is nothing to ask")

    value = residual()
    assert session("cr", cache_device=cache_device, free_memory=free_memory).keep(value) is value


# Report and calibration


def test_report():
    run = session("crrcr")
    for letter, sigma in zip("crrcr", plan("crrcr").sigmas, strict=True):
        compute(run, sigma, residual()) if letter == "c" else reuse(run, sigma)
    report = run.close()
    assert (report.curve, report.steps, report.evaluations, report.nfe, report.refused) == ("flux", 5, 5, 2, 0)
    assert [event.reused for event in report.events] == [event.planned for event in report.events] == [False, True, True, False, True]
    assert [event.sigma for event in report.events] == list(plan("crrcr").sigmas)
    assert len(report.seconds) == 5
    assert all(spent >= 0 for spent in report.seconds)
    assert report.residual_bytes == residual().nbytes


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


def test_recorder_sees_every_residual_and_nothing_is_reused():
    recorder = Recorder()
    run = session("crrr", recorder=recorder)
    for sigma, fill in zip(plan("crrr").sigmas, (1.0, 2.0, 3.0, 1.5), strict=True):
        evaluation = run.begin("call", sigma, CPU)
        assert not evaluation.reuse
        evaluation.store(evaluation.keys(["a", "b"]), ["cond", "uncond"], torch.cat([residual(fill=fill), residual(fill=1)]))
        evaluation.finish()
    report = run.close()
    assert (report.reused, report.residual_bytes) == (0, 0)
    curve = recorder.curve("mine", "flux", {})
    assert curve.sigmas == plan("crrr").sigmas
    assert curve.ratios["cond"] == pytest.approx((1, 2, 1.5, 0.5))
    assert curve.ratios["uncond"] == pytest.approx((1, 1, 1, 1))


def test_recorder_passes_over_what_was_not_seen():
    recorder = Recorder()
    run = session("cccc", recorder=recorder)
    for sigma, value in zip(plan("cccc").sigmas, (residual(), None, residual(fill=2), residual(fill=6)), strict=True):
        compute(run, sigma, value)
    curve = recorder.curve("mine", "flux", {})
    assert curve.sigmas == (1.0, 0.8, 0.7)
    assert curve.ratios["cond"] == pytest.approx((1, 2, 3))


# Recipes


def test_a_recipe_adds_up_the_last_two_computed_steps():
    made = Plan((1.0, 0.9, 0.8, 0.7), (False, False, True, True), (0.0,) * 4, ((), (), ((1, 1.5), (0, -0.5)), ((1, 2.0), (0, -1.0))))
    run = Session(made, "flux")
    compute(run, 1.0, residual(fill=1))
    compute(run, 0.9, residual(fill=3))
    assert torch.equal(reuse(run, 0.8), residual(fill=4))
    assert torch.equal(reuse(run, 0.7), residual(fill=5))


def test_at_most_two_residuals_are_kept():
    recipes = ((), (), ((1, 2.0), (0, -1.0)), (), ((3, 2.0), (1, -1.0)))
    run = Session(Plan((1.0, 0.9, 0.8, 0.7, 0.6), (False, False, True, False, True), (0.0,) * 5, recipes), "flux")
    first = residual(fill=1)
    gone = weakref.ref(first)
    compute(run, 1.0, first)
    compute(run, 0.9, residual(fill=2))
    reuse(run, 0.8)
    del first
    compute(run, 0.7, residual(fill=4))
    gc.collect()
    assert gone() is None
    assert torch.equal(reuse(run, 0.6), residual(fill=6))


def test_a_missing_older_residual_means_compute():
    recipes = ((), (), ((1, 2.0), (0, -1.0)))
    run = Session(Plan((1.0, 0.9, 0.8), (False, False, True), (0.0,) * 3, recipes), "flux")
    run.begin("call", 1.0, CPU).finish()
    compute(run, 0.9, residual())
    assert not run.begin("call", 0.8, CPU).reuse


def test_a_step_that_had_to_be_computed_serves_the_rest_of_its_gap():
    run = session("crrr")
    compute(run, 1.0, residual(fill=1))
    compute(run, 0.9, residual(fill=2), call="another composition")
    assert torch.equal(reuse(run, 0.8, call="another composition"), residual(fill=2))
    assert torch.equal(reuse(run, 0.7), residual(fill=1))


# Corrections


def correcting() -> Session:
    recipes = ((), (), ((1, 2.0), (0, -1.0)), ((1, 3.0), (0, -2.0)), ())
    corrections = (None, None, None, None, Correction(0.5, ((1, 4.0), (0, -3.0))))
    return Session(Plan((1.0, 0.9, 0.8, 0.7, 0.6), (False, False, True, True, False), (0.0,) * 5, recipes, corrections), "flux")


def test_a_computed_step_is_told_what_the_gap_before_it_led_to_expect():
    run = correcting()
    for sigma, fill in ((1.0, 1), (0.9, 3)):
        assert not compute(run, sigma, residual(fill=fill)).expected
    reuse(run, 0.8)
    reuse(run, 0.7)
    evaluation = run.begin("call", 0.6, CPU)
    assert evaluation.gain == 0.5
    assert torch.equal(evaluation.expect(evaluation.keys("a"), CPU), residual(fill=9))
    run.note_correction()
    assert [event.corrected for event in run.close().events] == [False] * 4 + [True]


def test_what_was_expected_is_let_go_before_the_step_is_computed():
    run = correcting()
    first = residual(fill=1)
    gone = weakref.ref(first)
    compute(run, 1.0, first)
    del first
    compute(run, 0.9, residual(fill=3))
    reuse(run, 0.8)
    reuse(run, 0.7)
    assert gone() is not None
    evaluation = run.begin("call", 0.6, CPU)
    evaluation.expect(evaluation.keys("a"), CPU)
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("other", [0.8, 0.7])
def test_a_gap_that_did_not_go_as_planned_is_not_corrected(other: float):
    run = correcting()
    compute(run, 1.0, residual(fill=1))
    compute(run, 0.9, residual(fill=3))
    for sigma in (0.8, 0.7):
        if sigma == other:
            run.begin("call", sigma, CPU)
            run.recompute("call").finish()
        else:
            reuse(run, sigma)
    assert not run.begin("call", 0.6, CPU).expected
    assert not any(event.corrected for event in run.close().events)


def test_a_gap_of_another_composition_is_not_corrected():
    run = correcting()
    compute(run, 1.0, residual(fill=1))
    compute(run, 0.9, residual(fill=3))
    reuse(run, 0.8)
    reuse(run, 0.7)
    assert not run.begin("another", 0.6, CPU).expected


def test_a_forward_that_was_not_recorded_cannot_be_expected():
    run = correcting()
    compute(run, 1.0, residual(fill=1))
    compute(run, 0.9, residual(fill=3))
    reuse(run, 0.8)
    reuse(run, 0.7)
    evaluation = run.begin("call", 0.6, CPU)
    with pytest.raises(StaleResidualError):
        evaluation.expect(evaluation.keys("b"), CPU)
    assert not any(event.corrected for event in run.close().events)
