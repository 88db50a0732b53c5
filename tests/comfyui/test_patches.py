"""Other nodes' patches on the same model: LoRAs, replaced blocks, patches within blocks."""

from __future__ import annotations

from typing import Any

import comfy.hooks
import pytest
import torch

from .runs import CountingPlan, WatchingPlan, cached, close, evaluate, sample, steps
from .tiny import Tiny, noise

_WEIGHT = "diffusion_model.double_blocks.0.img_attn.qkv.weight"


def _lora(model: Any, strength: float = 1.0) -> Any:
    """As a LoRA loader leaves it: a clone with patched weights."""
    model = model.clone()
    assert model.add_patches({_WEIGHT: ("diff", (noise(384, 128, seed=7) * 0.2,))}, strength) == [_WEIGHT]
    return model


def _scheduled(strengths: dict[float, float]) -> dict[str, Any]:
    """A LoRA on a conditioning, its strength at parts of the run; as the Create Hook LoRA and Set Hook Keyframes nodes make it."""
    group = comfy.hooks.create_hook_lora({_WEIGHT.replace(".weight", ".diff"): noise(384, 128, seed=7) * 0.2}, 1.0, 1.0)
    keyframes = comfy.hooks.HookKeyframeGroup()
    for start, strength in strengths.items():
        keyframes.add(comfy.hooks.HookKeyframe(strength, start))
    group.set_keyframes_on_hooks(keyframes)
    return {"hooks": group}


def _replaced(model: Any, replacement: Any, kind: str = "double_block", index: int = 1) -> Any:
    model = model.clone()
    model.set_model_patch_replace(replacement, "dit", kind, index)
    return model


@pytest.mark.parametrize("order", ["before", "after"])
def test_a_lora_before_or_after_magcache_gives_the_very_same_picture(flux: Tiny, order: str):
    plain, with_lora = sample(flux, cfg=3.0), sample(flux, _lora(flux.model), cfg=3.0)
    assert not close(plain, with_lora, 1e-2)
    for plan, same in ((steps("cccc", WatchingPlan), True), (steps("crcr"), False)):
        if order == "before":
            model, log = cached(_lora(flux.model), plan)
        else:
            model, log = cached(flux.model, plan)
            model = _lora(model)
        once, again = sample(flux, model, cfg=3.0), sample(flux, model, cfg=3.0)
        assert torch.equal(once, again)
        assert torch.equal(once, with_lora) == same
        assert log.decisions == (["cccc"] * 2 if same else ["crcr"] * 2)
    assert torch.equal(sample(flux, cfg=3.0), plain)


@pytest.mark.parametrize(("strengths", "skips_on"), [({0.0: 1.0}, True), ({0.0: 1.0, 0.5: 0.1}, False)])
def test_a_lora_that_changes_during_the_run_is_computed_anew(flux: Tiny, strengths: dict[float, float], skips_on: bool):
    def conds() -> dict[str, Any]:
        hooks = _scheduled(strengths)
        return {"positive": flux.conditioning(1, **hooks), "negative": flux.conditioning(2, **hooks)}

    plain = sample(flux, count=8, cfg=3.0, **conds())
    assert not close(plain, sample(flux, count=8, cfg=3.0), 1e-2)
    watched, _ = cached(flux.model, steps("c" * 8, WatchingPlan))
    assert torch.equal(sample(flux, watched, count=8, cfg=3.0, **conds()), plain)
    model, log = cached(flux.model, "crrrrrrr")
    sample(flux, model, count=8, cfg=3.0, **conds())
    assert log.decisions[0].startswith("crr")
    assert (log.reports[0].refused == 0) == skips_on


def test_replaced_blocks_run_on_computed_steps_only(flux: Tiny):
    calls = []

    def halved(args: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
        calls.append(args["img"].shape)
        out = extra["original_block"](args)
        return {**out, "img": out["img"] * 0.5}

    plain = evaluate(flux, _replaced(flux.model, halved), cfg=3.0)[0]
    assert not close(plain, evaluate(flux, cfg=3.0)[0], 1e-2)
    calls.clear()
    model, log = cached(_replaced(flux.model, halved), steps("crcr", CountingPlan))
    seen = evaluate(flux, model, 4, cfg=3.0)
    assert log.decisions == ["crcr"]
    assert len(calls) == 2
    assert all(close(each, plain) for each in seen)


@pytest.mark.parametrize("where", ["before", "after"])
def test_a_replaced_first_block_is_seen_if_it_calls_the_original(flux: Tiny, where: str):
    def same(args: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
        return extra["original_block"](args)

    if where == "before":
        model, log = cached(_replaced(flux.model, same, index=0), "crcr")
    else:
        model, log = cached(flux.model, "crcr")
        model = _replaced(model, same, index=0)
    result = sample(flux, model, cfg=3.0)
    assert log.decisions == ["crcr"]
    assert torch.equal(result, sample(flux, cached(flux.model, "crcr")[0], cfg=3.0))


def test_a_first_block_that_does_not_run_means_that_nothing_is_skipped(flux: Tiny):
    def left_out(args: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
        return args

    model, log = cached(_replaced(flux.model, left_out, index=0), "crcr")
    result = sample(flux, model, cfg=3.0)
    assert log.decisions == ["cccc"]
    assert log.reports[0].refused == 2
    assert torch.equal(result, sample(flux, _replaced(flux.model, left_out, index=0), cfg=3.0))


def test_patches_within_blocks_are_part_of_the_residual(flux: Tiny):
    def shifted(args: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
        out = extra["original_block"](args)
        return {**out, "img": out["img"] + 0.5}

    def louder(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *_: Any, **__: Any) -> dict[str, torch.Tensor]:
        return {"q": q, "k": k, "v": v * 2}

    model = _replaced(flux.model, shifted, "single_block", 1)
    model.set_model_attn1_patch(louder)  # Flux heeds it since 0.26; before, it is without effect.
    plain = evaluate(flux, model, cfg=3.0)[0]
    skipping, log = cached(model, steps("crcr", CountingPlan))
    assert all(close(each, plain) for each in evaluate(flux, skipping, 4, cfg=3.0))
    assert log.decisions == ["crcr"]
