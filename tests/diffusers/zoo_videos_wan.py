"""Tiny random models of Wan and of what is built like it."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from .tiny import Case, built, noise

LATENT = (2, 8, 8)
"""Frames, height and width: 2 × 4 × 4 tokens."""
TEXT, CLIP = 16, 8
SIZES: dict[str, Any] = {
    "patch_size": (1, 2, 2), "num_attention_heads": 2, "attention_head_dim": 12, "in_channels": 4, "out_channels": 4, "text_dim": TEXT,
    "freq_dim": 16, "ffn_dim": 32, "num_layers": 2, "rope_max_seq_len": 32,
}  # fmt: skip


def t2v(seed: int, channels: int = 4, **more: Any) -> dict[str, Any]:
    video, text = noise(1, channels, *LATENT, seed=seed), noise(1, 5, TEXT, seed=seed + 1)
    return {"hidden_states": video, "timestep": torch.tensor([600 - 100 * seed]), "encoder_hidden_states": text, **more}


def _i2v(seed: int) -> dict[str, Any]:
    return t2v(seed, 9, encoder_hidden_states_image=noise(1, 3, CLIP, seed=seed + 2))


def _given_frame(seed: int) -> dict[str, Any]:
    """Each token has a time step of its own, which is 0 where the first frame is given."""
    return t2v(seed, timestep=torch.cat([torch.zeros(1, 16), torch.full((1, 16), 600.0 - seed)], dim=1))


def _vace(seed: int) -> dict[str, Any]:
    return t2v(seed, control_hidden_states=noise(1, 6, *LATENT, seed=seed + 2), control_hidden_states_scale=torch.tensor([1.0, 0.5]))


def _animate(seed: int) -> dict[str, Any]:
    """The first frame is that of the reference: there is no pose or face for it."""
    face, clip = noise(1, 3, 5, 16, 16, seed=seed + 2), noise(1, 3, CLIP, seed=seed + 3)
    video = noise(1, 12, 3, 8, 8, seed=seed)
    return t2v(
        seed, hidden_states=video, pose_hidden_states=noise(1, 4, *LATENT, seed=seed + 4), face_pixel_values=face,
        encoder_hidden_states_image=clip,
    )  # fmt: skip


def _forcing(seed: int) -> dict[str, Any]:
    """Each frame has a time step of its own."""
    return t2v(seed, timestep=torch.tensor([[600 - seed, 800 - seed]]), enable_diffusion_forcing=True)


def _animate2_model() -> nn.Module:
    model: Any = built(
        "WanAnimate2Transformer3DModel", in_dim=8, dim=48, ffn_dim=32, freq_dim=16, text_dim=TEXT, out_dim=4, num_heads=2,
        num_layers=2, text_len=5, use_img_emb=False,
    )  # fmt: skip
    model.create_mask = lambda *_: None  # Which tokens see which; making it takes a C++ compiler.
    return model


def _animate2(seed: int) -> dict[str, Any]:
    """A forward that reads what another one wrote of the reference."""
    memory = pytest.importorskip("diffusers.models.transformers.transformer_wan_animate_2").WanAnimate2KVCache(2)
    for place, layer in enumerate(memory.layer_caches):
        layer.store(noise(1, 32, 2, 24, seed=place), noise(1, 32, 2, 24, seed=place + 2))
    return {
        "hidden_states": [noise(4, *LATENT, seed=seed)], "condition_latents": [noise(4, *LATENT, seed=seed + 1)],
        "timestep": torch.tensor([600 - seed]), "encoder_hidden_states": [noise(4, TEXT, seed=seed + 2)], "kv_cache": memory,
        "kv_cache_mode": "cached", "seq_len": 32, "reference_grid_sizes": torch.tensor([[2, 4, 4]]), "origin_len": 5,
        "origin_area": [64, 64],
    }  # fmt: skip


_vace_model = partial(built, "WanVACETransformer3DModel", **SIZES, vace_layers=[0, 1], vace_in_channels=6)
_i2v_model = partial(built, "WanTransformer3DModel", **{**SIZES, "in_channels": 9}, image_dim=CLIP, added_kv_proj_dim=24)
_animate_model = partial(
    built, "WanAnimateTransformer3DModel", **{**SIZES, "in_channels": 12}, latent_channels=4, image_dim=CLIP, added_kv_proj_dim=24,
    motion_encoder_channel_sizes={"4": 8, "8": 8, "16": 8}, motion_encoder_size=16, motion_style_dim=8, motion_dim=4, motion_encoder_dim=8,
    face_encoder_hidden_dim=8, face_encoder_num_heads=2, inject_face_latents_blocks=2,
)  # fmt: skip

WANS: dict[str, Case] = {
    "wan": Case(partial(built, "WanTransformer3DModel", **SIZES), t2v),
    "wan_bfloat16": Case(partial(built, "WanTransformer3DModel", **SIZES), t2v, dtype=torch.bfloat16),
    "wan_i2v": Case(_i2v_model, _i2v),
    "wan_given_frame": Case(partial(built, "WanTransformer3DModel", **SIZES), _given_frame),
    "wan_vace": Case(_vace_model, _vace),
    "wan_animate": Case(_animate_model, _animate),
    "wan_animate2": Case(_animate2_model, _animate2),
    "skyreels_v2": Case(partial(built, "SkyReelsV2Transformer3DModel", **SIZES), t2v),
    "skyreels_v2_forcing": Case(partial(built, "SkyReelsV2Transformer3DModel", **SIZES), _forcing),
    "chronoedit": Case(partial(built, "ChronoEditTransformer3DModel", **SIZES), t2v),
}
