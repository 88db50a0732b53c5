"""What is taken of a sampler is what it was seen to do: when it evaluates the model, whether it is Euler, whether it adds noise, and
how much each step moves the end of the run."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import comfy.model_sampling
import comfy.samplers
import pytest
import torch
from comfy.k_diffusion import sampling
from comfy.patcher_extension import WrappersMP

from magcache import MagnitudeCurve, Reason
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
NOISY = ("lcm", "euler_ancestral", "ddpm", "dpmpp_sde", "dpmpp_2m_sde", "er_sde", "sa_solver", "dpmpp_2s_ancestral", "seeds_2")


SIGMAS = torch.tensor([1.0, 0.8, 0.55, 0.3, 0.1, 0.0])


class Flow(comfy.model_sampling.ModelSamplingDiscreteFlow, comfy.model_sampling.CONST):
    """How Flux, Wan and their like sample."""


class Eps(comfy.model_sampling.ModelSamplingDiscrete, comfy.model_sampling.EPS):
    """How Stable Diffusion samples."""


def flow(count: int) -> torch.Tensor:
    """Evenly spaced steps with shift 3."""
    times = torch.linspace(1, 0, count + 1)
    return 3 * times / (1 + 2 * times)


def guider_of(sampling: Any) -> Any:
    inner = SimpleNamespace(model_sampling=sampling)
    patcher = SimpleNamespace(get_model_object=lambda _: inner.model_sampling, model=inner)
    return SimpleNamespace(inner_model=inner, model_patcher=patcher, conds={})


def traits(sampler: Any, sigmas: torch.Tensor = SIGMAS, sampling: Any = None) -> SamplerTraits:
    return traits_of(sampler, guider_of(sampling or Flow()), sigmas)


def kind(sampler: Any) -> SamplerTraits:
    """Its traits without the influence."""
    return replace(traits(sampler), influence=None)


@pytest.mark.parametrize("name", [*ONE_A_STEP, *SEVERAL])
def test_each_sampler_is_known_by_what_it_does(name: str):
    assert kind(comfy.samplers.sampler_object(name)) == SamplerTraits(
        one_a_step=name in ONE_A_STEP, adds_noise=name in {*NOISY, "dpmpp_2s_ancestral", "seeds_2"}
    )


@pytest.mark.parametrize("name", NOISY)
def test_samplers_that_add_noise_are_seen_to(name: str):
    assert traits(comfy.samplers.sampler_object(name)).adds_noise


def test_options_decide_too():
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
    assert kind(comfy.samplers.KSAMPLER(reversed_euler)) == SamplerTraits(one_a_step=True, adds_noise=False)
    assert kind(comfy.samplers.KSAMPLER(early_euler)) == SamplerTraits(one_a_step=False, adds_noise=False)
    reversed_euler.__name__ = "sample_euler"
    found = traits(comfy.samplers.KSAMPLER(reversed_euler)).influence
    assert found == pytest.approx((SIGMAS[:-1] - SIGMAS[1:]).tolist(), abs=1e-5), "it goes the other way, whatever its name"


def test_what_cannot_be_tried_has_no_traits():
    kept: list[float] = []

    def remembering(model: Any, x: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        kept.append(float(x))
        return x

    nothing = SamplerTraits(one_a_step=False, adds_noise=True)
    assert traits(object()) == traits(comfy.samplers.KSAMPLER(endless)) == traits(comfy.samplers.KSAMPLER(remembering)) == nothing
    assert not kept, "a function that may keep a state is not tried"
    assert traits(comfy.samplers.KSAMPLER(functools.partial(sampling.sample_euler))) == nothing
    noise_sampler = lambda *_: kept.append(0.0) or torch.zeros(1)  # noqa: E731 - a function of noise, as packs pass it
    assert traits(comfy.samplers.KSAMPLER(sampling.sample_euler_ancestral, {"noise_sampler": noise_sampler})) == nothing
    assert not kept, "nor is one with a generator that may keep one"


class Single:
    """A model of one number that answers x − σ at one evaluation and x at all others, and notes their sigmas."""

    def __init__(self, sampling: Any, answered: int) -> None:
        guider = guider_of(sampling)
        self.inner_model = SimpleNamespace(inner_model=guider.inner_model, model_patcher=guider.model_patcher)
        self.answered = answered
        self.sigmas: list[float] = []

    def __call__(self, x: torch.Tensor, sigma: torch.Tensor, model_options: Any, **_: Any) -> torch.Tensor:
        answer = x - sigma.view(-1, 1, 1, 1) * (len(self.sigmas) == self.answered)
        self.sigmas.append(float(sigma))
        for function in model_options.get("sampler_post_cfg_function", ()):
            function({"denoised": answer, "uncond_denoised": answer})
        return answer


def single(name: str, sampling: Any, sigmas: torch.Tensor, answered: int) -> tuple[float, list[float]]:
    """The end of a run with the sampler's own noise, and the sigmas of its evaluations."""
    model = Single(sampling, answered)
    torch.manual_seed(3)
    function = comfy.samplers.sampler_object(name).sampler_function
    extra = {"model_options": {}, "seed": 3}
    end = function(model, torch.ones(1, 1, 1, 1), sigmas.clone(), extra_args=extra, callback=None, disable=True)
    return float(end), model.sigmas


