"""Samplers, step counts and parts of a schedule."""

from __future__ import annotations

import pytest
import torch

from .runs import WatchingPlan, by_rule, cached, sample, steps
from .tiny import Tiny, noise, wan_t2v

SAMPLERS = ["euler", "heun", "dpm_2", "dpmpp_2m", "dpmpp_2s_ancestral", "dpmpp_sde", "euler_ancestral", "lcm", "res_multistep", "uni_pc"]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_computes_the_very_same_picture(flux: Tiny, sampler: str):
    model, _ = cached(flux.model, steps("cccc", WatchingPlan))
    assert torch.equal(sample(flux, model, sampler=sampler, cfg=2.0), sample(flux, sampler=sampler, cfg=2.0))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_evaluation_follows_the_decision_of_its_step(flux: Tiny, sampler: str):
    pattern = "ccrcrrcc"
    model, log = cached(flux.model, pattern)
    once, again = (sample(flux, model, count=8, sampler=sampler, cfg=2.0) for _ in range(2))
    assert torch.equal(once, again)
    assert log.decisions[0] == log.decisions[1]
    report = log.reports[0]
    assert report.evaluations >= 8
    assert report.refused == 0
    assert {event.step for event in report.events if event.reused} == {2, 4, 5}
    assert all(event.reused == (pattern[event.step or 0] == "r") for event in report.events)
    plain = sample(flux, count=8, sampler=sampler, cfg=2.0)
    assert 0 < (once - plain).std() < 0.5 * plain.std()


@pytest.mark.parametrize("sampler", ["euler", "heun", "uni_pc"])
@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_few_steps_work_and_the_first_is_computed(flux: Tiny, count: int, sampler: str):
    model, log = cached(flux.model, "crrrrrrr")
    assert sample(flux, model, count=count, sampler=sampler).isfinite().all()
    assert log.decisions[0].startswith("c")
    assert {event.step for event in log.reports[0].events if event.reused} == set(range(1, count))


def test_an_img2img_run_with_half_the_noise_skips_too(flux: Tiny):
    start = noise(1, *flux.latent, seed=8)
    model, _ = cached(flux.model, steps("cccc", WatchingPlan))
    assert torch.equal(sample(flux, model, latent=start, denoise=0.5), sample(flux, latent=start, denoise=0.5))

    model, log = by_rule(flux.model, "flux", threshold=0.5)
    sample(flux, model, count=20, latent=start, denoise=0.5)
    assert log.reports[0].evaluations == 20
    assert log.reports[0].events[0].sigma < 0.9
    assert log.reports[0].reused > 5
    assert "r" not in log.decisions[0][:4]


def test_parts_of_a_schedule_are_runs_of_their_own(flux: Tiny):
    def both(model: object) -> torch.Tensor:
        first = sample(flux, model, count=8, last_step=4, force_full_denoise=False)
        return sample(flux, model, count=8, start_step=4, latent=first, add_noise=False)

    watched, _ = cached(flux.model, steps("cccc", WatchingPlan))
    assert torch.equal(both(watched), both(flux.model))

    model, log = cached(flux.model, "crcr")
    first = sample(flux, model, count=8, last_step=4, force_full_denoise=False)
    second = sample(flux, model, count=8, start_step=4, latent=first, add_noise=False)
    assert log.decisions == ["crcr", "crcr"]
    assert log.reports[1].events[0].sigma < log.reports[0].events[-1].sigma

    fresh, _ = cached(flux.model, "crcr")
    assert torch.equal(second, sample(flux, fresh, count=8, start_step=4, latent=first, add_noise=False))


def test_two_experts_in_two_samplers_do_not_share_anything():
    high, low = wan_t2v(), wan_t2v(seed=1)

    def both(high_model: object, low_model: object) -> torch.Tensor:
        middle = sample(high, high_model, count=6, cfg=2.0, last_step=3, force_full_denoise=False)
        return sample(low, low_model, count=6, cfg=2.0, start_step=3, latent=middle, add_noise=False)

    assert torch.equal(
        both(cached(high.model, steps("ccc", WatchingPlan))[0], cached(low.model, steps("ccc", WatchingPlan))[0]),
        both(high.model, low.model),
    )
    (high_model, high_log), (low_model, low_log) = cached(high.model, "crr"), cached(low.model, "ccr")
    result = both(high_model, low_model)
    assert (high_log.decisions, low_log.decisions) == (["crr"], ["ccr"])
    assert torch.equal(result, both(high_model, low_model))
    assert not torch.equal(result, both(high_model, low.model))


def test_the_size_may_change_between_runs(flux: Tiny):
    model, log = cached(flux.model, "crcr")
    before = sample(flux, model)
    wide = sample(flux, model, size=(8, 12), batch=2)
    after = sample(flux, model)
    assert wide.shape == (2, 16, 8, 12)
    assert torch.equal(before, after)
    assert log.decisions == ["crcr"] * 3
