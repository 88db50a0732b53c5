"""Calls that differ from the usual one: schedulers of every kind, guidance that ends early, several pictures, no inference mode, a UNet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DEISMultistepScheduler,
    DiffusionPipeline,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    FlowMatchLCMScheduler,
    FluxPipeline,
    LCMScheduler,
    LMSDiscreteScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
    UniPCMultistepScheduler,
)

from magcache import Reason
from magcache.diffusers import apply, remove

from .pipelines import PIPES
from .tiny_parts import flow, generator, noise, picture_vae, quiet, randomised, same, unipc
from .watching import RULE, plan_by_rule, watched

FLUX = PIPES["flux"]
_FLOW = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}
STEADY: dict[str, tuple[str, Callable[[], Any]]] = {
    "karras": ("wan21_t2v", lambda: flow(use_karras_sigmas=True)),
    "heun": ("wan21_t2v", lambda: FlowMatchHeunDiscreteScheduler(shift=3.0)),
    "unipc": ("wan21_t2v", unipc),
    "dpm++": ("wan21_t2v", lambda: DPMSolverMultistepScheduler(**_FLOW)),
    "deis": ("wan21_t2v", lambda: DEISMultistepScheduler(**_FLOW)),
    "euler": ("pixart", EulerDiscreteScheduler),
    "lms": ("pixart", LMSDiscreteScheduler),
    "dpm++ karras": ("pixart", lambda: DPMSolverMultistepScheduler(use_karras_sigmas=True)),
    "unipc of diffusion": ("pixart", UniPCMultistepScheduler),
    "zero terminal snr": (
        "pixart",
        lambda: DDIMScheduler(clip_sample=False, rescale_betas_zero_snr=True, timestep_spacing="trailing", prediction_type="v_prediction"),
    ),
}
"""Schedulers that do the same in every call, and a pipeline that they run."""
NOISY: dict[str, tuple[str, Callable[[], Any]]] = {
    "stochastic": ("wan21_t2v", lambda: flow(stochastic_sampling=True)),
    "lcm of flow": ("wan21_t2v", lambda: FlowMatchLCMScheduler(shift=3.0)),
    "sde": ("wan21_t2v", lambda: DPMSolverMultistepScheduler(**_FLOW, algorithm_type="sde-dpmsolver++")),
    "ddpm": ("pixart", lambda: DDPMScheduler(clip_sample=False)),
    "ancestral": ("pixart", EulerAncestralDiscreteScheduler),
    "lcm": ("pixart", LCMScheduler),
}
"""Schedulers that add noise."""


@pytest.mark.parametrize("name", STEADY)
def test_a_scheduler_is_calibrated_and_skipped_under(name: str, tmp_path: Path):
    kind, pipe = PIPES[STEADY[name][0]], PIPES[STEADY[name][0]].build()
    pipe.register_modules(scheduler=STEADY[name][1]())
    plain = kind.run(pipe, steps=16)
    cache = apply(pipe, 2.0, folder=tmp_path)
    assert same(kind.run(pipe, steps=16), plain)
    assert cache.report().label.kind == "calibrating"
    with watched(pipe) as seen:
        once = kind.run(pipe, steps=16)
    report = cache.report()
    assert len(report.events) * kind.branches == len(seen.forwards)
    assert {event.step for event in report.events} == set(range(report.plan.steps))
    assert seen.steps(kind.branches) == "".join("r" if event.reused else "c" for event in report.events)
    assert report.reused and not report.disturbances
    assert same(kind.run(pipe, steps=16), once)


@pytest.mark.parametrize("name", NOISY)
def test_a_scheduler_that_adds_noise_does_not_calibrate_but_follows_the_rule(name: str, tmp_path: Path):
    kind, pipe = PIPES[NOISY[name][0]], PIPES[NOISY[name][0]].build()
    pipe.register_modules(scheduler=NOISY[name][1]())
    cache = apply(pipe, 2.0, folder=tmp_path)
    kind.run(pipe)
    assert (cache.report().label.kind, cache.report().reused) == ("full", 0)
    assert cache.report().plan.reason is Reason.TOO_NOISY_TO_MEASURE
    assert not list(tmp_path.iterdir())
    apply(pipe, folder=tmp_path, **RULE)
    with watched(pipe) as seen:
        kind.run(pipe)
    assert seen.steps(kind.branches) == plan_by_rule()


@pytest.mark.parametrize(("name", "more"), [
    ("lumina2", {"cfg_trunc_ratio": 0.5}), ("z_image", {"cfg_truncation": 0.5}), ("wan21_t2v", {"guidance_scale": 1.0}),
    ("sd3", {"guidance_scale": 1.0}), ("qwen_image", {"true_cfg_scale": 1.0}),
])  # fmt: skip
def test_without_guidance_or_with_some_of_it(name: str, more: dict[str, Any], tmp_path: Path):
    kind, pipe = PIPES[name], PIPES[name].build()
    plain = kind.run(pipe, steps=16, **more)
    cache = apply(pipe, 2.0, folder=tmp_path)
    assert same(kind.run(pipe, steps=16, **more), plain)
    kind.run(pipe, steps=16, **more)
    assert cache.report().label.kind == "skipping" and cache.report().reused
    cache = apply(pipe, folder=tmp_path, **RULE)
    kind.run(pipe, **more)
    report = cache.report()
    assert [event.step for event in report.events] == list(range(12))
    assert "".join("r" if event.reused else "c" for event in report.events) == plan_by_rule()


@pytest.mark.parametrize("name", ["flux", "wan21_t2v", "z_image", "qwen_image"])
def test_two_pictures_follow_the_calibration_of_one(name: str, tmp_path: Path):
    kind, pipe = PIPES[name], PIPES[name].build()
    cache = apply(pipe, 2.0, folder=tmp_path)
    kind.run(pipe, steps=16)
    kind.run(pipe, steps=16, **{"num_videos_per_prompt" if name == "wan21_t2v" else "num_images_per_prompt": 2})
    assert cache.report().label.kind == "skipping" and cache.report().reused


def test_inference_mode_may_come_and_go(tmp_path: Path):
    pipe = FLUX.build()
    apply(pipe, folder=tmp_path, **RULE)
    expected = FLUX.run(pipe)
    with torch.inference_mode():
        assert same(FLUX.run(pipe), expected)
    assert same(FLUX.run(pipe), expected)


def test_removed_and_applied_in_mid_run(tmp_path: Path):
    pipe = FLUX.build()
    plain = FLUX.run(pipe)

    def change(pipe: DiffusionPipeline, step: int, _: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        if step == 3:
            remove(pipe)
        if step == 6:
            apply(pipe, folder=tmp_path, **RULE)
        return tensors

    apply(pipe, folder=tmp_path, **RULE)
    computed = []
    pipe.transformer.transformer_blocks[0].register_forward_hook(lambda *_: computed.append(1))
    FLUX.run(pipe, callback_on_step_end=change)
    rest = plan_by_rule(5)
    assert len(computed) == plan_by_rule()[:4].count("c") + 3 + rest.count("c")
    remove(pipe)
    assert same(FLUX.run(pipe), plain)


def test_a_scheduler_that_is_not_the_pipelines_is_computed_under(tmp_path: Path):
    pipe = FLUX.build()
    apply(pipe, folder=tmp_path, **RULE)
    for prepare in (lambda: None, lambda: FLUX.run(pipe)):
        prepare()
        other = quiet(FluxPipeline(**{**pipe.components, "scheduler": flow(shift=5.0)}))
        alone = quiet(FluxPipeline(**{**FLUX.build().components, "scheduler": flow(shift=5.0)}))
        assert same(FLUX.run(other), FLUX.run(alone))


def test_another_cache_within_a_with_statement_takes_the_place_of_the_first(tmp_path: Path):
    pipe = FLUX.build()
    plain = FLUX.run(pipe)
    with apply(pipe, folder=tmp_path, **RULE):
        second = apply(pipe, folder=tmp_path, **RULE)
        FLUX.run(pipe)
    FLUX.run(pipe)
    assert second.report().reused == plan_by_rule().count("r")
    second.remove()
    assert same(FLUX.run(pipe), plain)


def test_a_unet_reuses_its_prediction(tmp_path: Path):
    unet = UNet2DConditionModel(
        block_out_channels=(8, 16), layers_per_block=1, sample_size=8, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), cross_attention_dim=16, attention_head_dim=2, norm_num_groups=4,
    )  # fmt: skip
    parts = {"vae": picture_vae(), "unet": randomised(unet), "scheduler": DDIMScheduler(clip_sample=False), "safety_checker": None}
    encoders = {"text_encoder": None, "tokenizer": None, "feature_extractor": None}
    pipe = quiet(StableDiffusionPipeline(**parts, **encoders, requires_safety_checker=False))

    def latents() -> torch.Tensor:
        text = {"prompt_embeds": noise(1, 7, 16, seed=1), "negative_prompt_embeds": noise(1, 7, 16, seed=2)}
        return pipe(**text, height=16, width=16, num_inference_steps=16, output_type="latent", generator=generator(0)).images

    plain = latents()
    cache = apply(pipe, 2.0, folder=tmp_path)
    assert torch.equal(latents(), plain)
    calls: list[int] = []
    unet.mid_block.register_forward_hook(lambda *_: calls.append(1))
    latents()
    report = cache.report()
    assert report.reuses == "prediction" and report.reused and len(calls) == report.nfe
