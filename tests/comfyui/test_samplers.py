"""Sigmas that are known without asking the device are those at which the model is evaluated."""

from __future__ import annotations

from typing import Any

import comfy.samplers
import pytest
import torch
from comfy.patcher_extension import WrappersMP

from magcache.comfyui import patch
from magcache.comfyui.samplers import _ONE_A_STEP, known_sigmas

from .runs import cached, sample
from .tiny import Tiny


@pytest.mark.parametrize("name", [*_ONE_A_STEP, "heun", "dpm_2", "uni_pc", "dpmpp_sde", "er_sde"])
def test_the_run_knows_the_sigma_of_every_evaluation(flux: Tiny, name: str, monkeypatch: pytest.MonkeyPatch):
    told: list[float] = []
    read: list[float] = []
    original = patch.Run.sigma

    def noting(run: Any, timestep: torch.Tensor) -> float:
        told.append(original(run, timestep))
        read.append(float(timestep[0]))
        return told[-1]

    monkeypatch.setattr(patch.Run, "sigma", noting)
    model, log = cached(flux.model, "ccrcrc")
    result = sample(flux, model, count=6, sampler=name)
    assert torch.isfinite(result).all()
    assert told == read and len(told) >= 6
    assert log.reports[0].reused > 0


@pytest.mark.parametrize("name", _ONE_A_STEP)
def test_nothing_is_read_from_the_device_during_a_run(flux: Tiny, name: str, monkeypatch: pytest.MonkeyPatch):
    def refuse(tensor: torch.Tensor) -> float:
        raise AssertionError("a value was read from the device")

    inside: list[str] = []

    def watch(executor: Any, *args: Any) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(torch.Tensor, "__float__", refuse)
            patch.setattr(torch.Tensor, "item", refuse)
            patch.setattr(torch.Tensor, "tolist", refuse)
            inside.append(name)
            return executor(*args)

    outside = flux.model.clone()
    outside.add_wrapper_with_key(WrappersMP.CALC_COND_BATCH, "watch", watch)  # Before ours, hence around it.
    model, _ = cached(outside, "ccrcrc")
    sample(flux, model, count=6, sampler=name)
    assert len(inside) >= 6


def test_a_sampler_with_churn_is_watched():
    sigmas = torch.tensor([1.0, 0.5, 0.0])
    plain, churning = comfy.samplers.ksampler("euler"), comfy.samplers.ksampler("euler", {"s_churn": 0.5})
    assert known_sigmas(plain, sigmas) == [1.0, 0.5]
    assert known_sigmas(churning, sigmas) is None
    assert known_sigmas(comfy.samplers.ksampler("heun"), sigmas) is None
    assert known_sigmas(object(), sigmas) is None


def test_an_evaluation_the_sampler_did_not_ask_for_is_read(flux: Tiny):
    run = patch.Run(None, [0.9, 0.8])  # type: ignore[arg-type]
    first, other = torch.tensor([0.9]), torch.tensor([0.3])
    run.advance(first)
    assert run.sigma(first) == 0.9
    assert run.sigma(other) == pytest.approx(0.3)
    for _ in range(2):
        run.advance(other)
    assert run.sigma(other) == pytest.approx(0.3)
