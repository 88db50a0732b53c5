"""Which curve `auto` picks. The facts of each published model come from ComfyUI's own detection, on weights without contents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import comfy.model_detection
import comfy.ops
import pytest
import torch
from comfy.ldm.chroma.model import Chroma
from comfy.ldm.flux.model import Flux
from comfy.ldm.hunyuan_video.model import HunyuanVideo
from comfy.ldm.omnigen.omnigen2 import OmniGen2Transformer2DModel
from comfy.ldm.qwen_image.model import QwenImageTransformer2DModel
from comfy.ldm.wan.model import CameraWanModel, VaceWanModel, WanModel
from torch import nn

from magcache.comfyui.families import FAMILIES
from magcache.curves.shipped import known_curves
from magcache.runtime.family import ModelFacts, find_family

from .runs import by_rule, sample
from .tiny import Tiny, flux_dev, flux_kontext, wan_t2v

FULL, HIGH, LOW = (1.0, 0.9, 0.5, 0.0), (1.0, 0.95, 0.875), (0.87, 0.5, 0.0)
HD, SD, PORTRAIT = (1, 16, 21, 90, 160), (1, 16, 21, 60, 104), (1, 16, 21, 104, 60)


def _empty(kind: Callable[..., nn.Module], **dimensions: Any) -> nn.Module:
    return kind(dtype=torch.bfloat16, device="meta", operations=comfy.ops.disable_weight_init, **dimensions)


@cache
def flux(**more: Any) -> nn.Module:
    dimensions = {
        "in_channels": 16, "out_channels": 16, "vec_in_dim": 768, "context_in_dim": 4096, "hidden_size": 3072, "mlp_ratio": 4.0,
        "num_heads": 24, "depth": 2, "depth_single_blocks": 2, "axes_dim": [16, 56, 56], "theta": 10000, "patch_size": 2, "qkv_bias": True,
        "guidance_embed": True, "txt_ids_dims": [],
    }  # fmt: skip
    return _empty(Flux, **{**dimensions, **more})


@cache
def flux2() -> nn.Module:
    return flux(
        in_channels=128, out_channels=128, vec_in_dim=None, context_in_dim=15360, hidden_size=6144, mlp_ratio=3.0, num_heads=48,
        axes_dim=(32, 32, 32, 32), theta=2000, patch_size=1, qkv_bias=False, txt_ids_dims=(3,), global_modulation=True, mlp_silu_act=True,
        ops_bias=False,
    )  # fmt: skip


@cache
def chroma() -> nn.Module:
    return _empty(
        Chroma, in_channels=64, out_channels=64, context_in_dim=4096, hidden_size=3072, mlp_ratio=4.0, num_heads=24, depth=2,
        depth_single_blocks=2, axes_dim=[16, 56, 56], theta=10000, patch_size=2, qkv_bias=True, in_dim=64, out_dim=3072, hidden_dim=5120,
        n_layers=5, txt_ids_dims=[], vec_in_dim=None,
    )  # fmt: skip


@cache
def hunyuan(**more: Any) -> nn.Module:
    dimensions = {
        "in_channels": 16, "out_channels": 16, "vec_in_dim": 768, "context_in_dim": 4096, "hidden_size": 3072, "mlp_ratio": 4.0,
        "num_heads": 24, "depth": 2, "depth_single_blocks": 2, "axes_dim": [16, 56, 56], "theta": 256, "qkv_bias": True,
        "guidance_embed": True, "byt5": False, "meanflow": False, "use_cond_type_embedding": False, "vision_in_dim": None,
        "meanflow_sum": False,
    }  # fmt: skip
    return _empty(HunyuanVideo, **{**dimensions, "patch_size": (1, 2, 2), **more})


@cache
def hunyuan15() -> nn.Module:
    return hunyuan(
        in_channels=65, out_channels=32, vec_in_dim=None, context_in_dim=3584, hidden_size=2048, num_heads=16, depth_single_blocks=0,
        patch_size=(1, 1, 1), guidance_embed=False, byt5=True, use_cond_type_embedding=True, vision_in_dim=1152, meanflow_sum=True,
    )  # fmt: skip


@cache
def wan(kind: Callable[..., nn.Module] = WanModel, dim: int = 5120, in_dim: int = 16, **more: Any) -> nn.Module:
    ffn = {1536: 8960, 3072: 14336, 5120: 13824}[dim]
    return _empty(kind, dim=dim, ffn_dim=ffn, num_heads=dim // 128, in_dim=in_dim, out_dim=16, num_layers=2, text_dim=4096, **more)


@cache
def omnigen2() -> nn.Module:
    return _empty(
        OmniGen2Transformer2DModel, patch_size=2, in_channels=16, hidden_size=2520, num_layers=2, num_refiner_layers=2,
        num_attention_heads=21, num_kv_heads=7, multiple_of=256, axes_dim_rope=(40, 40, 40), text_feat_dim=2048,
    )  # fmt: skip


@cache
def vace(dim: int) -> nn.Module:
    return wan(VaceWanModel, dim, model_type="vace", vace_layers=1, vace_in_dim=96)


@cache
def qwen() -> nn.Module:
    return _empty(QwenImageTransformer2DModel, num_layers=60)


def facts(model: nn.Module, latent: tuple[int, ...], conditioning: frozenset[str], sigmas: tuple[float, ...]) -> ModelFacts:
    config = comfy.model_detection.detect_unet_config(model.state_dict(), "")
    return ModelFacts(config=config, sigmas=sigmas, latent=latent, conditioning=conditioning)


def identified(model: nn.Module, latent: tuple[int, ...] = SD, sigmas: tuple[float, ...] = FULL, *conditioning: str) -> str | None:
    family = find_family(FAMILIES, model)
    return family.identify(facts(model, latent, frozenset(conditioning), sigmas)) if family else None


PICTURE = (1, 16, 128, 128)
PUBLISHED: Mapping[str, Callable[[], str | None]] = {
    "chroma": lambda: identified(chroma(), PICTURE),
    "flux": lambda: identified(flux(), PICTURE),
    "flux_kontext": lambda: identified(flux(), PICTURE, FULL, "reference_latents", "guidance"),
    "hunyuan_video": lambda: identified(hunyuan(), HD),
    "hunyuan_video_544p": lambda: identified(hunyuan(), (1, 16, 33, 68, 120)),
    "hunyuan_video1.5": lambda: identified(hunyuan15(), (1, 32, 31, 45, 80)),
    "omnigen2_t2i": lambda: identified(omnigen2(), PICTURE),
    "omnigen2_edit": lambda: identified(omnigen2(), PICTURE, FULL, "reference_latents"),
    "qwen_image": lambda: identified(qwen(), (1, 16, 1, 166, 166)),
    "qwen_image_edit": lambda: identified(qwen(), (1, 16, 1, 128, 128), FULL, "reference_latents"),
    "wan2.1_t2v_1.3B": lambda: identified(wan(dim=1536, model_type="t2v")),
    "wan2.1_t2v_14B": lambda: identified(wan(model_type="t2v"), HD),
    "wan2.1_i2v_480p_14B": lambda: identified(wan(model_type="i2v", in_dim=36), SD),
    "wan2.1_i2v_720p_14B": lambda: identified(wan(model_type="i2v", in_dim=36), HD),
    "wan2.1_vace_1.3B": lambda: identified(vace(1536)),
    "wan2.1_vace_14B": lambda: identified(vace(5120), HD),
    "wan2.2_t2v_14B": lambda: identified(wan(model_type="t2v"), HD, HIGH),
    "wan2.2_i2v_14B": lambda: identified(wan(model_type="t2v", in_dim=36), HD, HIGH),
    "wan2.2_ti2v_5B": lambda: identified(wan(dim=3072, in_dim=48, model_type="t2v"), (1, 48, 31, 44, 80)),
}
CHOSEN_BY_HAND = {
    "framepack",  # A transformer of its own, which only other nodes load.
    "framepack_f1",
    "wan2.2_ti2v_5B_i2v",  # The same weights as text to video; the first picture is part of the latent.
}


def test_every_shipped_curve_is_picked_by_auto_or_listed_as_chosen_by_hand():
    assert set(PUBLISHED) | CHOSEN_BY_HAND == set(known_curves())


@pytest.mark.parametrize("name", PUBLISHED)
def test_auto_recognises_a_published_model(name: str):
    assert PUBLISHED[name]() == name


@pytest.mark.parametrize(
    ("expected", "of"),
    [
        ("wan2.1_i2v_480p_14B", lambda: identified(wan(model_type="i2v", in_dim=36), PORTRAIT)),
        ("wan2.2_t2v_14B", lambda: identified(wan(model_type="t2v"), HD, LOW)),
        ("wan2.2_t2v_14B", lambda: identified(wan(model_type="t2v"), HD, (1.0, 0.95, 0.9, 0.0))),
        ("wan2.2_t2v_14B", lambda: identified(wan(model_type="t2v"), HD, (1.0, 0.7, 0.6))),
        ("wan2.2_i2v_14B", lambda: identified(wan(model_type="t2v", in_dim=36), SD, LOW)),
        ("wan2.1_t2v_1.3B", lambda: identified(wan(dim=1536, model_type="t2v"), SD, LOW)),
    ],
)
def test_auto_sees_portraits_and_both_experts(expected: str, of: Callable[[], str | None]):
    assert of() == expected


@pytest.mark.parametrize(
    "model",
    [
        lambda: flux(guidance_embed=False),
        lambda: flux2(),
        lambda: hunyuan(patch_size=(1, 1), hidden_size=3584, num_heads=28, byt5=True),
        lambda: wan(CameraWanModel, model_type="camera", in_dim=32, in_dim_control_adapter=24),
        lambda: wan_t2v().dit,
    ],
    ids=["flux schnell", "flux2 dev", "hunyuan_image 2.1", "wan camera", "tiny wan"],
)
def test_auto_does_not_take_a_model_for_a_published_one(model: Callable[[], nn.Module]):
    assert identified(model()) is None


@pytest.mark.parametrize(
    ("build", "widths", "slices", "expected"),
    [
        (flux_dev, {"hidden_size": 3072}, {}, "flux"),
        (flux_kontext, {"hidden_size": 3072}, {}, "flux_kontext"),
        (wan_t2v, {"dim": 5120}, {}, "wan2.1_t2v_14B"),
        (wan_t2v, {"dim": 5120}, {"last_step": 2}, "wan2.2_t2v_14B"),
        (wan_t2v, {"dim": 1536}, {}, "wan2.1_t2v_1.3B"),
    ],
)
def test_a_run_finds_its_curve_by_itself(
    build: Callable[[], Tiny], widths: dict[str, int], slices: dict[str, int], expected: str, monkeypatch: pytest.MonkeyPatch
):
    tiny = build()
    for name, value in widths.items():
        monkeypatch.setitem(tiny.model.model.model_config.unet_config, name, value)
    model, log = by_rule(tiny.model, "auto", threshold=1)
    sample(tiny, model, count=8, **slices)
    assert log.reports[0].label.curve.split("_28steps")[0] == expected


def test_a_wan_that_generates_piece_by_piece_is_left_alone():
    """Its blocks write a memory of their own, which a skipped step would leave out of date."""
    wan = next(family for family in FAMILIES if family.name == "wan")
    assert wan.refuses({"ar_state": object()}) and not wan.refuses({"sigmas": None})
