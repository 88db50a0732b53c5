"""ControlNet and VACE: what they add is neither lost nor added twice, and on skipped steps they cost nothing."""

from __future__ import annotations

from typing import Any

import comfy.controlnet
import pytest
import torch

from magcache.runtime.residuals import StaleResidualError
from magcache.runtime.session import ReusedEvaluation

from .runs import CountingPlan, WatchingPlan, cached, close, counted, evaluate, sample, steps
from .tiny import Tiny, noise, wan_vace


class FakeControl(comfy.controlnet.ControlBase):
    """A ControlNet for the tiny Flux: adds the same to every block, more at higher sigmas."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def get_control(self, x_noisy: torch.Tensor, t: torch.Tensor, *_: Any) -> dict[str, list[torch.Tensor]]:
        self.calls += 1
        added = noise(1, 16, 128, seed=7) * t.reshape(-1, 1, 1)
        return {"input": [added, added], "output": [added, added]}

    def get_models(self) -> list[Any]:
        return []

    def inference_memory_requirements(self, dtype: torch.dtype) -> int:
        return 0


def _with(tiny: Tiny, control: FakeControl, seed: int = 1) -> list[list[Any]]:
    """As the Apply ControlNet node writes it."""
    return tiny.conditioning(seed, control=control, control_apply_to_uncond=seed == 1)


@pytest.mark.parametrize("cfg", [1.0, 3.0])
def test_a_controlnet_computes_the_very_same_picture(flux: Tiny, cfg: float):
    model, _ = cached(flux.model, steps("cccc", WatchingPlan))
    plain = sample(flux, cfg=cfg, positive=_with(flux, FakeControl()))
    assert torch.equal(sample(flux, model, cfg=cfg, positive=_with(flux, FakeControl())), plain)
    assert not close(plain, sample(flux, cfg=cfg), 1e-2)


@pytest.mark.parametrize("cfg", [1.0, 3.0])
def test_a_skipped_step_keeps_the_control_and_does_not_run_the_controlnet(flux: Tiny, cfg: float):
    control = FakeControl()
    model, log = cached(flux.model, steps("crrcr", CountingPlan))
    seen = evaluate(flux, model, 5, cfg=cfg, positive=_with(flux, control))
    assert log.decisions == ["crrcr"]
    assert control.calls == 2
    plain = evaluate(flux, cfg=cfg, positive=_with(flux, FakeControl()))[0]
    assert all(close(each, plain) for each in seen)


def test_controlnets_of_the_positive_and_the_negative_stay_apart(flux: Tiny):
    controls = FakeControl(), FakeControl()
    conds = {"positive": _with(flux, controls[0], 1), "negative": _with(flux, controls[1], 2)}
    model, log = cached(flux.model, steps("crcr", CountingPlan))
    seen = evaluate(flux, model, 4, cfg=3.0, **conds)
    assert log.decisions == ["crcr"]
    assert [control.calls for control in controls] == [2, 2]
    assert all(close(each, evaluate(flux, cfg=3.0, **conds)[0]) for each in seen)


def test_a_step_that_cannot_be_skipped_after_all_gets_its_control_back(flux: Tiny, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: Any) -> torch.Tensor:
        raise StaleResidualError("for the test")

    monkeypatch.setattr(ReusedEvaluation, "recall", refuse)
    control = FakeControl()
    model, log = cached(flux.model, "crcr")
    result = sample(flux, model, cfg=3.0, positive=_with(flux, control))
    assert log.decisions == ["cccc"]
    assert log.reports[0].refused == 2
    assert control.calls == 4
    assert torch.equal(result, sample(flux, cfg=3.0, positive=_with(flux, FakeControl())))


def test_vace_blocks_are_skipped_with_the_others_and_their_hints_are_kept():
    tiny = wan_vace()
    model, log = cached(tiny.model, steps("crcr", CountingPlan))
    with counted(tiny.dit.vace_blocks[0]) as calls:
        seen = evaluate(tiny, model, 4, cfg=3.0)
    assert log.decisions == ["crcr"]
    assert calls == [2]
    plain = evaluate(tiny, cfg=3.0)[0]
    assert all(close(each, plain) for each in seen)
    other = tiny.conditioning(1, vace_frames=[noise(1, 32, 3, 8, 8, seed=9)])
    assert not close(plain, evaluate(tiny, cfg=3.0, positive=other)[0], 1e-3), "the hints must matter for this test to mean anything"
