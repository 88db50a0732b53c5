"""What is taken of a sampler is what it was seen to do: when it evaluates the model, whether it is Euler, whether it adds noise."""

from __future__ import annotations

import functools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import comfy.model_sampling
import comfy.samplers
import pytest
import torch
from comfy.k_diffusion import sampling
from comfy.patcher_extension import WrappersMP

from magcache import MagnitudeCurve
from magcache.comfyui.patch import MagCachePatch
from magcache.comfyui.run import Run
from magcache.comfyui.samplers import SamplerTraits, traits_of
from magcache.runtime.calibration_mode import CalibrationMode
from magcache.runtime.modes import SpeedupMode

from .runs import Log, cached, sample
from .tiny import Tiny

ONE_A_STEP = (
    "euler", "ddim", "deis", "dpmpp_2m", "gradient_estimation", "ipndm", "lms", "res_multistep", "uni_pc", "euler_ancestral", "lcm",
    "euler_cfg_pp",
)  # fmt: skip
SEVERAL = ("heun", "dpm_2", "dpmpp_sde", "dpmpp_2s_ancestral", "seeds_2")
EULER = ("euler", "ddim")
NOISY = ("lcm", "euler_ancestral", "ddpm", "dpmpp_sde", "dpmpp_2m_sde", "er_sde", "sa_solver", "dpmpp_2s_ancestral", "seeds_2")


class Flow(comfy.model_sampling.ModelSamplingDiscreteFlow, comfy.model_sampling.CONST):
    """How Flux, Wan and their like sample."""


def traits(sampler: Any, sigmas: torch.Tensor | None = None) -> SamplerTraits:
    inner = SimpleNamespace(model_sampling=Flow())
    patcher = SimpleNamespace(get_model_object=lambda _: inner.model_sampling, model=inner)
    guider = SimpleNamespace(inner_model=inner, model_patcher=patcher, conds={})
    return traits_of(sampler, guider, torch.tensor([1.0, 0.8, 0.55, 0.3, 0.1, 0.0]) if sigmas is None else sigmas)


@pytest.mark.parametrize("name", [*ONE_A_STEP, *SEVERAL])
def test_each_sampler_is_known_by_what_it_does(name: str):
    found = traits(comfy.samplers.sampler_object(name))
    assert found == SamplerTraits(
        one_a_step=name in ONE_A_STEP, is_euler=name in EULER, adds_noise=name in {*NOISY, "dpmpp_2s_ancestral", "seeds_2"}
    )


@pytest.mark.parametrize("name", NOISY)
def test_samplers_that_add_noise_are_seen_to(name: str):
    assert traits(comfy.samplers.sampler_object(name)).adds_noise


def test_options_decide_too():
    assert traits(comfy.samplers.ksampler("euler")).is_euler
    assert not traits(comfy.samplers.ksampler("euler", {"s_churn": 0.5})).is_euler
    assert traits(comfy.samplers.ksampler("euler", {"s_churn": 0.5})).adds_noise
    assert not traits(comfy.samplers.ksampler("euler_ancestral", {"eta": 0.0})).adds_noise


@torch.no_grad()
def reversed_euler(model: Any, x: torch.Tensor, sigmas: torch.Tensor, extra_args: Any, callback: Any, disable: bool) -> torch.Tensor:
    """Has Euler's name in it, and is something else."""
    for step in range(len(sigmas) - 1):
        slope = (x - model(x, sigmas[step] * x.new_ones(1), **extra_args)) / sigmas[step]
        x = x - slope * (sigmas[step + 1] - sigmas[step])
        callback({"i": step, "denoised": x, "x": x})
    return x


@torch.no_grad()
def early_euler(model: Any, x: torch.Tensor, sigmas: torch.Tensor, extra_args: Any, callback: Any, disable: bool) -> torch.Tensor:
    """Ends where Euler does if the answers are the same, but asks at other sigmas."""
    for step in range(len(sigmas) - 1):
        asked = 0.9 * sigmas[step]
        x = x + (x - model(x, asked * x.new_ones(1), **extra_args)) / asked * (sigmas[step + 1] - sigmas[step])
        callback({"i": step, "denoised": x, "x": x})
    return x


