"""Tiny random models of sound."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from diffusers.models.embeddings import get_1d_rotary_pos_embed

from .tiny import Case, built, noise

TEXT = 12


def _ace_step(seed: int) -> dict[str, Any]:
    time = torch.full((2,), 0.6 - 0.1 * seed)
    return {
        "hidden_states": noise(2, 9, 4, seed=seed), "timestep": time, "timestep_r": time, "context_latents": noise(2, 9, 8, seed=seed + 1),
        "encoder_hidden_states": noise(2, 5, 32, seed=seed + 2),
    }  # fmt: skip


def _longcat(seed: int) -> dict[str, Any]:
    return {
        "hidden_states": noise(1, 9, 4, seed=seed), "timestep": torch.tensor([0.6 - 0.1 * seed]),
        "encoder_hidden_states": noise(1, 5, TEXT, seed=seed + 1), "encoder_attention_mask": torch.tensor([[True] * 4 + [False]]),
        "attention_mask": torch.ones(1, 9, dtype=torch.bool), "latent_cond": noise(1, 9, 4, seed=seed + 2),
    }  # fmt: skip


def _music3(seed: int) -> dict[str, Any]:
    time, text = torch.tensor([0.6 - 0.1 * seed]), noise(1, 9, TEXT, seed=seed + 1)
    return {"hidden_states": noise(1, 4, 9, seed=seed), "timestep": time, "encoder_hidden_states": text}


def _stable_audio(seed: int) -> dict[str, Any]:
    places = get_1d_rotary_pos_embed(8, 10, use_real=True, repeat_interleave_real=False)
    return {
        "hidden_states": noise(2, 4, 9, seed=seed), "timestep": torch.tensor([0.6 - 0.1 * seed] * 2), "rotary_embedding": places,
        "encoder_hidden_states": noise(2, 5, TEXT, seed=seed + 1), "global_hidden_states": noise(2, 1, TEXT, seed=seed + 2),
    }  # fmt: skip


def _stable_audio3(seed: int) -> dict[str, Any]:
    return {
        "hidden_states": noise(1, 4, 9, seed=seed), "timestep": torch.tensor([0.6 - 0.1 * seed]),
        "encoder_hidden_states": noise(1, 5, TEXT, seed=seed + 1), "global_hidden_states": noise(1, TEXT, seed=seed + 2),
        "encoder_attention_mask": torch.tensor([[1, 1, 1, 0, 0]]), "local_add_cond": noise(1, 3, 9, seed=seed + 3),
    }  # fmt: skip


_ace_step_model = partial(
    built, "AceStepTransformer1DModel", hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
    num_key_value_heads=1, head_dim=16, in_channels=12, audio_acoustic_hidden_dim=4, patch_size=2, sliding_window=2,
)  # fmt: skip
_longcat_model = partial(built, "LongCatAudioDiTTransformer", dit_dim=32, dit_depth=2, dit_heads=2, dit_text_dim=TEXT, latent_dim=4)
_music3_model = partial(
    built, "MiniMaxMusic3Transformer1DModel", in_channels=4, condition_dim=TEXT, num_layers=2, num_attention_heads=2, attention_head_dim=16,
    ff_inner_dim=48, rotary_dim=8, fourier_embedding_dim=16,
)  # fmt: skip
_stable_audio_model = partial(
    built, "StableAudioDiTModel", sample_size=9, in_channels=4, num_layers=2, attention_head_dim=16, num_attention_heads=2,
    num_key_value_attention_heads=1, out_channels=4, cross_attention_dim=16, time_proj_dim=8, global_states_input_dim=TEXT,
    cross_attention_input_dim=TEXT,
)  # fmt: skip
_stable_audio3_model = partial(
    built, "StableAudio3DiTModel", io_channels=4, embed_dim=32, depth=2, num_heads=2, cond_token_dim=TEXT, global_cond_dim=TEXT,
    local_add_cond_dim=3, timestep_features_dim=16, num_memory_tokens=3,
)  # fmt: skip

SOUNDS: dict[str, Case] = {
    "ace_step15": Case(_ace_step_model, _ace_step, size=0.3),
    "longcat_audio": Case(_longcat_model, _longcat),
    "longcat_audio_no_long_skip": Case(partial(_longcat_model, long_skip=False, adaln_type="local"), _longcat),
    "minimax_music3": Case(_music3_model, _music3, size=0.3),
    "stable_audio": Case(_stable_audio_model, _stable_audio),
    "stable_audio3": Case(_stable_audio3_model, _stable_audio3),
}
