"""Tiny random models of images."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import comfy.latent_formats
import comfy.model_patcher
import comfy.supported_models
import torch
from comfy.ldm.chroma_radiance.model import ChromaRadianceParams
from comfy.ldm.flux.model import Flux
from comfy.ldm.hunyuan_video.model import HunyuanVideo
from comfy.ldm.modules.diffusionmodules.mmdit import MMDiT

from .tiny import Tiny, built, loaded, noise, sd3
from .zoo_more_images import LUMINA, WHOLE, strengthened

__all__ = ["IMAGES", "WHOLE"]


@cache
def sd35_medium() -> Tiny:
    model = loaded(
        MMDiT, input_size=None, patch_size=2, in_channels=16, out_channels=16, depth=2, pos_embed_max_size=16, num_patches=256,
        adm_in_channels=64, context_embedder_config={"target": "torch.nn.Linear", "params": {"in_features": 64, "out_features": 128}},
        qk_norm="rms", x_block_self_attn_layers=[0],
    )  # fmt: skip
    return Tiny(model, (16, 8, 8), 64, {"pooled_output": noise(1, 64, seed=3)})


@cache
def auraflow() -> Tiny:
    model = built(
        comfy.supported_models.AuraFlow, dim=64, n_layers=4, n_double_layers=2, n_heads=4, global_conddim=64, cond_seq_dim=32, max_seq=64,
    )  # fmt: skip
    return Tiny(strengthened(model, "_layers.", 4), (4, 8, 8), 32)


_PIXART_LATENT = (4, 34, 34)
"""The smallest: on anything below, ComfyUI divides by zero."""


def _pixart(kind: Callable[..., Any], **dimensions: Any) -> comfy.model_patcher.ModelPatcher:
    model = built(
        kind, input_size=16, patch_size=2, in_channels=4, hidden_size=96, depth=3, num_heads=4, caption_channels=32, model_max_length=7,
        **dimensions,
    )  # fmt: skip
    schedule = model.model.model_sampling
    schedule.set_sigmas(schedule.sigmas[:500])  # Its highest is 157: what a random model makes of that shows every rounding error.
    return model


@cache
def pixart_alpha() -> Tiny:
    model = _pixart(comfy.supported_models.PixArtAlpha, image_model="pixart_alpha", micro_condition=True)
    return Tiny(model, _PIXART_LATENT, 32, {"width": 272, "height": 272})


@cache
def pixart_sigma() -> Tiny:
    model = _pixart(comfy.supported_models.PixArtSigma, image_model="pixart_sigma", micro_condition=False, pe_interpolation=2)
    return Tiny(model, _PIXART_LATENT, 32)


def _hunyuan_dit(kind: Callable[..., Any], **dimensions: Any) -> Tiny:
    model = built(
        kind, depth=4, hidden_size=64, num_heads=4, text_states_dim=32, text_states_dim_t5=64, text_len=7, text_len_t5=5, **dimensions
    )
    extras = {
        "attention_mask": torch.tensor([[1] * 5 + [0] * 2]),
        "conditioning_mt5xl": noise(1, 5, 64, seed=3),
        "attention_mask_mt5xl": torch.tensor([[1] * 4 + [0]]),
    }
    return Tiny(model, (4, 8, 8), 32, extras)


@cache
def hunyuan_dit() -> Tiny:
    return _hunyuan_dit(comfy.supported_models.HunyuanDiT, image_model="hydit")


@cache
def hunyuan_dit_first() -> Tiny:
    """Version 1.0 and 1.1, which know the picture's size and a style."""
    return _hunyuan_dit(comfy.supported_models.HunyuanDiT1, image_model="hydit1", size_cond=True, use_style_cond=True)


def _hunyuan_image(**dimensions: Any) -> comfy.model_patcher.ModelPatcher:
    shared: dict[str, Any] = {
        "out_channels": 64, "vec_in_dim": None, "context_in_dim": 64, "depth": 2, "depth_single_blocks": 2, "hidden_size": 128,
        "mlp_ratio": 4.0, "num_heads": 1, "theta": 256, "qkv_bias": True, "use_cond_type_embedding": False, "vision_in_dim": None,
        "meanflow_sum": False,
    }  # fmt: skip
    return loaded(HunyuanVideo, **shared, **dimensions)


@cache
def hunyuan_image() -> Tiny:
    model = _hunyuan_image(in_channels=64, patch_size=[1, 1], axes_dim=[64, 64], byt5=True, meanflow=False, guidance_embed=False)
    return Tiny(model, (64, 4, 4), 64, {"conditioning_byt5small": noise(1, 4, 1472, seed=3)})


@cache
def hunyuan_image_distilled() -> Tiny:
    model = _hunyuan_image(in_channels=64, patch_size=[1, 1], axes_dim=[64, 64], byt5=True, meanflow=True, guidance_embed=True)
    return Tiny(model, (64, 4, 4), 64, {"conditioning_byt5small": noise(1, 4, 1472, seed=3), "guidance": 3.5})


