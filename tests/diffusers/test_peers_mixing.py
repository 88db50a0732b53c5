"""No residual gets where it does not belong: to the other branch or expert, to another prompt, to another cache, to the next call.

Executed with diffusers 0.42.1: its MagCache has one state for both forwards of a pipeline that names no context, such as
WanVideoToVideoPipeline, so cond reuses what uncond left; the second expert of Wan 2.2 begins at step 0 of the ratios. cache-dit, once
disabled on one pipeline, makes every later call of that class raise.
"""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from magcache.diffusers import apply, remove
from magcache.errors import MagCacheError
from magcache.reports.run_report import Disturbance

from .pipelines import PIPES
from .pipelines_images import flux
from .test_peers_defects import FLUX, THEIRS, _interrupting, _stop
from .tiny_parts import noise, same
from .watching import RULE, models_of, plan_by_rule, residuals, watched

TWO_BRANCHES = ["wan21_t2v", "wan21_i2v", "wan22_unipc", "wan22_euler", "wan22_ti2v", "wan_v2v", "skyreels_v2"]


def _apart(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).norm() / other.norm())


@pytest.mark.parametrize("name", TWO_BRANCHES)
def test_a_skipped_forward_gets_the_residual_of_its_own_branch_and_expert(name: str, tmp_path: Path):
    kind = PIPES[name]
    pipe = kind.build()
    apply(pipe, folder=tmp_path, **RULE)
    models = models_of(pipe)
    with watched(pipe) as seen:
        collected = {part: residuals(model) for part, model in models.items()}
        lists = {part: found.__enter__() for part, found in collected.items()}
        kind.run(pipe)
        for found in collected.values():
            found.__exit__(None, None, None)
    newest: dict[tuple[str, int], torch.Tensor] = {}
    reused = 0
    for place, (part, computed) in enumerate(zip(seen.forwards, seen.computed, strict=True)):
        branch, residual = place % 2, lists[part].pop(0)
        if computed:
            if place // 2 == _first_step(seen, part) and _apart(lists[part][0], residual) < 1e-5:
                lists[part].pop(0)  # The self-check skipped with the very residual just recorded.
            newest[part, branch] = residual
            continue
        reused += 1
        assert _apart(residual, newest[part, branch]) < 1e-5
        assert all(_apart(residual, other) > 1e-2 for key, other in newest.items() if key != (part, branch))
    assert reused >= 6


def _first_step(seen: Any, part: str) -> int:
    return seen.forwards.index(part) // 2


def test_diffusers_own_mag_cache_gives_one_branch_the_residual_of_the_other():
    pipe = PIPES["wan_v2v"].build()
    pipe.transformer.enable_cache(
        diffusers.MagCacheConfig(0.1, max_skip_steps=1, retention_ratio=0.2, num_inference_steps=12, mag_ratios=torch.ones(12))
    )
    with pipe.transformer.cache_context("inference"), watched(pipe, inside=True) as seen:
        PIPES["wan_v2v"].run(pipe)
    assert any(seen.computed[place] != seen.computed[place + 1] for place in range(0, len(seen.computed), 2))


@pytest.mark.parametrize("name", ["wan22_unipc", "wan22_euler"])
def test_the_second_expert_has_a_plan_and_a_curve_of_its_own(name: str, tmp_path: Path):
    kind = PIPES[name]
    pipe = kind.build()
    cache = apply(pipe, 2.0, folder=tmp_path)
    kind.run(pipe, steps=40)
    assert len(list(tmp_path.glob("*.json"))) == 2
    with watched(pipe) as seen:
        kind.run(pipe, steps=40)
    report, steps = cache.report(), seen.steps(2)
    switch = seen.forwards.index("transformer_2") // 2
    assert steps[0] == steps[switch] == "c"
    assert "r" in steps[switch:]
    assert report.plan.sigmas == pytest.approx(pipe.scheduler.sigmas[:40].tolist())
    assert steps == "".join("r" if event.reused else "c" for event in report.events)


def test_the_second_expert_is_not_influenced_by_what_the_first_one_left(tmp_path: Path):
    kind = PIPES["wan22_euler"]
    one, other = kind.build(), kind.build()
    for block in other.transformer.blocks:
        block.register_forward_hook(lambda _, __, output: output + 1.0)  # Its residual has another size; what it answers is replaced below.
    answers: list[torch.Tensor] = []
    apply(one, folder=tmp_path, **RULE)
    apply(other, folder=tmp_path, **RULE)
    keep = one.transformer.register_forward_hook(lambda _, __, output: answers.append(output[0]))
    give = other.transformer.register_forward_hook(lambda _, __, output: (answers.pop(0),))
    expected = kind.run(one)
    got = kind.run(other)
    keep.remove(), give.remove()
    assert not answers
    assert same(got, expected)


