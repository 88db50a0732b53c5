"""Tiny random models of images: Lumina 2, Z-Image and HiDream-O1."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any

import comfy.model_patcher
import comfy.supported_models
import torch

from .tiny import Tiny, built, noise


def strengthened(model: comfy.model_patcher.ModelPatcher, part: str, factor: float) -> comfy.model_patcher.ModelPatcher:
    """`model` with larger weights in a part of it that changes hardly anything otherwise."""
    for name, parameter in model.model.diffusion_model.named_parameters():
        if part in name:
            parameter.mul_(factor)
    return model


def _next_dit(kind: Callable[..., Any], **dimensions: Any) -> comfy.model_patcher.ModelPatcher:
    shared: dict[str, Any] = {
        "patch_size": 2, "in_channels": 16, "dim": 64, "cap_feat_dim": 32, "n_layers": 3, "n_refiner_layers": 1, "n_heads": 2,
        "qk_norm": True, "axes_dims": [16, 8, 8], "axes_lens": [64, 64, 64],
    }  # fmt: skip
    return built(kind, **{**shared, **dimensions})


@cache
def lumina2() -> Tiny:
    model = _next_dit(comfy.supported_models.Lumina2, image_model="lumina2", n_kv_heads=1, rope_theta=10000.0, ffn_dim_multiplier=4.0)
    return Tiny(model, (16, 8, 8), 32, {"attention_mask": torch.ones(1, 7)})


@cache
def newbie() -> Tiny:
    model = _next_dit(comfy.supported_models.Lumina2, image_model="lumina2", n_kv_heads=1, rope_theta=10000.0, clip_text_dim=24)
    return Tiny(model, (16, 8, 8), 32, {"pooled_output": noise(1, 24, seed=3)})


_Z_IMAGE: dict[str, Any] = {
    "dim": 256, "n_heads": 4, "n_kv_heads": 1, "axes_dims": [32, 16, 16], "rope_theta": 256.0, "ffn_dim_multiplier": 1.0,
    "z_image_modulation": True, "time_scale": 1000.0, "pad_tokens_multiple": 32,
}  # fmt: skip


@cache
def z_image() -> Tiny:
    return Tiny(_next_dit(comfy.supported_models.ZImage, image_model="lumina2", **_Z_IMAGE), (16, 8, 8), 32)


@cache
def z_image_omni() -> Tiny:
    seen = SimpleNamespace(image_sizes=[(3, 32, 32)], last_hidden_state=noise(1, 4, 24, seed=5))
    extras = {
        "reference_latents": [noise(1, 16, 8, 8, seed=3)],
        "reference_latents_text_embeds": [noise(1, 5, 32, seed=4)],
        "clip_vision_outputs": [seen],
    }
    return Tiny(_next_dit(comfy.supported_models.ZImage, image_model="lumina2", siglip_feat_dim=24, **_Z_IMAGE), (16, 8, 8), 32, extras)


@cache
def z_image_pixel() -> Tiny:
    model = _next_dit(
        comfy.supported_models.ZImagePixelSpace, image_model="zimage_pixel", **{**_Z_IMAGE, "patch_size": 8, "in_channels": 3},
        decoder_in_channels=192, decoder_hidden_size=32, decoder_num_res_blocks=2, decoder_max_freqs=4,
    )  # fmt: skip
    return Tiny(strengthened(model, "dec_net.", 2), (3, 32, 32), 32)


class _ByTokens(Tiny):
    """A model that reads the text's tokens itself."""

    def conditioning(self, seed: int, tokens: int = 7, **extras: Any) -> list[list[Any]]:
        drawn = torch.randint(0, 60, (1, tokens - 1), generator=torch.Generator().manual_seed(seed))
        ids = torch.cat((drawn, torch.tensor([[self.dit.tms_token_id]])), dim=1)
        return Tiny.conditioning(self, seed, tokens, text_input_ids=ids, **extras)


@cache
def hidream_o1() -> Tiny:
    """Its blocks keep keys and values of the text from step to step."""
    text = {
        "vocab_size": 64, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 3, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 16, "rope_dims": [4, 2, 2],
    }  # fmt: skip
    vision = {"hidden_size": 32, "num_heads": 2, "intermediate_size": 64, "depth": 2, "num_position_embeddings": 16}
    model = built(comfy.supported_models.HiDreamO1, image_model="hidream_o1", text_config_overrides=text, vision_config_overrides=vision)
    model.model.diffusion_model.tms_token_id = 63
    return _ByTokens(model, (3, 128, 128), 64)


LUMINA: dict[str, Callable[[], Tiny]] = {
    "lumina2": lumina2,
    "newbie": newbie,
    "z_image": z_image,
    "z_image omni": z_image_omni,
    "z_image pixel": z_image_pixel,
}
WHOLE: dict[str, Callable[[], Tiny]] = {"hidream_o1": hidream_o1} if hasattr(comfy.supported_models, "HiDreamO1") else {}
"""Models that can only be skipped as a whole."""