@cache
def hunyuan_image_refiner() -> Tiny:
    model = _hunyuan_image(in_channels=128, patch_size=[1, 1, 1], axes_dim=[16, 56, 56], byt5=False, meanflow=True, guidance_embed=True)
    plain = comfy.latent_formats.LatentFormat()  # Its own doubles the channels of a latent that is not empty, but not those of the noise.
    plain.latent_channels, plain.latent_dimensions = 64, 3
    model.model.latent_format = plain
    return Tiny(model, (64, 2, 4, 4), 64, {"concat_latent_image": noise(1, 64, 2, 4, 4, seed=3), "guidance": 3.5})


@cache
def _flux2(guidance: bool) -> comfy.model_patcher.ModelPatcher:
    return loaded(
        Flux, in_channels=128, out_channels=128, vec_in_dim=None, context_in_dim=96, hidden_size=128, mlp_ratio=3.0, num_heads=1, depth=2,
        depth_single_blocks=2, axes_dim=[32, 32, 32, 32], theta=2000, patch_size=1, qkv_bias=False, guidance_embed=guidance,
        txt_ids_dims=[3], global_modulation=True, mlp_silu_act=True, ops_bias=False, default_ref_method="index", ref_index_scale=10.0,
    )  # fmt: skip


def flux2_dev() -> Tiny:
    return Tiny(_flux2(True), (128, 4, 4), 96, {"pooled_output": None, "guidance": 4.0})


def flux2_dev_reference() -> Tiny:
    dev = flux2_dev()
    return Tiny(dev.model, dev.latent, dev.width, {**dev.extras, "reference_latents": [noise(1, 128, 4, 4, seed=4)]})


def flux2_klein() -> Tiny:
    return Tiny(_flux2(False), (128, 4, 4), 96, {"pooled_output": None})


@cache
def longcat_image() -> Tiny:
    model = loaded(
        Flux, in_channels=16, out_channels=16, vec_in_dim=None, context_in_dim=3584, hidden_size=128, mlp_ratio=4.0, num_heads=1, depth=2,
        depth_single_blocks=2, axes_dim=[16, 56, 56], theta=10000, patch_size=2, qkv_bias=True, guidance_embed=False, txt_ids_dims=[1, 2],
    )  # fmt: skip
    return Tiny(model, (16, 8, 8), 3584)


@cache
def chroma_radiance() -> Tiny:
    dimensions: dict[str, Any] = {
        "image_model": "chroma_radiance", "in_channels": 3, "out_channels": 3, "context_in_dim": 64, "hidden_size": 128, "mlp_ratio": 4.0,
        "num_heads": 1, "depth": 2, "depth_single_blocks": 2, "axes_dim": [16, 56, 56], "theta": 10000, "patch_size": 8, "qkv_bias": True,
        "in_dim": 64, "out_dim": 128, "hidden_dim": 64, "n_layers": 1, "txt_ids_dims": [], "vec_in_dim": None, "nerf_hidden_size": 16,
        "nerf_mlp_ratio": 2, "nerf_depth": 2, "nerf_max_freqs": 4, "nerf_tile_size": 512, "nerf_final_head_type": "conv",
        "nerf_embedder_dtype": torch.float32, "use_x0": False,
    }  # fmt: skip
    if "use_sequential_txt_ids" in ChromaRadianceParams.__dataclass_fields__:
        dimensions["use_sequential_txt_ids"] = True
    return Tiny(built(comfy.supported_models.ChromaRadiance, **dimensions), (3, 32, 32), 64, {"pooled_output": None})


@cache
def _hidream_model() -> comfy.model_patcher.ModelPatcher:
    return built(
        comfy.supported_models.HiDream, image_model="hidream", attention_head_dim=32, axes_dims_rope=[16, 8, 8], caption_channels=[48, 64],
        max_resolution=[16, 16], in_channels=16, out_channels=16, llama_layers=[0, 1, 1, 1], num_attention_heads=2, num_routed_experts=4,
        num_activated_experts=2, num_layers=2, num_single_layers=2, patch_size=2, text_emb_dim=32,
    )  # fmt: skip


def hidream() -> Tiny:
    extras = {"pooled_output": noise(1, 32, seed=3), "conditioning_llama3": noise(1, 2, 6, 64, seed=4)}
    return Tiny(_hidream_model(), (16, 8, 8), 48, extras)


def hidream_edit() -> Tiny:
    first = hidream()
    return Tiny(first.model, first.latent, first.width, {**first.extras, "concat_latent_image": noise(1, 16, 8, 8, seed=5)})


IMAGES: dict[str, Callable[[], Tiny]] = {
    "sd3": sd3,
    "sd3.5 medium": sd35_medium,
    "auraflow": auraflow,
    "pixart alpha": pixart_alpha,
    "pixart sigma": pixart_sigma,
    "hunyuan_dit": hunyuan_dit,
    "hunyuan_dit 1.0": hunyuan_dit_first,
    "hunyuan_image": hunyuan_image,
    "hunyuan_image distilled": hunyuan_image_distilled,
    "hunyuan_image refiner": hunyuan_image_refiner,
    "flux2 dev": flux2_dev,
    "flux2 dev reference": flux2_dev_reference,
    "flux2 klein": flux2_klein,
    "longcat_image": longcat_image,
    "chroma radiance": chroma_radiance,
    **LUMINA,
    "hidream": hidream,
    "hidream edit": hidream_edit,
}