@pytest.mark.filterwarnings("ignore:Should have")  # Of Brownian noise, about rounding.
@pytest.mark.parametrize("sampling", [Flow, Eps])
@pytest.mark.parametrize("name", comfy.samplers.SAMPLER_NAMES)
def test_the_influence_of_each_step_is_what_runs_on_single_numbers_show(name: str, sampling: Any):
    sigmas = flow(6) if sampling is Flow else comfy.samplers.calculate_sigmas(Eps(), "karras", 6)
    found = traits(comfy.samplers.sampler_object(name), sigmas, sampling()).influence
    if name == "dpm_adaptive" or "cfg_pp" in name:  # It chooses its steps by what it sees; those look at the negative's answer as well.
        assert found is None
        return
    end, evaluated = single(name, sampling(), sigmas, -1)
    expected = [0.0] * 6
    for place, sigma in enumerate(evaluated):
        step = max((step for step in range(6) if sigmas[step] >= sigma * 0.9999), default=0)
        expected[step] += single(name, sampling(), sigmas, place)[0] - end
    assert len(evaluated) >= 6
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-5 * float(sigmas[0]))


@pytest.mark.parametrize(
    "sigmas",
    [flow(20).tolist(), [1.0, 0.7, 0.4], [1.0, 0.6, 0.2, 0.8, 0.4, 0.0], [0.2, 0.5, 0.9], [0.02, 0.01, 0.0], [0.7, 0.0]],
    ids=["falls", "ends early", "starts again", "rises", "ends", "one step"],
)
def test_the_influence_of_euler_is_the_difference_of_sigmas(sigmas: list[float]):
    steps = torch.tensor(sigmas)
    for name in ("euler", "ddim"):
        found = traits(comfy.samplers.sampler_object(name), steps)
        assert found.influence == pytest.approx((steps[1:] - steps[:-1]).tolist(), abs=1e-5)


def test_evaluations_belong_to_steps_as_in_a_run():
    heun = traits(comfy.samplers.ksampler("heun"), torch.tensor([1.0, 0.6, 0.2, 0.8, 0.4, 0.0]))
    assert heun.influence == pytest.approx([-0.2, -0.4, 0.1, 0.1, -0.6], abs=1e-5), "the second one is at the sigma of the next step"
    found = traits(comfy.samplers.KSAMPLER(jumping), torch.tensor([1.0, 0.8, 0.8, 0.5, 0.0]))
    assert found.influence == pytest.approx([-2, -4, 0, -2], abs=1e-5), "a sigma that repeats adds to the step that begins with it"
    found = traits(comfy.samplers.KSAMPLER(jumping, {"asked": 1.1}), torch.tensor([1.0, 0.8, 0.5, 0.0]))
    assert found.influence == pytest.approx([-4, -2, 0], abs=1e-5), "one above all steps belongs to the first"


@torch.no_grad()
def jumping(
    model: Any, x: torch.Tensor, sigmas: torch.Tensor, extra_args: Any, callback: Any, disable: bool, asked: float = 1.0
) -> torch.Tensor:
    """Moves by twice the model's output, for which it asks at `asked` times the sigma of each step."""
    for sigma in sigmas[:-1]:
        answer = model(torch.zeros_like(x), asked * sigma * x.new_ones(len(x)), **extra_args)
        x = x + 2 * answer / max(float(asked * sigma), 1e-9)
    return x


