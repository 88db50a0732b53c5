"""What a run keeps in memory: only what a later step needs, where it shall be kept, and nothing once it is over."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch

from magcache import Plan
from magcache.runtime.residuals import Residual

from .runs import begin_computed, compute, equal, is_reused, residual, reuse, session


def watch(value: Residual) -> weakref.ref[torch.Tensor]:
    return weakref.ref(value[0])


def test_records_only_what_a_later_step_needs():
    run = session("ccrc")
    assert compute(run, 1.0, residual()).record is None
    assert compute(run, 0.9, residual()).record is not None
    reuse(run, 0.8)
    assert compute(run, 0.7, residual()).record is None


def test_a_residual_that_nobody_needs_is_not_kept():
    run = session("crcc")
    value = residual()
    gone = watch(value)
    compute(run, 1.0, value)
    del value
    reuse(run, 0.9)
    assert gone() is not None
    compute(run, 0.8, residual())
    gc.collect()
    assert gone() is None


def test_forgets_windows_that_moved_on():
    run = session("crcr")
    value = residual()
    gone = watch(value)
    compute(run, 1.0, value, call="window 1")
    del value
    compute(run, 0.8, residual(), call="window 2")
    gc.collect()
    assert gone() is None
    assert not is_reused(run, 0.7, call="window 1")


def test_windows_side_by_side():
    run = session("crr")
    values = [residual(fill=fill) for fill in range(3)]
    for window, value in enumerate(values):
        compute(run, 1.0, value, call=window)
    for sigma in (0.9, 0.8):
        for window, value in enumerate(values):
            assert reuse(run, sigma, call=window)[0] is value[0]


def test_nothing_is_kept_of_what_cannot_be_told_apart():
    run = session("crr")
    value = residual()
    gone = watch(value)
    compute(run, 1.0, value, call=None)
    del value
    gc.collect()
    assert gone() is None


def test_close_frees_everything():
    run = session("cr")
    value = residual(2)
    gone = watch(value)
    compute(run, 1.0, value, members=("a", "b"))
    del value
    run.close()
    gc.collect()
    assert gone() is None
    assert not is_reused(run, 0.9)


def test_at_most_two_residuals_are_kept():
    recipes = ((), (), ((1, 2.0), (0, -1.0)), (), ((3, 2.0), (1, -1.0)))
    run = session(Plan((1.0, 0.9, 0.8, 0.7, 0.6), (False, False, True, False, True), (0.0,) * 5, recipes))
    first = residual(fill=1)
    gone = watch(first)
    compute(run, 1.0, first)
    compute(run, 0.9, residual(fill=2))
    reuse(run, 0.8)
    del first
    compute(run, 0.7, residual(fill=4))
    gc.collect()
    assert gone() is None
    assert equal(reuse(run, 0.6), residual(fill=6))


def test_peak_counts_a_batch_once_and_all_its_streams():
    run = session("crcr")
    size = sum(stream.nbytes for stream in residual(2, streams=2))
    for call, sigma in (("one", 1.0), ("other", 1.0), ("one", 0.8)):
        compute(run, sigma, residual(2, streams=2), members=("a", "b"), call=call)
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
def test_where_residuals_are_kept(cache_device: str, free: int | None, moved: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("magcache.runtime.session.offloaded", lambda residual: (residual, "cpu"))
    value = (OnDevice(60), OnDevice(40))
    asked: list[torch.device] = []

    def free_memory(device: torch.device) -> int:
        asked.append(device)
        assert free is not None
        return free

    run = session("cr", cache_device=cache_device, free_memory=None if free is None else free_memory)
    for _ in range(2):  # The device is asked once a run.
        assert run.keep(value) == ((value, "cpu") if moved else value)  # type: ignore[arg-type,comparison-overlap]
    assert asked == ([torch.device("cuda", 0)] if cache_device == "auto" and free is not None else [])


@pytest.mark.parametrize("cache_device", ["auto", "device", "cpu"])
def test_residuals_on_the_cpu_stay_there(cache_device: str):
    def free_memory(device: torch.device) -> int:
        raise AssertionError("there is nothing to ask")

    value = residual(streams=2)
    kept = session("cr", cache_device=cache_device, free_memory=free_memory).keep(value)
    assert all(one is other for one, other in zip(kept, value, strict=True))


def test_an_evaluation_that_is_computed_again_replaces_its_first_attempt():
    run = session("crr")
    first = residual(fill=1)
    gone = watch(first)
    evaluation = begin_computed(run, 1.0)
    evaluation.store(["a"], ["cond"], first)
    again = run.recompute(evaluation, "call")
    again.store(["a"], ["cond"], residual(fill=2))
    again.finish()
    del first, evaluation
    gc.collect()
    assert gone() is None
    assert equal(reuse(run, 0.9), residual(fill=2))