@pytest.mark.parametrize("name", ["flux", "wan_v2v", "sd3"])
def test_a_prompt_exchanged_in_mid_run_is_computed(name: str, tmp_path: Path):
    """A residual holds the prompt that it was computed with."""
    kind = PIPES[name]
    pipe = kind.build()
    cache = apply(pipe, folder=tmp_path, **RULE)
    first = plan_by_rule(kind.evaluations()).index("r")

    def exchange(_: Any, step: int, __: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        if step == first - 1:
            tensors["prompt_embeds"] = noise(*tensors["prompt_embeds"].shape, seed=77)
        return tensors

    arguments = {"callback_on_step_end": exchange, "callback_on_step_end_tensor_inputs": ["latents", "prompt_embeds"]}
    with watched(pipe) as seen:
        kind.run(pipe, **arguments)
    assert seen.steps(kind.branches) == plan_by_rule(kind.evaluations()).replace("cr", "cc", 1)
    assert cache.report().refused == 1


CALLS = {
    "MagCache": lambda pipe: pipe.transformer.enable_cache(THEIRS),
    "FirstBlockCache": lambda pipe: pipe.transformer.enable_cache(diffusers.FirstBlockCacheConfig(threshold=0.1)),
    "TaylorSeer": lambda pipe: pipe.transformer.enable_cache(
        diffusers.TaylorSeerCacheConfig(cache_interval=3, disable_cache_before_step=2)
    ),
    "apply_mag_cache": lambda pipe: diffusers.hooks.apply_mag_cache(pipe.transformer, THEIRS),
    "FasterCache": lambda pipe: pipe.transformer.enable_cache(
        diffusers.FasterCacheConfig(
            spatial_attention_block_skip_range=2,
            current_timestep_callback=lambda: pipe._current_timestep,
            tensor_format="BCHW",
            is_guidance_distilled=True,
        )
    ),
    "PAB": lambda pipe: pipe.transformer.enable_cache(
        diffusers.PyramidAttentionBroadcastConfig(
            spatial_attention_block_skip_range=2, current_timestep_callback=lambda: pipe._current_timestep
        )
    ),
}


@pytest.mark.parametrize("other", CALLS)
def test_another_cache_is_refused_by_apply(other: str, tmp_path: Path):
    pipe = FLUX.build()
    CALLS[other](pipe)
    with pytest.raises(MagCacheError, match="transformer"):
        apply(pipe, 2.0, folder=tmp_path)


@pytest.mark.parametrize("other", CALLS)
def test_another_cache_that_comes_later_is_noticed_in_the_run(other: str, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    pipe = FLUX.build()
    cache = apply(pipe, folder=tmp_path, **RULE)
    CALLS[other](pipe)
    with pipe.transformer.cache_context("cond"):
        FLUX.run(pipe)
    report = cache.report()
    assert report.reused == 0
    assert Disturbance.OTHER_CACHE in report.disturbances
    assert any(record.levelname == "WARNING" and record.name == "magcache" for record in caplog.records)


def test_cache_dit_is_refused_and_noticed(tmp_path: Path):
    """In a class of its own, since `disable_cache` leaves every other pipeline of the class unusable."""
    cache_dit = pytest.importorskip("cache_dit")
    settings = cache_dit.DBCacheConfig(num_inference_steps=12, Fn_compute_blocks=1, residual_diff_threshold=0.5, max_warmup_steps=2)
    pipe = flux(type("FluxPipeline", (diffusers.FluxPipeline,), {}))
    cache = apply(pipe, folder=tmp_path, **RULE)
    alone = FLUX.run(pipe)
    cache_dit.enable_cache(pipe, cache_config=settings)
    FLUX.run(pipe)
    assert cache.report().disturbances == (Disturbance.OTHER_CACHE,)
    assert cache.report().reused == 0
    with pytest.raises(MagCacheError, match="cache-dit"):
        apply(pipe, 2.0, folder=tmp_path)
    cache_dit.disable_cache(pipe)
    assert same(FLUX.run(pipe), alone)


def test_a_disabled_cache_is_no_matter(tmp_path: Path):
    pipe = FLUX.build()
    apply(pipe, folder=tmp_path, **RULE)
    cached = FLUX.run(pipe)
    remove(pipe)
    pipe.transformer.enable_cache(THEIRS)
    pipe.transformer.disable_cache()
    apply(pipe, folder=tmp_path, **RULE)
    assert same(FLUX.run(pipe), cached)


def _weight_of_everything() -> tuple[int, int, int]:
    """Tensors that are alive, their bytes, and objects of magcache."""
    gc.collect()
    found = gc.get_objects()
    tensors = [each for each in found if type(each) is torch.Tensor]
    ours = sum(str(type(each).__module__).startswith("magcache") for each in found)
    return len(tensors), sum(each.nbytes for each in tensors), ours


def test_fifty_calls_leave_nothing_behind(tmp_path: Path):
    pipe = FLUX.build()
    apply(pipe, folder=tmp_path, **RULE)
    weights = []
    for number in range(50):
        if number % 10 == 3:
            _stop(FLUX, pipe, number // 10)
        elif number % 10 == 5:
            FLUX.run(pipe, callback_on_step_end=_interrupting(3))
        else:
            FLUX.run(pipe, seed=number, prompt=number, height=16 + 8 * (number % 3))
        if number in (19, 29, 39, 49):
            weights.append(_weight_of_everything())
    assert len(set(weights)) == 1


def test_a_calibration_that_is_stopped_leaves_no_curve(tmp_path: Path):
    pipe = FLUX.build()
    cache = apply(pipe, 2.0, folder=tmp_path)
    _stop(FLUX, pipe, 10, steps=16)
    FLUX.run(pipe, steps=16, callback_on_step_end=_interrupting(10))
    assert not list(tmp_path.iterdir())
    FLUX.run(pipe, steps=16)
    assert cache.report().label.kind == "calibrating"
    FLUX.run(pipe, steps=16)
    assert cache.report().label.kind == "skipping"
