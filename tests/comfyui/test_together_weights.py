"""Together with other weights: LoRAs and patches by hooks, quantised and offloaded weights, compiled models."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import comfy.hooks
import comfy.model_patcher
import comfy.ops
import comfy.sd
import pytest
import torch
from comfy.ldm.wan.model import WanModel
from comfy_extras.nodes_hooks import ConditioningSetProperties, SetHookKeyframes
from torch._dynamo.utils import counters

from magcache.comfyui.nodes.compile import CompileModel
from magcache.comfyui.nodes.speed import MagCacheAuto

from .runs import cached, close, sample
from .test_patches import _WEIGHT, _lora
from .tiny import Tiny, _wan, flux_dev, noise
from .together import Item, Put, as_it_is, assert_computes_alike, assert_reuses_rightly, node, unharmed


def lora_hook() -> comfy.hooks.HookGroup:
    """As Create Hook LoRA makes it of a file."""
    return comfy.hooks.create_hook_lora({_WEIGHT.replace(".weight", ".diff"): noise(384, 128, seed=7) * 0.2}, 1.0, 1.0)


def patch_hook() -> comfy.hooks.HookGroup:
    """A patch within the blocks for one conditioning, as other packs hook them."""

    def louder(args: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
        out = extra["original_block"](args)
        return {**out, "img": out["img"] * 1.5}

    patches = {"patches_replace": {"dit": {("double_block", 1): louder}}}
    hook = comfy.hooks.TransformerOptionsHook(patches, comfy.hooks.EnumHookScope.HookedOnly)
    group = comfy.hooks.HookGroup()
    group.add(hook)
    return group


def scheduled(group: comfy.hooks.HookGroup, strengths: dict[float, float]) -> comfy.hooks.HookGroup:
    keyframes = comfy.hooks.HookKeyframeGroup()
    for start, strength in strengths.items():
        keyframes.add(comfy.hooks.HookKeyframe(strength, start))
    return SetHookKeyframes().set_hook_keyframes(group, keyframes)[0]


def hooked(text: list[list[Any]], hooks: comfy.hooks.HookGroup) -> list[list[Any]]:
    return ConditioningSetProperties().set_properties(text, 1.0, "default", hooks=hooks)[0]


def on_the_positive(tiny: Tiny) -> dict[str, Any]:
    return {"positive": hooked(tiny.positive, lora_hook())}


def on_both(strengths: dict[float, float]) -> Callable[[Tiny], dict[str, Any]]:
    def conds(tiny: Tiny) -> dict[str, Any]:
        hooks = scheduled(lora_hook(), strengths)
        return {"positive": hooked(tiny.positive, hooks), "negative": hooked(tiny.negative, hooks)}

    return conds


def one_each(tiny: Tiny) -> dict[str, Any]:
    """Two texts for the whole picture, one with a LoRA, one with a patch within the blocks."""
    return {"positive": [*hooked(tiny.conditioning(1), lora_hook()), *hooked(tiny.conditioning(3), patch_hook())]}


def first_one_then_the_other(tiny: Tiny) -> dict[str, Any]:
    """One text throughout, whose LoRA goes down while another comes up."""
    down, up = scheduled(lora_hook(), {0.0: 1.0, 0.5: 0.0}), scheduled(patch_hook(), {0.0: 0.0, 0.5: 1.0})
    return {"positive": hooked(tiny.positive, down.clone_and_combine(up))}


def from_weights(weights: dict[str, torch.Tensor], **options: Any) -> Tiny:
    """The tiny Flux with other weights, by ComfyUI's own loader."""
    flux = flux_dev()
    return Tiny(comfy.sd.load_diffusion_model_state_dict(weights, model_options=options), flux.latent, flux.width, flux.extras)


def weights() -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in flux_dev().dit.state_dict().items()}


@cache
def in_fp8() -> Tiny:
    tiny = from_weights(weights(), dtype=torch.float8_e4m3fn)
    assert {parameter.dtype for parameter in tiny.dit.parameters()} == {torch.float8_e4m3fn}
    return tiny


@cache
@torch.inference_mode()  # As in ComfyUI: weights in this form cannot be moved if they are loaded otherwise.
def in_scaled_fp8() -> Tiny:
    """As checkpoints in fp8 with scales are: ComfyUI's mixed precision."""
    quantised = weights()
    for name in [name for name in quantised if "blocks" in name and quantised[name].ndim == 2]:
        layer, weight = name.removesuffix(".weight"), quantised[name]
        scale = weight.abs().max() / 448
        quantised[name] = (weight / scale).to(torch.float8_e4m3fn)
        quantised[f"{layer}.weight_scale"] = scale
        quantised[f"{layer}.comfy_quant"] = torch.tensor(list(json.dumps({"format": "float8_e4m3fn"}).encode()), dtype=torch.uint8)
    tiny = from_weights(quantised)
    assert type(tiny.dit.double_blocks[0].img_attn.qkv).__qualname__.startswith("mixed_precision_ops")
    return tiny


