"""Tiny random models of HunyuanVideo and FramePack."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from .tiny import Case, built, noise

LATENT = (3, 8, 8)
TEXT, POOLED, CLIP = 16, 8, 12
SIZES: dict[str, Any] = {
    "in_channels": 4, "out_channels": 4, "num_attention_heads": 2, "attention_head_dim": 10, "num_layers": 2, "num_single_layers": 2,
    "num_refiner_layers": 1, "patch_size": 2, "patch_size_t": 1, "text_embed_dim": TEXT, "pooled_projection_dim": POOLED,
    "rope_axes_dim": (2, 4, 4),
}  # fmt: skip


def t2v(seed: int, channels: int = 4, **more: Any) -> dict[str, Any]:
    return {
        "hidden_states": noise(1, channels, *LATENT, seed=seed), "timestep": torch.tensor([600.0 - 100 * seed]),
        "encoder_hidden_states": noise(1, 5, TEXT, seed=seed + 1), "encoder_attention_mask": torch.tensor([[1, 1, 1, 1, 0]]),
        "pooled_projections": noise(1, POOLED, seed=seed + 2), **more,
    }  # fmt: skip


def _guided(seed: int) -> dict[str, Any]:
    return t2v(seed, guidance=torch.tensor([6000.0]))


def framepack(seed: int, history_first: bool = False) -> dict[str, Any]:
    """A section of 3 frames, with the begin and 1, 2 and 16 frames of the video that are given: they stand in front or behind it."""
    places = torch.arange(23).split([1, 16, 2, 1, 3] if history_first else [1, 3, 1, 2, 16])
    first, four, two, one, own = places if history_first else (places[0], places[4], places[3], places[2], places[1])
    return t2v(
        seed, guidance=torch.tensor([6000.0]), image_embeds=noise(1, 3, CLIP, seed=seed + 3), indices_latents=own,
        latents_clean=noise(1, 4, 2, 8, 8, seed=7), indices_latents_clean=torch.cat([first, one]),
        latents_history_2x=noise(1, 4, 2, 8, 8, seed=8), indices_latents_history_2x=two,
        latents_history_4x=noise(1, 4, 16, 8, 8, seed=9), indices_latents_history_4x=four,
    )  # fmt: skip


def _t2v15(seed: int) -> dict[str, Any]:
    """Without an image, which is told by its embeddings, all 0."""
    given = {name: value for name, value in t2v(seed).items() if name != "pooled_projections"}
    return {
        **given, "encoder_attention_mask": torch.tensor([[1.0, 1, 1, 1, 0]]), "encoder_hidden_states_2": noise(1, 4, POOLED, seed=seed + 3),
        "encoder_attention_mask_2": torch.tensor([[1.0, 1, 0, 0]]), "image_embeds": torch.zeros(1, 3, CLIP),
    }  # fmt: skip


def _i2v15(seed: int) -> dict[str, Any]:
    return {**_t2v15(seed), "image_embeds": noise(1, 3, CLIP, seed=seed + 4)}


_KEPT = {name: value for name, value in SIZES.items() if name not in ("num_single_layers", "pooled_projection_dim")}
_v15_model = partial(built, "HunyuanVideo15Transformer3DModel", **_KEPT, text_embed_2_dim=POOLED, image_embed_dim=CLIP)
_model = partial(built, "HunyuanVideoTransformer3DModel", **SIZES)
_framepack_model = partial(
    built, "HunyuanVideoFramepackTransformer3DModel", **SIZES, has_image_proj=True, image_proj_dim=CLIP, has_clean_x_embedder=True
)

HUNYUANS: dict[str, Case] = {
    "hunyuan_video": Case(partial(_model, guidance_embeds=False), t2v),
    "hunyuan_video_guided": Case(_model, _guided),
    "hunyuan_video_token_replace": Case(partial(_model, image_condition_type="token_replace"), _guided),
    "framepack": Case(_framepack_model, framepack),
    "framepack_history_first": Case(_framepack_model, partial(framepack, history_first=True)),
    "hunyuan_video15": Case(_v15_model, _t2v15),
    "hunyuan_video15_i2v": Case(_v15_model, _i2v15),
}
