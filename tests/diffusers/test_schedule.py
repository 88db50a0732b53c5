"""Noise levels, step and influence, read from the schedulers of diffusers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import diffusers
import pytest
import torch

from magcache.diffusers.dry_run import traits_of
from magcache.diffusers.schedule import Schedule, schedule_of
from magcache.diffusers.steps import step_of
from magcache.planning.influence import euler_influence

_FLOW = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}
SCHEDULERS: dict[str, Any] = {
    "euler": lambda: diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
    "unipc": lambda: diffusers.UniPCMultistepScheduler(**_FLOW),
    "dpmpp_2m": lambda: diffusers.DPMSolverMultistepScheduler(**_FLOW),
    "deis": lambda: diffusers.DEISMultistepScheduler(**_FLOW),
    "diffusion euler": lambda: diffusers.EulerDiscreteScheduler(),
    "edm": lambda: diffusers.EDMEulerScheduler(),
    "ddim": lambda: diffusers.DDIMScheduler(
        rescale_betas_zero_snr=True, timestep_spacing="trailing", prediction_type="v_prediction", clip_sample=False
    ),
    "mochi": lambda: diffusers.FlowMatchEulerDiscreteScheduler(invert_sigmas=True),
}


def started(name: str, steps: int = 12) -> tuple[Any, Schedule]:
    scheduler = SCHEDULERS[name]()
    scheduler.set_timesteps(steps)
    return scheduler, schedule_of(scheduler)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_sigmas_are_flow_sigmas_that_fall(name: str):
    _, schedule = started(name)
    assert schedule.steps == 12 and len(schedule.sigmas) == 13
    assert schedule.falls and all(0 <= sigma <= 1 for sigma in schedule.sigmas)
    assert schedule.sigmas[0] > 0.9 and schedule.sigmas[-2] < 0.3


@pytest.mark.parametrize("name", ["euler", "unipc", "dpmpp_2m", "deis"])
def test_flow_schedulers_give_their_own_sigmas(name: str):
    scheduler, schedule = started(name)
    assert schedule.sigmas == pytest.approx(scheduler.sigmas.tolist())


def test_a_diffusion_sigma_becomes_the_flow_sigma_of_the_same_signal_to_noise_ratio():
    scheduler, schedule = started("diffusion euler")
    own = float(scheduler.sigmas[5])
    assert own > 1 and schedule.sigmas[5] == pytest.approx(own / (1 + own))


def test_a_schedule_without_any_signal_at_its_begin_is_finite():
    assert started("ddim")[1].sigmas[0] == pytest.approx(1.0)


def test_heun_repeats_its_sigmas():
    scheduler = diffusers.FlowMatchHeunDiscreteScheduler()
    scheduler.set_timesteps(6)
    assert not schedule_of(scheduler).falls


def test_sigma_at_a_fraction():
    _, schedule = started("euler")
    assert schedule.sigma_at(0) == schedule.sigmas[0] and schedule.sigma_at(1) == schedule.sigmas[-1]
    assert schedule.sigma_at(1.5 / 12) == pytest.approx((schedule.sigmas[1] + schedule.sigmas[2]) / 2)


def test_the_influence_of_euler_is_the_step_in_sigma():
    scheduler, schedule = started("euler")
    traits = traits_of(scheduler, schedule, 0)
    assert not traits.adds_noise
    assert traits.influence == pytest.approx(euler_influence(schedule.sigmas[:-1]), abs=1e-6)


@pytest.mark.parametrize("name", ["euler", "unipc", "dpmpp_2m", "deis", "diffusion euler", "edm", "ddim"])
@pytest.mark.parametrize("first", [0, 4])
def test_the_end_of_a_real_run_follows_from_the_influence(name: str, first: int):
    scheduler, schedule = started(name)
    traits = traits_of(scheduler, schedule, first)
    assert traits.influence is not None and not any(traits.influence[:first])

    def end(outputs: torch.Tensor) -> float:
        own, _ = started(name)
        if hasattr(own, "set_begin_index"):
            own.set_begin_index(first)
        sample = torch.full((1, 1, 1, 1), 0.3)
        for timestep, output in zip(own.timesteps[first:], outputs[first:], strict=True):
            sample = own.step(output.reshape(1, 1, 1, 1), timestep, sample, return_dict=False)[0]
        return float(sample)

    outputs = torch.randn(12, generator=torch.Generator().manual_seed(3))
    moved = sum(influence * float(output) for influence, output in zip(traits.influence, outputs, strict=True))
    assert end(outputs) - end(torch.zeros(12)) == pytest.approx(moved, abs=1e-3)


def test_a_dry_run_leaves_the_scheduler_and_the_random_numbers_alone():
    scheduler, schedule = started("unipc")
    before = torch.get_rng_state()
    traits_of(scheduler, schedule, 0)
    assert scheduler.step_index is None and all(output is None for output in scheduler.model_outputs)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("kind", ["EulerAncestralDiscreteScheduler", "LCMScheduler", "DDPMScheduler"])
def test_a_scheduler_that_adds_noise_is_found_out(kind: str):
    scheduler = getattr(diffusers, kind)()
    scheduler.set_timesteps(12)
    assert traits_of(scheduler, schedule_of(scheduler), 0).adds_noise


def test_a_scheduler_that_cannot_be_tried_out_counts_as_noisy():
    scheduler, schedule = started("euler")
    scheduler.step = None
    assert traits_of(scheduler, schedule, 0).adds_noise


def test_the_step_is_read_off_the_loop_of_the_pipeline_first():
    scheduler, schedule = started("euler")
    scheduler.set_begin_index(0)
    pipe = SimpleNamespace(_current_timestep=scheduler.timesteps[7])
    assert step_of(pipe, scheduler, schedule, {"timestep": torch.tensor([1.0])}) == 7


def test_a_timestep_of_an_earlier_call_does_not_count():
    earlier, _ = started("euler")
    scheduler, schedule = started("euler")
    scheduler.set_begin_index(2)
    assert step_of(SimpleNamespace(_current_timestep=earlier.timesteps[7]), scheduler, schedule, {}) == 2


def test_the_step_is_read_off_an_expanded_timestep():
    scheduler, schedule = started("ddim")
    assert step_of(None, scheduler, schedule, {"timestep": scheduler.timesteps[5].expand(2)}) == 5


def test_the_count_of_the_scheduler():
    scheduler, schedule = started("euler")
    scheduler.set_begin_index(3)
    assert step_of(None, scheduler, schedule, {}) == 3
    scheduler.step(torch.zeros(1), scheduler.timesteps[3], torch.zeros(1))
    assert step_of(None, scheduler, schedule, {}) == 4
    scheduler._step_index = 12
    assert step_of(None, scheduler, schedule, {"timestep": scheduler.timesteps[0].clone()}) is None


@pytest.mark.parametrize("unit", [lambda t: t, lambda t: t / 1000, lambda t: 1 - t / 1000])
def test_the_value_of_the_timestep(unit: Any):
    scheduler, schedule = started("euler")
    time = unit(scheduler.timesteps[4]).clone()
    assert step_of(None, scheduler, schedule, {"timestep": time.expand(3).clone()}) == 4


def test_tokens_of_a_given_picture_have_no_time():
    scheduler, schedule = started("euler")
    times = torch.tensor([0.0, 0.0, float(scheduler.timesteps[6])])
    assert step_of(None, scheduler, schedule, {"timestep": times}) == 6


def test_tokens_at_different_times_belong_to_no_step():
    scheduler, schedule = started("euler")
    assert step_of(None, scheduler, schedule, {"timestep": scheduler.timesteps[3:5].clone()}) is None
    assert step_of(None, scheduler, schedule, {"timestep": torch.tensor(123.4)}) is None
    assert step_of(None, scheduler, schedule, {}) is None