class Packed(torch.nn.Module):
    """A layer that unpacks its weights whenever it runs, as those of GGUF files do."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True, **_: Any) -> None:
        super().__init__()
        self.weight, self.bias, self.scale = None, None, None

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
        weight, bias = state_dict[f"{prefix}weight"], state_dict.get(f"{prefix}bias")
        self.scale = weight.abs().max() / 127
        self.weight = torch.nn.Parameter((weight / self.scale).round().to(torch.int8).flatten().view(torch.uint8), requires_grad=False)
        self.bias = None if bias is None else torch.nn.Parameter(bias, requires_grad=False)
        self.shape = weight.shape

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(x, self.weight.view(torch.int8).view(self.shape) * self.scale, self.bias)


@cache
def packed() -> Tiny:
    return from_weights(weights(), custom_operations=type("Operations", (comfy.ops.manual_cast,), {"Linear": Packed}))


ITEMS = {
    "a LoRA of the positive": Item(flux_dev, conds=on_the_positive),
    "a LoRA that fades and comes back": Item(flux_dev, conds=on_both({0.0: 1.0, 0.3: 0.2, 0.6: 1.0}), decisions="crccr"),
    "a LoRA and a patch, each for a text": Item(flux_dev, conds=one_each),
    "a LoRA that gives way to a patch": Item(flux_dev, conds=first_one_then_the_other, decisions="crrcr"),
    "a LoRA on fp8": Item(in_fp8, _lora, without=as_it_is),
    "fp8": Item(in_fp8),
    "fp8 with scales": Item(in_scaled_fp8),
    "layers that unpack their weights": Item(packed),
}


@pytest.mark.parametrize("name", ITEMS)
def test_computing_everything_gives_the_very_same_picture(name: str):
    assert_computes_alike(ITEMS[name])


@pytest.mark.parametrize("name", ITEMS)
def test_a_reused_evaluation_gives_what_the_computed_one_gave(name: str):
    assert_reuses_rightly(ITEMS[name])


@pytest.mark.parametrize("build", [in_fp8, in_scaled_fp8, packed])
def test_a_quantised_model_is_measured_once_and_then_skips(build: Callable[[], Tiny], curves_folder: Path):
    tiny = build()
    plain = sample(tiny, count=16, cfg=3.0)
    (model,) = MagCacheAuto.execute(tiny.model, 2.0).args
    assert torch.equal(sample(tiny, model, count=16, cfg=3.0), plain), "the first run measures"
    assert len(list(curves_folder.iterdir())) == 1
    assert not torch.equal(sample(tiny, model, count=16, cfg=3.0), plain), "the second one skips"


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Most weights stay where they are stored, and are cast when they are used. Notes how many layers do."""
    load, offloaded = comfy.model_patcher.ModelPatcher.load, list[int]()

    def load_little(self: Any, device_to: Any = None, lowvram_model_memory: int = 0, **more: Any) -> Any:
        result = load(self, device_to, lowvram_model_memory=400_000, **{**more, "full_load": False})
        offloaded.append(sum(getattr(module, "comfy_cast_weights", False) for module in self.model.modules()))
        return result

    monkeypatch.setattr(comfy.model_patcher.ModelPatcher, "load", load_little)
    return offloaded


@pytest.mark.parametrize("put", [as_it_is, _lora], ids=["plain", "with a LoRA"])
def test_weights_that_are_not_loaded(put: Put, little_memory: list[int]):
    made = from_weights(weights())
    item = Item(lambda: made, put, without=None if put is as_it_is else as_it_is)
    assert_computes_alike(item)
    assert_reuses_rightly(item)
    assert little_memory and min(little_memory) > 10, "layers must be offloaded for this test to mean anything"


def test_weights_that_are_unloaded_within_a_run(little_memory: list[int]):
    """As ComfyUI does when something else needs the memory, such as a preview or a ControlNet."""
    tiny = from_weights(weights())
    alone = sample(tiny, _lora(tiny.model), cfg=3.0, count=6)
    for plan in ("cccccc", "crrcrr"):
        model, log = cached(_lora(tiny.model), plan)

        def unload(step: int, *_: Any, model: Any = model) -> None:
            if step == 1:
                model.partially_unload(model.offload_device, 1_000_000)

        undisturbed = sample(tiny, model, cfg=3.0, count=6)
        with unharmed(tiny):
            assert close(sample(tiny, model, cfg=3.0, count=6, callback=unload), undisturbed, 1e-5)
        assert log.decisions == [plan] * 2
        assert close(undisturbed, alone, 1e-6) == (plan == "cccccc")


@pytest.fixture
def fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


def core_compile(model: Any) -> Any:
    return node("nodes_torch_compile", "TorchCompileModel").execute(model, "inductor").args[0]


def our_compile(model: Any) -> Any:
    return CompileModel.execute(model, "default", "inductor", False, False).args[0]


@cache
def one_block() -> Tiny:
    """As little as can be compiled: each kernel takes seconds."""
    return Tiny(_wan(WanModel, model_type="t2v", in_dim=16, num_layers=1), (16, 1, 4, 4), 4096)


@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.parametrize("order", ["compiled first", "compiled last"])
@pytest.mark.parametrize("compiled", [core_compile, our_compile])
def test_a_compiled_model_is_compiled_for_the_first_computed_and_the_first_skipped_step_only(compiled: Put, order: str):
    tiny, plan, graphs = one_block(), "crrcrc", list[int]()
    model, log = cached(compiled(tiny.model) if order == "compiled first" else tiny.model, plan)
    model = compiled(model) if order == "compiled last" else model

    def note(*_: Any) -> None:
        graphs.append(counters["stats"]["unique_graphs"])

    expected = sample(tiny, cached(tiny.model, plan)[0], cfg=3.0, count=6)
    with unharmed(tiny):
        for _ in range(2):
            assert close(sample(tiny, model, cfg=3.0, count=6, callback=note), expected, 1e-4)
    assert log.decisions == [plan] * 2
    assert graphs[1:] == [2] * 11, "one to compute, and one to skip"
