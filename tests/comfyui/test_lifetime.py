"""A run leaves nothing behind: no tensor, no exchanged module, no state; whether it ends by itself, by an interrupt or an error."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import comfy.model_management
import pytest
import torch
from torch import nn

from magcache.reports.run_report import Disturbance
from magcache.runtime.residuals import Residual
from magcache.runtime.session import Session

from .runs import blocks, cached, close, sample, structure
from .tiny import Tiny


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> list[weakref.ref[torch.Tensor]]:
    """A weak reference to every residual that a session keeps."""
    references: list[weakref.ref[torch.Tensor]] = []
    keep = Session.keep

    def noted(session: Session, residual: Residual) -> Residual:
        references.extend(map(weakref.ref, residual))
        return keep(session, residual)

    monkeypatch.setattr(Session, "keep", noted)
    return references


@contextmanager
def _failing(module: nn.Module, call: int) -> Iterator[None]:
    """`module` raises at its `call`-th call, counted from 1."""
    calls = iter(range(1, 1000))

    def fail(*_: Any) -> None:
        if next(calls) == call:
            raise RuntimeError("for the test")

    handle = module.register_forward_pre_hook(fail)
    try:
        yield
    finally:
        handle.remove()


def _fails(run: Callable[[], Any], error: type[BaseException]) -> None:
    """`run` raises `error`; what its traceback holds on to is let go."""
    with pytest.raises(error):
        run()
    gc.collect()


def test_no_residual_outlives_its_run(flux: Tiny, kept: list[weakref.ref[torch.Tensor]]):
    model, log = cached(flux.model, "crcr")
    sample(flux, model, cfg=3.0)
    gc.collect()
    assert len(kept) == 2
    assert [reference() for reference in kept] == [None, None]
    assert log.reports[0].residual_bytes == 2 * 16 * 128 * 4


@pytest.mark.parametrize("where", ["first block", "last block", "tail while computing", "tail while skipping"])
def test_an_error_in_the_model_leaves_nothing_behind(flux: Tiny, kept: list[weakref.ref[torch.Tensor]], where: str):
    model, log = cached(flux.model, "crcr")
    before = structure(flux.dit)
    expected = sample(flux, cached(flux.model, "crcr")[0], cfg=3.0)
    module, call = {
        "first block": (blocks(flux)[0], 2),
        "last block": (blocks(flux)[-1], 2),
        "tail while computing": (flux.dit.final_layer, 4),  # The second call is that of the check.
        "tail while skipping": (flux.dit.final_layer, 3),
    }[where]
    with _failing(module, call):
        _fails(lambda: sample(flux, model, cfg=3.0), RuntimeError)
    assert structure(flux.dit) == before
    assert kept
    assert not any(reference() is not None for reference in kept)
    assert log.reports == [], "a run that failed has nothing to report"
    assert torch.equal(sample(flux, model, cfg=3.0), expected)
    assert log.decisions == ["crcr"]


def test_an_error_in_the_check_costs_no_picture(flux: Tiny):
    model, log = cached(flux.model, "crcr")
    with _failing(flux.dit.final_layer, 2):
        assert torch.equal(sample(flux, model, cfg=3.0), sample(flux, cfg=3.0))
    assert log.decisions == ["cccc"] and log.reports[0].disturbances == (Disturbance.NOT_REPRODUCED,)


@pytest.mark.parametrize("step", [0, 1, 2])
def test_an_interrupt_leaves_nothing_behind(flux: Tiny, kept: list[weakref.ref[torch.Tensor]], step: int):
    def interrupt(index: int, *_: Any) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        if index == step:
            comfy.model_management.interrupt_current_processing()

    model, log = cached(flux.model, "crcr")
    expected = sample(flux, cached(flux.model, "crcr")[0])
    before = structure(flux.dit)
    _fails(lambda: sample(flux, model, callback=interrupt), comfy.model_management.InterruptProcessingException)
    assert structure(flux.dit) == before
    assert not any(reference() is not None for reference in kept)
    assert log.reports == []
    assert torch.equal(sample(flux, model), expected)
    assert log.decisions == ["crcr"]


def test_the_patch_is_on_the_clone_only(flux: Tiny):
    plain = sample(flux)
    model, log = cached(flux.model, "crcr")
    assert not torch.equal(sample(flux, model), plain)
    assert torch.equal(sample(flux), plain)
    assert len(log.reports) == 1


def test_a_second_patch_takes_the_place_of_the_first(flux: Tiny):
    model, first = cached(flux.model, "crrr")
    model, second = cached(model, "ccrc")
    sample(flux, model)
    assert (first.decisions, second.decisions) == ([], ["ccrc"])


def test_residuals_wait_on_the_cpu_if_asked_to(flux: Tiny):
    from magcache.comfyui.patch import MagCachePatch

    from .runs import FixedMode, Log, steps

    log = Log()
    patch = MagCachePatch(FixedMode(steps("crcr")), log.add, "cpu")
    result = sample(flux, patch.attach(flux.model), cfg=3.0)
    assert log.decisions == ["crcr"]
    assert close(result, sample(flux, cached(flux.model, "crcr")[0], cfg=3.0), 0.0)