def endless(model: Any, x: torch.Tensor, sigmas: torch.Tensor, extra_args: Any, callback: Any, disable: bool) -> torch.Tensor:
    while True:
        x = model(x, sigmas[0] * x.new_ones(1), **extra_args)


def test_a_sampler_of_a_pack_is_tried_like_any_other():
    assert traits(comfy.samplers.KSAMPLER(reversed_euler)) == SamplerTraits(one_a_step=True, is_euler=False, adds_noise=False)
    assert traits(comfy.samplers.KSAMPLER(early_euler)) == SamplerTraits(one_a_step=False, is_euler=False, adds_noise=False)
    reversed_euler.__name__ = "sample_euler"
    assert not traits(comfy.samplers.KSAMPLER(reversed_euler)).is_euler


def test_what_cannot_be_tried_has_no_traits():
    kept: list[float] = []

    def remembering(model: Any, x: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        kept.append(float(x))
        return x

    nothing = SamplerTraits(one_a_step=False, is_euler=False, adds_noise=True)
    assert traits(object()) == traits(comfy.samplers.KSAMPLER(endless)) == traits(comfy.samplers.KSAMPLER(remembering)) == nothing
    assert not kept, "a function that may keep a state is not tried"
    assert traits(comfy.samplers.KSAMPLER(functools.partial(sampling.sample_euler))) == nothing
    noise_sampler = lambda *_: kept.append(0.0) or torch.zeros(1)  # noqa: E731 - a function of noise, as packs pass it
    assert traits(comfy.samplers.KSAMPLER(sampling.sample_euler_ancestral, {"noise_sampler": noise_sampler})) == nothing
    assert not kept, "nor is one with a generator that may keep one"


def test_random_numbers_of_the_run_stay_as_they_are():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    for name in NOISY:
        traits(comfy.samplers.sampler_object(name))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("name", [*ONE_A_STEP, *SEVERAL, "er_sde"])
def test_the_run_knows_the_sigma_of_every_evaluation(flux: Tiny, name: str, monkeypatch: pytest.MonkeyPatch):
    told: list[float] = []
    read: list[float] = []
    original = Run.sigma

    def noting(run: Run, timestep: torch.Tensor) -> float:
        told.append(original(run, timestep))
        read.append(float(timestep[0]))
        return told[-1]

    monkeypatch.setattr(Run, "sigma", noting)
    model, log = cached(flux.model, "ccrcrc")
    result = sample(flux, model, count=6, sampler=name)
    assert torch.isfinite(result).all()
    assert told == pytest.approx(read, rel=1e-4) and len(told) >= 6
    assert log.reports[0].reused > 0 and not log.reports[0].disturbances


@pytest.mark.parametrize("name", ONE_A_STEP)
def test_nothing_is_read_from_the_device_during_a_run(flux: Tiny, name: str, monkeypatch: pytest.MonkeyPatch):
    def refuse(tensor: torch.Tensor) -> float:
        raise AssertionError("a value was read from the device")

    inside: list[str] = []

    def watch(executor: Any, *args: Any) -> Any:
        with monkeypatch.context() as patch:
            for reading in ("__float__", "item", "tolist", "cpu"):
                patch.setattr(torch.Tensor, reading, refuse)
            inside.append(name)
            return executor(*args)

    outside = flux.model.clone()
    outside.add_wrapper_with_key(WrappersMP.CALC_COND_BATCH, "watch", watch)  # Before ours, hence around it.
    model, _ = cached(outside, "ccrcrc")
    sample(flux, model, count=6, sampler=name)
    assert len(inside) >= 6


def test_nothing_is_read_from_the_device_while_measuring(flux: Tiny, monkeypatch: pytest.MonkeyPatch, curves_folder: Path):
    def refuse(tensor: torch.Tensor) -> float:
        raise AssertionError("a value was read from the device")

    def watch(executor: Any, *args: Any) -> Any:
        with monkeypatch.context() as patch:
            for reading in ("__float__", "item", "tolist", "cpu"):
                patch.setattr(torch.Tensor, reading, refuse)
            return executor(*args)

    outside = flux.model.clone()
    outside.add_wrapper_with_key(WrappersMP.CALC_COND_BATCH, "watch", watch)
    sample(flux, MagCachePatch(CalibrationMode("auto", ""), Log().add).attach(outside), count=6, cfg=3.0)
    assert len(list(curves_folder.iterdir())) == 1


def calibrated(flux: Tiny) -> None:
    sample(flux, MagCachePatch(CalibrationMode("auto", ""), Log().add).attach(flux.model), count=20, cfg=3.0)


@pytest.mark.parametrize("name", ["lcm", "euler_ancestral", "dpmpp_2m_sde"])
def test_under_a_sampler_that_adds_noise_auto_holds_and_is_slower_and_says_so(flux: Tiny, name: str):
    calibrated(flux)
    log = Log()
    sample(flux, MagCachePatch(SpeedupMode(2.0), log.add).attach(flux.model), count=20, cfg=3.0, sampler=name)
    (report,) = log.reports
    assert 0 < report.plan.speedup <= 1.55
    assert all(recipe in ((), ((report.plan.source(step), 1.0),)) for step, recipe in enumerate(report.plan.recipes))
    assert "adds noise" in report.label.note


@pytest.mark.parametrize("reuse", ["auto", "extrapolate", "scale"])
def test_under_a_sampler_that_adds_noise_residuals_are_held_whatever_was_asked_for(flux: Tiny, curves_folder: Path, reuse: Any):
    residuals = torch.linspace(4, 1, 20)[:, None] * torch.tensor([1.0, 0.5]) + torch.tensor([0.0, 2.0])  # On a line.
    products = {("cond", "cond"): tuple(map(tuple, (residuals @ residuals.T).tolist()))}
    sigmas = tuple(torch.linspace(1, 0.05, 20).tolist())
    curve = MagnitudeCurve(name="line", family="flux", sigmas=sigmas, ratios={"cond": (1.0,) * 20}, products=products)
    curve.save(curves_folder / "line.json")
    log = Log()
    model = MagCachePatch(SpeedupMode(2.0, "line", reuse), log.add).attach(flux.model)
    for name in ("euler", "lcm"):
        sample(flux, model, count=20, sampler=name)
    held = [all(recipe in ((), ((report.plan.source(step), 1.0),)) for step, recipe in enumerate(report.plan.recipes))
            for report in log.reports]  # fmt: skip
    assert held == [False, True]


def test_under_a_sampler_that_adds_noise_a_recognised_model_goes_by_the_published_curve(flux: Tiny, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(flux.model.model.model_config.unet_config, "hidden_size", 3072)  # Recognised as Flux dev.
    log = Log()
    sample(flux, MagCachePatch(SpeedupMode(2.0), log.add).attach(flux.model), count=20, sampler="lcm")
    (report,) = log.reports
    assert report.label.curve == "flux" and report.reused > 0


@pytest.mark.parametrize("name", ["lcm", "dpmpp_sde"])
def test_a_sampler_that_adds_noise_calibrates_nothing(flux: Tiny, curves_folder: Path, name: str):
    logs = Log(), Log()
    sample(flux, MagCachePatch(CalibrationMode("auto", ""), logs[0].add).attach(flux.model), count=20, sampler=name)
    sample(flux, MagCachePatch(SpeedupMode(2.0), logs[1].add).attach(flux.model), count=20, sampler=name)
    assert not list(curves_folder.iterdir())
    assert "adds noise" in logs[0].texts[0] and "adds noise" in logs[1].reports[0].label.note
    assert logs[1].reports[0].label.kind == "full"
