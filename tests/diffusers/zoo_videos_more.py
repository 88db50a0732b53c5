"""Tiny random models of video that generate piece by piece, or with sound and text in one sequence."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from .tiny import Case, built, noise

TEXT, TOKENS = 16, 5
WAN_SIZES: dict[str, Any] = {
    "patch_size": (1, 2, 2), "num_attention_heads": 2, "attention_head_dim": 12, "in_channels": 4, "out_channels": 4, "text_dim": TEXT,
    "freq_dim": 16, "ffn_dim": 32, "num_layers": 2,
}  # fmt: skip


def _anyflow(seed: int, frames: int = 2, **more: Any) -> dict[str, Any]:
    """Frames stand in front of the channels. The model goes from one time to another."""
    begin, end = torch.full((2, frames), 600.0 - 100 * seed), torch.full((2, frames), 300.0)
    text = noise(2, TOKENS, TEXT, seed=seed + 1)
    return {
        "hidden_states": noise(2, frames, 4, 8, 8, seed=seed),
        "timestep": begin,
        "r_timestep": end,
        "encoder_hidden_states": text,
        **more,
    }


def _anyflow_far(seed: int) -> dict[str, Any]:
    """The third frame, with what the blocks wrote of the others in memory: the first one compressed."""
    memory = [
        {"compressed_cache": noise(2, 2, 2, 4, 12, seed=layer), "full_cache": noise(2, 2, 2, 32, 12, seed=layer)} for layer in range(2)
    ]
    return _anyflow(seed, 1, chunk_partition=[1, 1, 1], kv_cache=memory, kv_cache_flag={"num_cached_chunks": 2, "is_cache_step": False})


def _helios(seed: int) -> dict[str, Any]:
    """With 2, 2 and 4 frames of what was made before."""
    places = torch.arange(10).split([4, 2, 2, 2])
    history = {"long": (4, places[0]), "mid": (2, places[1]), "short": (2, places[2])}
    given = {f"latents_history_{name}": noise(1, 4, frames, 8, 8, seed=frames) for name, (frames, _) in history.items()}
    given |= {f"indices_latents_history_{name}": place[None] for name, (_, place) in history.items()}
    return {
        "hidden_states": noise(1, 4, 2, 8, 8, seed=seed), "timestep": torch.tensor([600 - 100 * seed]),
        "indices_hidden_states": places[3][None], "encoder_hidden_states": noise(1, TOKENS, TEXT, seed=seed + 1), **given,
    }  # fmt: skip


def _cosmos3(seed: int, sound: bool = True) -> dict[str, Any]:
    """Text, two frames of which the first is given, and sound."""
    frames, sounds = torch.arange(3, 11), torch.arange(11, 15)
    given: dict[str, Any] = {
        "input_ids": torch.tensor([1, 5, 3 + seed]), "text_indexes": torch.arange(3), "position_ids": torch.arange(15).expand(3, -1),
        "und_len": 3, "sequence_length": 15, "vision_tokens": [noise(1, 4, 2, 4, 4, seed=seed)], "vision_token_shapes": [(2, 2, 2)],
        "vision_sequence_indexes": frames, "vision_mse_loss_indexes": frames[4:], "vision_timesteps": torch.full((4,), 600.0 - seed),
        "vision_noisy_frame_indexes": [torch.tensor([1])],
    }  # fmt: skip
    if not sound:
        return {**given, "position_ids": torch.arange(11).expand(3, -1), "sequence_length": 11}
    return {
        **given, "sound_tokens": [noise(3, 4, seed=seed + 1)], "sound_token_shapes": [(4, 1, 1)], "sound_sequence_indexes": sounds,
        "sound_mse_loss_indexes": sounds, "sound_timesteps": torch.full((4,), 600.0 - seed), "sound_noisy_frame_indexes": [torch.arange(4)],
    }  # fmt: skip


def _minimax_h3(seed: int) -> dict[str, Any]:
    """Four tokens of text, three of sound and eight of video, the first four of which are given and have another time."""
    text, sound, video = torch.arange(15).split([4, 3, 8])
    kinds = torch.tensor([2] * 4 + [1] * 3 + [0] * 8)
    return {
        "hidden_states": noise(1, 8, 16, seed=seed), "audio_hidden_states": noise(1, 3, 6, seed=seed + 1),
        "encoder_hidden_states": noise(1, 4, TEXT, seed=seed + 2), "timestep": torch.tensor([0.0, 600.0 - 100 * seed]),
        "timestep_indices": torch.tensor([1] * 7 + [0] * 4 + [1] * 4), "token_tags": kinds,
        "position_ids": torch.arange(45).view(15, 3).float(), "video_indices": video, "audio_indices": sound, "text_indices": text,
    }  # fmt: skip


def _sana_wm(seed: int, camera: bool = True) -> dict[str, Any]:
    """The first frame is given, and the way of a camera."""
    given: dict[str, Any] = {
        "hidden_states": noise(2, 4, 2, 4, 4, seed=seed), "timestep": torch.tensor([[[0.0, 600.0 - 100 * seed]]] * 2),
        "encoder_hidden_states": noise(2, 1, TOKENS, TEXT, seed=seed + 1), "mask": torch.tensor([[1, 1, 1, 1, 0]] * 2),
    }  # fmt: skip
    if not camera:
        return given
    way = torch.cat([torch.eye(4).flatten(), torch.tensor([4.0, 4, 2, 2])]).expand(2, 2, -1).clone()
    way[:, 1, 3] = 0.5  # To the side.
    return {**given, "camera_conditions": way, "chunk_plucker": noise(2, 6, 2, 4, 4, seed=seed + 2)}


def _refiner(seed: int) -> dict[str, Any]:
    angles = noise(1, 32, 24, seed=9)
    return {
        "hidden_states": noise(1, 32, 4, seed=seed), "timestep": torch.full((1, 32), 600.0 - 100 * seed),
        "encoder_hidden_states": noise(1, TOKENS, TEXT, seed=seed + 1), "video_rotary_emb": (angles.cos(), angles.sin()),
        "encoder_attention_mask": torch.tensor([[1, 1, 1, 1, 0]]),
    }  # fmt: skip


_anyflow_sizes: dict[str, Any] = {**WAN_SIZES, "rope_max_seq_len": 32}
_far_model = partial(built, "AnyFlowFARTransformer3DModel", **_anyflow_sizes, full_chunk_limit=2, chunk_partition=(1, 1, 1))
_cosmos3_model = partial(
    built, "Cosmos3OmniTransformer", head_dim=16, hidden_size=32, intermediate_size=48, latent_channel=4, num_attention_heads=2,
    num_hidden_layers=2, num_key_value_heads=1, patch_latent_dim=16, sound_dim=3, sound_gen=True, vocab_size=11, rope_axes_dim=(4, 2, 2),
)  # fmt: skip
_h3_model = partial(
    built, "MiniMaxH3Transformer3DModel", num_attention_heads=2, attention_head_dim=16, hidden_size=24, num_layers=2, num_refiner_layers=1,
    ffn_dim=32, in_channels=4, audio_in_channels=6, text_dim=TEXT, freq_dim=16, time_embed_hidden_dim=16, time_embed_dim=8, rope_freq_dim=2,
)  # fmt: skip
_sana_wm_model = partial(
    built, "SanaWMTransformer3DModel", in_channels=4, num_layers=2, hidden_size=48, num_attention_heads=2, softmax_every_n=2,
    linear_head_dim=24, chunk_plucker_channels=6, caption_channels=TEXT, mlp_ratio=1.0,
)  # fmt: skip
_refiner_model = partial(
    built, "SanaWMLTX2RefinerTransformer3DModel", in_channels=4, out_channels=4, num_attention_heads=2, attention_head_dim=12,
    cross_attention_dim=24, audio_in_channels=6, audio_out_channels=6, audio_num_attention_heads=2, audio_attention_head_dim=6,
    audio_cross_attention_dim=12, num_layers=2, caption_channels=TEXT,
)  # fmt: skip

MORE: dict[str, Case] = {
    "anyflow": Case(partial(built, "AnyFlowTransformer3DModel", **_anyflow_sizes), _anyflow),
    "anyflow_far": Case(_far_model, _anyflow_far),
    "helios": Case(partial(built, "HeliosTransformer3DModel", **WAN_SIZES, rope_dim=(4, 4, 4)), _helios),
    "cosmos3": Case(_cosmos3_model, _cosmos3, size=0.4, found=False),
    "cosmos3_silent": Case(_cosmos3_model, partial(_cosmos3, sound=False), size=0.4, found=False),
    "minimax_h3": Case(_h3_model, _minimax_h3, size=0.4),
    "sana_wm": Case(_sana_wm_model, _sana_wm),
    "sana_wm_no_camera": Case(_sana_wm_model, partial(_sana_wm, camera=False)),
    "sana_wm_refiner": Case(_refiner_model, _refiner),
}
