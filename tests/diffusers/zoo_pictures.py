"""Tiny transformers of pictures that take latents as they are, and cut them into tokens themselves."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from .tiny import Case, built, noise
from .zoo_images import BFLOAT16, at

HEADS: dict[str, Any] = {"attention_head_dim": 8, "num_attention_heads": 4, "num_layers": 2}


def _auraflow(seed: int) -> dict[str, Any]:
    return {"hidden_states": noise(1, 4, 8, 8, seed=seed), "encoder_hidden_states": noise(1, 7, 32, seed=seed + 50), "timestep": at(0.5)}


def _sized(seed: int) -> dict[str, Any]:
    size = torch.tensor([[8.0, 8.0]])
    return {
        "hidden_states": noise(1, 4, 8, 8, seed=seed),
        "encoder_hidden_states": noise(1, 7, 16, seed=seed + 50),
        "timestep": at(500),
        "original_size": size,
        "target_size": size,
        "crop_coords": torch.zeros(1, 2),
    }


def _glm(seed: int) -> dict[str, Any]:
    arguments = _sized(seed)
    del arguments["original_size"]
    return {**arguments, "prior_token_id": torch.arange(16)[None], "prior_token_drop": torch.zeros(1, 16, dtype=torch.bool)}


def _dit(seed: int) -> dict[str, Any]:
    return {"hidden_states": noise(1, 4, 8, 8, seed=seed), "timestep": torch.tensor([500]), "class_labels": torch.tensor([seed % 8])}


def _hunyuan_dit(seed: int, control: bool = False) -> dict[str, Any]:
    arguments = {
        "hidden_states": noise(2, 4, 8, 8, seed=seed),
        "timestep": at(500, 2),
        "encoder_hidden_states": noise(2, 7, 16, seed=seed + 50),
        "text_embedding_mask": torch.ones(2, 7, dtype=torch.bool),
        "encoder_hidden_states_t5": noise(2, 5, 16, seed=seed + 60),
        "text_embedding_mask_t5": torch.ones(2, 5, dtype=torch.bool),
        "image_meta_size": torch.full((2, 6), 8.0),
        "style": torch.zeros(2, dtype=torch.long),
        "image_rotary_emb": (noise(16, 8, seed=1).cos(), noise(16, 8, seed=1).sin()),
    }
    return {**arguments, "controlnet_block_samples": [noise(2, 16, 32, seed=4)]} if control else arguments


def _pixart(seed: int) -> dict[str, Any]:
    return {
        "hidden_states": noise(1, 4, 8, 8, seed=seed),
        "encoder_hidden_states": noise(1, 7, 16, seed=seed + 50),
        "timestep": torch.tensor([500]),
        "added_cond_kwargs": {"aspect_ratio": None, "resolution": None},
    }


def _sana(seed: int, control: bool = False) -> dict[str, Any]:
    arguments = {
        "hidden_states": noise(1, 4, 8, 8, seed=seed),
        "encoder_hidden_states": noise(1, 7, 16, seed=seed + 50),
        "timestep": at(500),
    }
    return {**arguments, "controlnet_block_samples": [noise(1, 64, 32, seed=8 + place) for place in range(2)]} if control else arguments


def _sd3(seed: int, control: bool = False, rows: int = 1) -> dict[str, Any]:
    arguments = {
        "hidden_states": noise(rows, 4, 8, 8, seed=seed),
        "encoder_hidden_states": noise(rows, 7, 32, seed=seed + 50),
        "pooled_projections": noise(rows, 16, seed=seed + 60),
        "timestep": at(500, rows),
    }
    return {**arguments, "block_controlnet_hidden_states": [noise(rows, 16, 32, seed=8)]} if control else arguments


def _lumina2(seed: int) -> dict[str, Any]:
    mask = torch.ones(2, 7, dtype=torch.bool)
    mask[1, 4:] = False  # The second prompt is shorter.
    return {
        "hidden_states": noise(2, 4, 8, 8, seed=seed),
        "timestep": at(0.5, 2),
        "encoder_hidden_states": noise(2, 7, 32, seed=seed + 50),
        "encoder_attention_mask": mask,
    }


def _lumina_next(seed: int) -> dict[str, Any]:
    from diffusers.models.embeddings import get_2d_rotary_pos_embed_lumina

    return {
        "hidden_states": noise(1, 4, 8, 8, seed=seed),
        "timestep": at(0.5),
        "encoder_hidden_states": noise(1, 7, 16, seed=seed + 50),
        "encoder_mask": torch.ones(1, 7),
        "cross_attention_kwargs": {},
        "image_rotary_emb": get_2d_rotary_pos_embed_lumina(8, 16, 16, linear_factor=1.0, ntk_factor=1.0),
    }


def _z_image(seed: int, prompts: tuple[int, ...] = (6,), control: bool = False) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "x": [noise(4, 1, 8, 8, seed=seed + place) for place in range(len(prompts))],
        "t": at(0.5, len(prompts)),
        "cap_feats": [noise(count, 16, seed=seed + 50) for count in prompts],
    }
    if control:  # A sample for the tokens of picture and prompt, each rounded up to 32.
        arguments["controlnet_block_samples"] = {0: noise(len(prompts), 64, 32, seed=8)}
    return arguments


def _hidream(seed: int, wide: bool = False) -> dict[str, Any]:
    return {
        "hidden_states": noise(1, 4, 4 if wide else 8, 8, seed=seed),
        "timesteps": at(500),
        "encoder_hidden_states_t5": noise(1, 5, 16, seed=seed + 50),
        "encoder_hidden_states_llama3": noise(3, 1, 5, 16, seed=seed + 60),
        "pooled_embeds": noise(1, 8, seed=seed + 70),
    }


def _hunyuan_image(seed: int) -> dict[str, Any]:
    return {
        "hidden_states": noise(1, 4, 6, 6, seed=seed),
        "timestep": at(500),
        "encoder_hidden_states": noise(1, 7, 16, seed=seed + 50),
        "encoder_attention_mask": torch.ones(1, 7),
        "encoder_hidden_states_2": noise(1, 3, 12, seed=seed + 60),
        "encoder_attention_mask_2": torch.ones(1, 3),
    }


def _sample(channels: int, size: int = 8) -> dict[str, Any]:
    return {"in_channels": channels, "out_channels": channels, "patch_size": 2, "sample_size": size}


def auraflow() -> Any:
    return built(
        "AuraFlowTransformer2DModel", sample_size=8, patch_size=2, in_channels=4, num_mmdit_layers=2, num_single_dit_layers=2,
        attention_head_dim=8, num_attention_heads=4, joint_attention_dim=32, caption_projection_dim=32, pos_embed_max_size=64,
    )  # fmt: skip


def cogview(name: str, **config: Any) -> Any:
    return built(
        name, patch_size=2, in_channels=4, out_channels=4, text_embed_dim=16, time_embed_dim=16, condition_dim=8, **HEADS, **config
    )  # fmt: skip


def hunyuan_dit() -> Any:
    return built(
        "HunyuanDiT2DModel", sample_size=8, patch_size=2, in_channels=4, num_layers=4, attention_head_dim=8, num_attention_heads=4,
        hidden_size=32, cross_attention_dim=16, cross_attention_dim_t5=16, pooled_projection_dim=16, text_len=7, text_len_t5=5,
    )  # fmt: skip


def pixart() -> Any:
    config = {**_sample(4), "out_channels": 8, "cross_attention_dim": 32, "caption_channels": 16, "use_additional_conditions": False}
    return built("PixArtTransformer2DModel", **config, **HEADS)


def sana() -> Any:
    return built(
        "SanaTransformer2DModel", in_channels=4, out_channels=4, num_cross_attention_heads=4, cross_attention_head_dim=8,
        cross_attention_dim=32, caption_channels=16, sample_size=8, **HEADS,
    )  # fmt: skip


def sd3() -> Any:
    config = {**_sample(4), "joint_attention_dim": 32, "caption_projection_dim": 32, "pooled_projection_dim": 16}
    return built("SD3Transformer2DModel", pos_embed_max_size=16, **config, **HEADS)


def lumina2() -> Any:
    return built(
        "Lumina2Transformer2DModel", sample_size=8, patch_size=2, in_channels=4, hidden_size=24, num_layers=2, num_refiner_layers=1,
        num_attention_heads=2, num_kv_heads=1, multiple_of=8, axes_dim_rope=(4, 4, 4), axes_lens=(32, 16, 16), cap_feat_dim=32,
    )  # fmt: skip


def lumina_next() -> Any:
    return built(
        "LuminaNextDiT2DModel", sample_size=8, patch_size=2, in_channels=4, hidden_size=32, num_layers=2, num_attention_heads=4,
        num_kv_heads=2, multiple_of=8, cross_attention_dim=16,
    )  # fmt: skip


def z_image() -> Any:
    return built(
        "ZImageTransformer2DModel", in_channels=4, dim=32, n_layers=2, n_refiner_layers=1, n_heads=2, n_kv_heads=2, cap_feat_dim=16,
        axes_dims=[4, 6, 6], axes_lens=[256, 32, 32],
    )  # fmt: skip


def hidream() -> Any:
    return built(
        "HiDreamImageTransformer2DModel", patch_size=2, in_channels=4, out_channels=4, num_layers=2, num_single_layers=2,
        attention_head_dim=8, num_attention_heads=4, caption_channels=[16, 16], text_emb_dim=8, num_routed_experts=2,
        num_activated_experts=1, axes_dims_rope=(4, 2, 2), max_resolution=(8, 8), llama_layers=[0, 1, 2, 2],
    )  # fmt: skip


def hunyuan_image() -> Any:
    return built(
        "HunyuanImageTransformer2DModel", in_channels=4, out_channels=4, num_attention_heads=2, attention_head_dim=8, num_layers=2,
        num_single_layers=2, num_refiner_layers=1, text_embed_dim=16, text_embed_2_dim=12, rope_axes_dim=(4, 4),
    )  # fmt: skip


PICTURES: dict[str, Case] = {
    "auraflow": Case(auraflow, _auraflow),
    "cogview3plus": Case(lambda: cogview("CogView3PlusTransformer2DModel", pos_embed_max_size=8, sample_size=8), _sized),
    "cogview4": Case(lambda: cogview("CogView4Transformer2DModel", sample_size=8, rope_axes_dim=(8, 8)), _sized),
    "glm_image": Case(lambda: cogview("GlmImageTransformer2DModel", prior_vq_quantizer_codebook_size=16), _glm),
    "dit": Case(lambda: built("DiTTransformer2DModel", **_sample(4), num_embeds_ada_norm=8, **HEADS), _dit),
    "hunyuan_dit": Case(hunyuan_dit, _hunyuan_dit),
    "pixart": Case(pixart, _pixart),
    "sana": Case(sana, _sana),
    "sana with a ControlNet": Case(sana, partial(_sana, control=True)),
    "sd3": Case(sd3, _sd3),
    "sd3, two rows": Case(sd3, partial(_sd3, rows=2)),
    "sd3 with a ControlNet": Case(sd3, partial(_sd3, control=True)),
    "sd3, bfloat16": Case(sd3, _sd3, BFLOAT16),
    "lumina2, prompts of two lengths": Case(lumina2, _lumina2),
    "lumina_next": Case(lumina_next, _lumina_next),
    "z_image": Case(z_image, _z_image),
    "z_image, prompts of two lengths": Case(z_image, partial(_z_image, prompts=(6, 40))),
    "z_image with a ControlNet": Case(z_image, partial(_z_image, control=True)),
    "z_image, bfloat16": Case(z_image, _z_image, BFLOAT16),
    "hidream": Case(hidream, _hidream),
    "hidream, not square": Case(hidream, partial(_hidream, wide=True), found=False),
    "hunyuan_image": Case(hunyuan_image, _hunyuan_image),
}
