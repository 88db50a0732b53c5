"""Tiny models of pictures with a class of their own, and further models of Flux's and Qwen-Image's.

What a version of ComfyUI lacks is left out of `PICTURES`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from importlib import import_module
from inspect import signature
from typing import Any
from unittest.mock import patch

import comfy.ldm.anima.model
import comfy.model_patcher
import comfy.supported_models
import torch
from comfy.ldm.anima.model import LLMAdapter
from comfy.ldm.flux.model import Flux

from .tiny import MaskedText, Tiny, amplified, built, loaded, noise


def _of_any_size(kind: type) -> type:
    """A configuration that leaves alone what it would set to the size of the real model."""
    return type(kind.__name__, (kind,), {"unet_extra_config": {}})


_OMNIGEN2: dict[str, Any] = {
    "hidden_size": 96, "num_refiner_layers": 1, "num_attention_heads": 2, "num_kv_heads": 1, "multiple_of": 32,
    "axes_dim_rope": [16, 16, 16], "axes_lens": [64, 64, 64], "timestep_scale": 1000.0,
}  # fmt: skip


@cache
def omnigen2() -> Tiny:
    model = built(comfy.supported_models.Omnigen2, image_model="omnigen2", num_layers=3, text_feat_dim=64, **_OMNIGEN2)
    return MaskedText(model, (16, 8, 8), 64)


def omnigen2_edit() -> Tiny:
    return replace(omnigen2(), extras={"reference_latents": [noise(1, 16, 8, 8, seed=4)]})


@cache
def boogu() -> Tiny:
    model = built(
        comfy.supported_models.Boogu, image_model="boogu", num_layers=2, num_double_stream_layers=2, instruction_feat_dim=64, **_OMNIGEN2
    )
    return MaskedText(model, (16, 8, 8), 64)


def boogu_edit() -> Tiny:
    return replace(boogu(), extras={"reference_latents": [noise(1, 16, 8, 8, seed=4)]})


@cache
def krea2() -> Tiny:
    model = built(
        comfy.supported_models.Krea2, image_model="krea2", features=128, heads=2, kvheads=1, layers=3, patch=2, channels=16,
        txtlayers=3, txtdim=32, txtheads=2, txtkvheads=2,
    )  # fmt: skip
    return Tiny(model, (16, 1, 8, 8), 3 * 32)


def krea2_edit() -> Tiny:
    extras = {"reference_latents": [noise(1, 16, 1, 8, 8, seed=4)], "reference_latents_method": "index_timestep_zero"}
    return replace(krea2(), extras=extras)


@cache
def ernie_image() -> Tiny:
    model = built(
        comfy.supported_models.ErnieImage, image_model="ernie", hidden_size=64, num_attention_heads=2, num_layers=3,
        ffn_hidden_size=128, text_in_dim=48, rope_axes_dim=(8, 12, 12),
    )  # fmt: skip
    return Tiny(amplified(model, 3), (128, 4, 4), 48)


@cache
def ideogram4() -> Tiny:
    model = built(
        _of_any_size(comfy.supported_models.Ideogram4), image_model="ideogram4", num_layers=3, num_attention_heads=2,
        attention_head_dim=32, intermediate_size=128, adaln_dim=32, llm_features_dim=48, mrope_section=[6, 5, 5],
    )  # fmt: skip
    return Tiny(model, (128, 4, 4), 48)


@cache
def lens() -> Tiny:
    model = built(
        comfy.supported_models.Lens, image_model="lens", in_channels=128, out_channels=32, num_layers=3, num_attention_heads=1,
        enc_hidden_dim=32, multi_layer_encoder_feature=True, selected_layer_index=(0, 1),
    )  # fmt: skip
    return MaskedText(amplified(model, 2), (128, 4, 4), 2 * 32)


@cache
def mage_flow() -> Tiny:
    model = built(
        comfy.supported_models.MageFlow, image_model="mage_flow", in_channels=128, num_layers=3, num_attention_heads=1,
        joint_attention_dim=64,
    )  # fmt: skip
    return Tiny(model, (128, 4, 4), 64)


def mage_flow_edit() -> Tiny:
    return replace(mage_flow(), extras={"reference_latents": [noise(1, 128, 4, 4, seed=4)]})


@cache
def joyimage() -> Tiny:
    model = built(
        comfy.supported_models.JoyImage, image_model="joyimage", hidden_size=128, num_attention_heads=1, num_layers=3, text_dim=64
    )
    return Tiny(model, (16, 1, 8, 8), 64)


def joyimage_edit() -> Tiny:
    return replace(joyimage(), extras={"reference_latents": [noise(1, 16, 1, 4, 8, seed=4)]})


_PIXELDIT: dict[str, Any] = {
    "num_groups": 2, "hidden_size": 64, "pixel_hidden_size": 8, "pixel_attn_hidden_size": 32, "pixel_num_groups": 1, "patch_depth": 3,
    "pixel_depth": 2, "patch_size": 4, "txt_embed_dim": 48, "txt_max_length": 32,
}  # fmt: skip


@cache
def pixeldit() -> Tiny:
    model = built(comfy.supported_models.PixelDiTT2I, image_model="pixeldit_t2i", **_PIXELDIT)
    return Tiny(amplified(model, 3), (3, 16, 16), 48)


@cache
def pid() -> Tiny:
    model = built(
        comfy.supported_models.PiD, image_model="pid", lq_hidden_dim=16, lq_num_res_blocks=1, lq_latent_channels=16, pit_lq_inject=True,
        rope_ref_h=64, rope_ref_w=64, **_PIXELDIT,
    )  # fmt: skip
    return Tiny(amplified(model, 3), (3, 16, 16), 48, {"lq_latent": noise(1, 16, 2, 2, seed=3), "degrade_sigma": torch.tensor([0.1])})


def _cosmos_predict2(kind: type, **dimensions: Any) -> comfy.model_patcher.ModelPatcher:
    model = built(
        kind, max_img_h=32, max_img_w=32, max_frames=16, in_channels=16, out_channels=16, patch_spatial=2, patch_temporal=1,
        concat_padding_mask=True, model_channels=64, num_blocks=3, num_heads=2, pos_emb_cls="rope3d", use_adaln_lora=True,
        adaln_lora_dim=16, rope_enable_fps_modulation=False, **dimensions,
    )  # fmt: skip
    return amplified(model, 2)


@cache
def cosmos_predict2() -> Tiny:
    model = _cosmos_predict2(comfy.supported_models.CosmosT2IPredict2, image_model="cosmos_predict2", crossattn_emb_channels=64)
    return Tiny(model, (16, 1, 8, 8), 64)


@cache
def anima() -> Tiny:
    adapter = partial(LLMAdapter, source_dim=32, target_dim=32, model_dim=32, num_layers=1, num_heads=1)
    with patch.object(comfy.ldm.anima.model, "LLMAdapter", adapter):
        model = _cosmos_predict2(comfy.supported_models.Anima, image_model="anima", crossattn_emb_channels=32)
    return Tiny(model, (16, 1, 8, 8), 32, {"t5xxl_ids": torch.arange(5), "t5xxl_weights": torch.ones(5)})


def _kandinsky5(kind: type, **dimensions: Any) -> comfy.model_patcher.ModelPatcher:
    return built(
        kind, image_model="kandinsky5", in_text_dim=64, in_text_dim2=32, time_dim=32, model_dim=64, ff_dim=128, num_text_blocks=1,
        num_visual_blocks=3, **dimensions,
    )  # fmt: skip


@cache
def kandinsky5_video() -> Tiny:
    model = _kandinsky5(comfy.supported_models.Kandinsky5, visual_embed_dim=132)
    return Tiny(model, (16, 3, 8, 8), 64, {"pooled_output": noise(1, 32, seed=3)})


@cache
def kandinsky5_image() -> Tiny:
    model = _kandinsky5(comfy.supported_models.Kandinsky5Image, visual_embed_dim=64, rope_scale_factor=(1.0, 1.0, 1.0))
    return Tiny(model, (16, 8, 8), 64, {"pooled_output": noise(1, 32, seed=3)})


@cache
def ovis_image() -> Tiny:
    model = loaded(
        Flux, in_channels=16, out_channels=16, vec_in_dim=None, context_in_dim=96, hidden_size=128, mlp_ratio=4.0, num_heads=1, depth=2,
        depth_single_blocks=2, axes_dim=[16, 56, 56], theta=10000, patch_size=2, qkv_bias=True, guidance_embed=False, txt_ids_dims=[1, 2],
        yak_mlp=True, txt_norm=True,
    )  # fmt: skip
    return Tiny(model, (16, 8, 8), 96, {"pooled_output": None})


def _qwen_image(**dimensions: Any) -> comfy.model_patcher.ModelPatcher:
    return built(
        comfy.supported_models.QwenImage, image_model="qwen_image", in_channels=64, num_layers=3, num_attention_heads=1,
        attention_head_dim=128, joint_attention_dim=64, **dimensions,
    )  # fmt: skip


@cache
def qwen_image_edit_2511() -> Tiny:
    """Its reference pictures are free of noise to it, whatever the step."""
    references = [noise(1, 16, 1, 8, 8, seed=4), noise(1, 16, 1, 4, 8, seed=5)]
    return Tiny(_qwen_image(default_ref_method="index_timestep_zero"), (16, 1, 8, 8), 64, {"reference_latents": references})


@cache
def qwen_image_layered() -> Tiny:
    model = _qwen_image(default_ref_method="negative_index", use_additional_t_cond=True)
    return Tiny(model, (16, 3, 8, 8), 64, {"reference_latents": [noise(1, 16, 1, 8, 8, seed=4)]})


_ALL: tuple[tuple[str, str, Callable[[], Tiny]], ...] = (
    ("omnigen2", "Omnigen2", omnigen2),
    ("omnigen2 edit", "Omnigen2", omnigen2_edit),
    ("boogu", "Boogu", boogu),
    ("boogu edit", "Boogu", boogu_edit),
    ("krea2", "Krea2", krea2),
    ("krea2 edit", "Krea2", krea2_edit),
    ("ernie_image", "ErnieImage", ernie_image),
    ("ideogram4", "Ideogram4", ideogram4),
    ("lens", "Lens", lens),
    ("mage_flow", "MageFlow", mage_flow),
    ("mage_flow edit", "MageFlow", mage_flow_edit),
    ("joyimage", "JoyImage", joyimage),
    ("joyimage edit", "JoyImage", joyimage_edit),
    ("pixeldit", "PixelDiTT2I", pixeldit),
    ("pid", "PiD", pid),
    ("cosmos_predict2", "CosmosT2IPredict2", cosmos_predict2),
    ("anima", "Anima", anima),
    ("kandinsky5 video", "Kandinsky5", kandinsky5_video),
    ("kandinsky5 image", "Kandinsky5Image", kandinsky5_image),
    ("ovis_image", "Flux", ovis_image),
    ("qwen_image_edit_2511", "QwenImage", qwen_image_edit_2511),
    ("qwen_image layered", "QwenImage", qwen_image_layered),
)
"""A name for each, and the configuration of ComfyUI's that it needs."""

PICTURES: dict[str, Callable[[], Tiny]] = {name: build for name, needed, build in _ALL if hasattr(comfy.supported_models, needed)}
if "pid" in PICTURES and "pit_lq_inject" not in signature(import_module("comfy.ldm.pixeldit.pid").PidNet).parameters:
    del PICTURES["pid"]  # An older one, without the gates.