@torch.no_grad()
def odd_euler(
    model: Any, x: torch.Tensor, sigmas: torch.Tensor, extra_args: Any, callback: Any, disable: bool, how: str = ""
) -> torch.Tensor:
    """Euler on a single number, and something else on a batch."""
    if how == "refuses" and len(x) > 1:
        raise RuntimeError("one at a time")
    for step in range(len(sigmas) - 1):
        asked = (0.5 if how == "asks elsewhere" and len(x) > 1 else 1.0) * sigmas[step] * x.new_ones(len(x))
        slope = (x - model(x, asked, **extra_args)) / asked.view(-1, 1, 1, 1)
        if how == "asks again" and len(x) > 1:
            model(x, asked, **extra_args)
        small = (slope < 0.9) | (step < len(sigmas) - 2)  # Only an answer of 1 at the last step is not.
        changed = {"mixes": slope.mean(0, keepdim=True).expand_as(slope), "reorders": slope.flip(0), "explodes": slope / small}
        x = x + changed.get(how, slope) * (sigmas[step + 1] - sigmas[step])
        callback({"i": step, "denoised": x, "x": x})
    return x[:1] if how == "drops" else x


@pytest.mark.parametrize("how", ["", "refuses", "asks again", "asks elsewhere", "mixes", "reorders", "explodes", "drops"])
def test_a_sampler_that_does_otherwise_with_a_batch_has_no_influence(how: str):
    found = traits(comfy.samplers.KSAMPLER(odd_euler, {"how": how}))
    assert replace(found, influence=None) == SamplerTraits(one_a_step=True, adds_noise=False)
    assert (found.influence is None) == bool(how)


@torch.no_grad()
def watching(
    model: Any, x: torch.Tensor, sigmas: torch.Tensor, extra_args: Any, callback: Any, disable: bool, limit: float = 1.0
) -> torch.Tensor:
    """Limits how far a step moves: its influence depends on what it sees."""
    for step in range(len(sigmas) - 1):
        slope = (x - model(x, sigmas[step] * x.new_ones(len(x)), **extra_args)) / sigmas[step]
        x = x + slope.clamp(-limit, limit) * (sigmas[step + 1] - sigmas[step])
    return x


def test_a_sampler_that_decides_by_what_it_sees_has_no_influence():
    assert traits(comfy.samplers.KSAMPLER(watching, {"limit": 2.0})).influence is not None
    assert traits(comfy.samplers.KSAMPLER(watching, {"limit": 0.5})).influence is None
    assert traits(comfy.samplers.ksampler("euler", {"s_churn": 0.5})).influence is None, "each row of the batch has its own noise"


@torch.no_grad()
def noisy_euler(
    model: Any, x: torch.Tensor, sigmas: torch.Tensor, extra_args: Any, callback: Any, disable: bool, noise_sampler: str = "own"
) -> torch.Tensor:
    """Euler with noise that is the same for a whole batch. How to make it is chosen by name."""
    assert noise_sampler == "own"
    return sampling.sample_euler(model, x, sigmas, extra_args=extra_args, callback=callback, disable=disable) + torch.randn(1, 1, 1, 1)


def test_noise_that_a_sampler_makes_by_itself_is_seen():
    assert traits(comfy.samplers.KSAMPLER(noisy_euler)) == SamplerTraits(one_a_step=True, adds_noise=True, influence=None)


def test_a_dry_run_makes_no_brownian_noise(monkeypatch: pytest.MonkeyPatch):
    made_itself = traits(comfy.samplers.KSAMPLER(sampling.sample_dpmpp_sde, {"noise_sampler": None}))
    assert made_itself.adds_noise and made_itself.influence is None, "an option of the user's stays as it is"
    monkeypatch.setattr(sampling, "BrownianTreeNoiseSampler", None)
    for name in ("dpmpp_sde", "dpmpp_2m_sde", "dpmpp_3m_sde_gpu"):
        assert traits(comfy.samplers.sampler_object(name)).influence is not None


def test_the_sigmas_of_the_run_stay_as_they_are():
    sigmas = flow(6)
    traits(comfy.samplers.sampler_object("uni_pc"), sigmas)
    assert torch.equal(sigmas, flow(6))


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
    assert "adds noise" in logs[0].texts[0] and logs[1].reports[0].plan.reason is Reason.TOO_NOISY_TO_MEASURE
    assert logs[1].reports[0].label.kind == "full"
