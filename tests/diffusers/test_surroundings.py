"""Together with what people do to a pipeline around its cache, before and after `apply`: the same picture, and nothing left behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import cpu_offload, disk_offload, dispatch_model
from accelerate.hooks import ModelHook, add_hook_to_module, remove_hook_from_module
from diffusers import DiffusionPipeline
from peft import LoraConfig

from magcache.diffusers import apply, remove, report

from .pipelines import PIPES
from .tiny_parts import same
from .watching import RULE, plan_by_rule, watched

FLUX = PIPES["flux"]
PLAN = plan_by_rule()
CPU = torch.device("cpu")


def _offload_groups(kind: str) -> Callable[[DiffusionPipeline, Path], None]:
    def act(pipe: DiffusionPipeline, _: Path) -> None:
        blocks = {"num_blocks_per_group": 1} if kind == "block_level" else {}
        pipe.transformer.enable_group_offload(onload_device=CPU, offload_device=CPU, offload_type=kind, **blocks)

    return act


def _offload_each_layer(pipe: DiffusionPipeline, _: Path) -> None:
    """As sequential offloading does, which cannot offload from the CPU to the CPU unless the weights are copied."""
    for model in (pipe.transformer, pipe.vae):
        cpu_offload(model, CPU, state_dict={name: value.clone() for name, value in model.state_dict().items()})


def _offload_to_disk(pipe: DiffusionPipeline, folder: Path) -> None:
    for name in ("transformer", "vae"):
        disk_offload(getattr(pipe, name), str(folder / "weights" / name), execution_device=CPU)


def _dispatch(pipe: DiffusionPipeline, _: Path) -> None:
    pipe.transformer = dispatch_model(pipe.transformer, {"": "cpu"}, force_hooks=True)


def _look_on(pipe: DiffusionPipeline, _: Path) -> None:
    """Foreign hooks, and another processor of attention."""
    pipe.transformer.register_forward_pre_hook(lambda *_: None)
    pipe.transformer.register_forward_hook(lambda *_: None)
    pipe.transformer.set_attention_backend("native")


ACTS: dict[str, Callable[[DiffusionPipeline, Path], Any]] = {
    "groups of blocks": _offload_groups("block_level"),
    "groups of leaves": _offload_groups("leaf_level"),
    "model offloading": lambda pipe, _: pipe.enable_model_cpu_offload(device="cpu"),
    "sequential offloading": _offload_each_layer,
    "offloading to disk": _offload_to_disk,
    "dispatching": _dispatch,
    "layerwise casting": lambda pipe, _: pipe.transformer.enable_layerwise_casting(torch.float32, torch.float32),
    "hooks": _look_on,
    "moving": lambda pipe, _: pipe.to("cpu"),
}


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("act", ACTS)
def test_the_order_of_apply_and_another_act_is_no_matter(
    act: str, before: bool, pipe: DiffusionPipeline, plain: list[torch.Tensor], cached: list[torch.Tensor], tmp_path: Path
):
    if before:
        ACTS[act](pipe, tmp_path)
    cache = apply(pipe, folder=tmp_path / "curves", **RULE)
    if not before:
        ACTS[act](pipe, tmp_path)
    with watched(pipe) as seen:
        assert same(FLUX.run(pipe), cached)
    assert seen.steps() == PLAN
    assert cache.report().reused == PLAN.count("r")
    cache.remove()
    assert same(FLUX.run(pipe), plain)


@pytest.mark.parametrize("act", ["groups of blocks", "sequential offloading", "offloading to disk"])
def test_a_calibration_is_found_again_under_offloading(act: str, pipe: DiffusionPipeline, tmp_path: Path):
    apply(pipe, 2.0, folder=tmp_path)
    FLUX.run(pipe, steps=16)
    ACTS[act](pipe, tmp_path)
    FLUX.run(pipe, steps=16)
    assert report(pipe).label.kind == "skipping"


@pytest.mark.parametrize("before", [True, False])
def test_a_hook_of_accelerate_that_is_removed_later_takes_nothing_along(
    before: bool, pipe: DiffusionPipeline, cached: list[torch.Tensor], tmp_path: Path
):
    if before:
        add_hook_to_module(pipe.transformer, ModelHook())
    apply(pipe, folder=tmp_path, **RULE)
    if not before:
        add_hook_to_module(pipe.transformer, ModelHook())
    assert same(FLUX.run(pipe), cached)
    remove_hook_from_module(pipe.transformer)
    with watched(pipe) as seen:
        assert same(FLUX.run(pipe), cached)
    assert seen.steps() == PLAN


@pytest.mark.parametrize("name", ["flux", "wan21_t2v", "sd3"])
@pytest.mark.parametrize("before", [True, False])
def test_another_dtype(name: str, before: bool, tmp_path: Path):
    kind = PIPES[name]
    other = kind.build()
    if before:
        other.to(torch.bfloat16)
    cache = apply(other, folder=tmp_path, **RULE)
    other.to(torch.bfloat16)
    half = {name: value.bfloat16() for name, value in kind.call().items() if isinstance(value, torch.Tensor) and value.is_floating_point()}
    with watched(other) as seen:
        found = kind.run(other, **half)
    assert seen.steps(kind.branches) == PLAN
    assert not cache.report().disturbances
    remove(other)
    full = kind.run(other, **half)
    assert all(bool(each.isfinite().all()) for each in found)
    assert 0 < float((found[0] - full[0]).float().norm() / full[0].float().norm()) < 1


def test_layerwise_casting_to_8_bits(pipe: DiffusionPipeline, tmp_path: Path):
    pipe.transformer.enable_layerwise_casting(torch.float8_e4m3fn, torch.float32)
    full = FLUX.run(pipe)
    cache = apply(pipe, 2.0, folder=tmp_path)
    assert same(FLUX.run(pipe), full)
    assert cache.report().label.kind == "calibrating"
    apply(pipe, folder=tmp_path, **RULE)
    with watched(pipe) as seen:
        assert not same(FLUX.run(pipe), full)
    assert seen.steps() == PLAN


def _adapter() -> LoraConfig:
    return LoraConfig(
        r=4, lora_alpha=8, init_lora_weights=False, target_modules=["to_q", "to_k", "to_v", "norm1.linear", "x_embedder", "proj_out"]
    )


def _adapt(pipe: DiffusionPipeline) -> None:
    torch.manual_seed(0)
    pipe.transformer.add_adapter(_adapter(), "style")


def test_loras_come_and_go_under_the_cache(pipe: DiffusionPipeline, plain: list[torch.Tensor], cached: list[torch.Tensor], tmp_path: Path):
    first = FLUX.build()
    _adapt(first)
    adapted_plain = FLUX.run(first)
    assert not same(adapted_plain, plain)
    apply(first, folder=tmp_path, **RULE)
    adapted = FLUX.run(first)
    apply(pipe, folder=tmp_path, **RULE)
    assert same(FLUX.run(pipe), cached)
    _adapt(pipe)
    assert same(FLUX.run(pipe), adapted)
    pipe.transformer.disable_lora()
    assert same(FLUX.run(pipe), cached)
    pipe.transformer.enable_lora()
    assert same(FLUX.run(pipe), adapted)
    pipe.transformer.fuse_lora()
    with watched(pipe) as seen:
        fused = FLUX.run(pipe)
    assert seen.steps() == PLAN
    assert torch.allclose(fused[0], adapted[0], atol=1e-3)
    pipe.transformer.unfuse_lora()
    pipe.transformer.delete_adapters("style")
    pipe.transformer.unload_lora()
    assert torch.allclose(FLUX.run(pipe)[0], cached[0], atol=1e-3)
    remove(first)
    assert same(FLUX.run(first), adapted_plain)


@pytest.mark.parametrize("change", ["disable_lora", "weaker", "delete"])
def test_a_lora_that_changes_on_the_way_is_seen(change: str, pipe: DiffusionPipeline, tmp_path: Path):
    _adapt(pipe)
    apply(pipe, folder=tmp_path, **RULE)
    reused = PLAN.index("r", 5)

    def switch(running: DiffusionPipeline, step: int, _: object, __: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        if step == reused - 1:
            if change == "weaker":
                running.transformer.set_adapters(["style"], 0.3)
            elif change == "delete":
                running.transformer.delete_adapters("style")
            else:
                running.transformer.disable_lora()
        return {}

    FLUX.run(pipe)
    assert report(pipe).outcomes()[reused].reused
    FLUX.run(pipe, callback_on_step_end=switch)
    assert not report(pipe).outcomes()[reused].reused and report(pipe).outcomes()[reused - 1].computed
    assert report(pipe).outcomes()[reused + 1].reused, "what was computed since then serves again"


def test_a_lora_keeps_the_calibration(pipe: DiffusionPipeline, tmp_path: Path):
    apply(pipe, 2.0, folder=tmp_path)
    FLUX.run(pipe, steps=16)
    _adapt(pipe)
    FLUX.run(pipe, steps=16)
    assert report(pipe).label.kind == "skipping"
