"""Tiny random models of video, some of them with sound."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from diffusers.models.embeddings import get_1d_rotary_pos_embed

from .tiny import Case, built, noise
from .zoo_videos_hunyuan import HUNYUANS
from .zoo_videos_more import MORE
from .zoo_videos_wan import WANS

LATENT = (2, 8, 8)
"""Frames, height and width: 2 × 4 × 4 tokens."""
TEXT, TOKENS = 16, 5
HEADS: dict[str, Any] = {"num_attention_heads": 2, "attention_head_dim": 12, "num_layers": 2}


def _call(seed: int, rows: int = 2, channels: int = 4, **more: Any) -> dict[str, Any]:
    """Two rows, as with guidance."""
    return {
        "hidden_states": noise(rows, channels, *LATENT, seed=seed), "timestep": torch.tensor([600.0 - 100 * seed] * rows),
        "encoder_hidden_states": noise(rows, TOKENS, TEXT, seed=seed + 1), **more,
    }  # fmt: skip


def _masked(seed: int, rows: int = 2, channels: int = 4, **more: Any) -> dict[str, Any]:
    """With a text that is shorter than its place."""
    return _call(seed, rows, channels, encoder_attention_mask=torch.tensor([[1, 1, 1, 1, 0]] * rows), **more)


def _allegro(seed: int) -> dict[str, Any]:
    places = torch.cartesian_prod(torch.arange(2), torch.arange(4), torch.arange(4)).T[:, None]
    angles = [get_1d_rotary_pos_embed(8, size, use_real=True, repeat_interleave_real=False) for size in (2, 4, 4)]
    return _masked(seed, attention_mask=torch.ones(2, *LATENT), image_rotary_emb=(angles, list(places)))


def _cogvideox(seed: int, **more: Any) -> dict[str, Any]:
    """Frames stand in front of the channels."""
    video, angles = noise(2, 2, 4, 8, 8, seed=seed), noise(32, 12, seed=9)
    return _call(seed, hidden_states=video, image_rotary_emb=(angles.cos(), angles.sin()), **more)


def _consisid(seed: int) -> dict[str, Any]:
    """With a face, which is looked at between the blocks."""
    return _cogvideox(seed, id_cond=noise(2, 8, seed=seed + 3), id_vit_hidden=[noise(2, 3, 8, seed=seed + place) for place in range(4, 6)])


def _cosmos(seed: int, **more: Any) -> dict[str, Any]:
    return _call(seed, 1, attention_mask=None, fps=16, padding_mask=torch.zeros(1, 1, 8, 8), **more)


def _cosmos_given_frame(seed: int) -> dict[str, Any]:
    """The first frame is given: its tokens have a time step of their own, and a further channel tells of it."""
    time, known = torch.tensor([0.0, 0.6 - 0.1 * seed]).view(1, 1, 2, 1, 1), torch.tensor([1.0, 0.0]).view(1, 1, 2, 1, 1)
    return _cosmos(seed, timestep=time, condition_mask=known.expand(1, 1, *LATENT))


def _easyanimate(seed: int) -> dict[str, Any]:
    return _call(seed, encoder_hidden_states_t5=noise(2, 3, TEXT, seed=seed + 2))


def _latte(seed: int) -> dict[str, Any]:
    return _call(seed, encoder_attention_mask=None)


def _ltx(seed: int, **more: Any) -> dict[str, Any]:
    return _masked(seed, hidden_states=noise(2, 32, 4, seed=seed), num_frames=2, height=4, width=4, **more)


def _ltx_given_frame(seed: int) -> dict[str, Any]:
    return _ltx(
        seed, timestep=torch.cat([torch.zeros(2, 16), torch.full((2, 16), 600.0 - 100 * seed)], dim=1), rope_interpolation_scale=(1, 1, 1)
    )


def _ltx2(seed: int, sounds: int = 6, **more: Any) -> dict[str, Any]:
    sound, text = noise(2, sounds, 6, seed=seed + 2), noise(2, TOKENS, TEXT, seed=seed + 3)
    return _ltx(
        seed, audio_hidden_states=sound, audio_encoder_hidden_states=text, audio_encoder_attention_mask=torch.ones(2, TOKENS),
        audio_num_frames=sounds, fps=24.0, **more,
    )  # fmt: skip


def _mochi(seed: int) -> dict[str, Any]:
    return _call(seed, encoder_attention_mask=torch.tensor([[True] * 4 + [False]] * 2))


def _motif(seed: int) -> dict[str, Any]:
    return _masked(seed, 1, image_embeds=noise(1, 3, 8, seed=seed + 2))


_cog_sizes: dict[str, Any] = {
    **HEADS, "in_channels": 4, "out_channels": 4, "time_embed_dim": 8, "text_embed_dim": TEXT, "sample_width": 8, "sample_height": 8,
    "sample_frames": 5, "patch_size": 2, "max_text_seq_length": TOKENS, "use_rotary_positional_embeddings": True,
}  # fmt: skip
_allegro_model = partial(
    built, "AllegroTransformer3DModel", **{**HEADS, "attention_head_dim": 24}, in_channels=4, out_channels=4, cross_attention_dim=48,
    sample_width=8, sample_height=8, sample_frames=2, caption_channels=TEXT,
)  # fmt: skip
_consisid_model = partial(
    built, "ConsisIDTransformer3DModel", **_cog_sizes, is_train_face=True, cross_attn_interval=1, cross_attn_dim_head=4,
    cross_attn_num_heads=2, LFE_id_dim=8, LFE_vit_dim=8, LFE_depth=2, LFE_dim_head=4, LFE_num_heads=2, LFE_num_id_token=2,
    LFE_num_querie=2, LFE_output_dim=16, LFE_ff_mult=1, LFE_num_scale=2,
)  # fmt: skip
_cosmos_model = partial(
    built, "CosmosTransformer3DModel", in_channels=4, out_channels=4, **HEADS, mlp_ratio=2, text_embed_dim=TEXT, adaln_lora_dim=4,
    max_size=(4, 16, 16),
)  # fmt: skip
_easyanimate_model = partial(
    built, "EasyAnimateTransformer3DModel", **{**HEADS, "attention_head_dim": 16}, in_channels=4, out_channels=4, patch_size=2,
    sample_width=8, sample_height=8, mmdit_layers=1, time_embed_dim=8, text_embed_dim=TEXT, text_embed_dim_t5=TEXT,
)  # fmt: skip
_latte_model = partial(
    built, "LatteTransformer3DModel", **HEADS, in_channels=4, out_channels=4, cross_attention_dim=24, attention_bias=True, sample_size=8,
    patch_size=2, activation_fn="gelu-approximate", num_embeds_ada_norm=1000, norm_type="ada_norm_single", norm_elementwise_affine=False,
    caption_channels=TEXT, video_length=2,
)  # fmt: skip
_ltx_sizes: dict[str, Any] = {**HEADS, "in_channels": 4, "out_channels": 4, "cross_attention_dim": 24, "caption_channels": TEXT}
_ltx2_model = partial(
    built, "LTX2VideoTransformer3DModel", **_ltx_sizes, audio_in_channels=6, audio_out_channels=6, audio_num_attention_heads=2,
    audio_attention_head_dim=6, audio_cross_attention_dim=12,
)  # fmt: skip
_mochi_model = partial(
    built, "MochiTransformer3DModel", **{**HEADS, "attention_head_dim": 8}, in_channels=4, pooled_projection_dim=16, text_embed_dim=TEXT,
    time_embed_dim=8,
)  # fmt: skip
_motif_model = partial(
    built, "MotifVideoTransformer3DModel", **HEADS, num_single_layers=3, in_channels=4, out_channels=4, text_embed_dim=TEXT,
    image_embed_dim=8, rope_axes_dim=(4, 4, 4),
)  # fmt: skip
_sana_model = partial(
    built, "SanaVideoTransformer3DModel", **HEADS, in_channels=4, out_channels=4, num_cross_attention_heads=2, cross_attention_head_dim=12,
    cross_attention_dim=24, caption_channels=TEXT, sample_size=8, rope_max_seq_len=32,
)  # fmt: skip

VIDEOS: dict[str, Case] = {
    **WANS,
    **HUNYUANS,
    **MORE,
    "allegro": Case(_allegro_model, _allegro),
    "cogvideox": Case(partial(built, "CogVideoXTransformer3DModel", **_cog_sizes), _cogvideox, size=0.3),
    "consisid": Case(_consisid_model, _consisid, size=0.3),
    "cosmos": Case(_cosmos_model, _cosmos),
    "cosmos_predict2": Case(partial(_cosmos_model, in_channels=5, extra_pos_embed_type=None), _cosmos_given_frame),
    "easyanimate": Case(_easyanimate_model, _easyanimate, size=0.25),
    "latte": Case(_latte_model, _latte),
    "ltxv": Case(partial(built, "LTXVideoTransformer3DModel", **_ltx_sizes), _ltx),
    "ltxv_given_frame": Case(partial(built, "LTXVideoTransformer3DModel", **_ltx_sizes), _ltx_given_frame),
    "ltx2": Case(_ltx2_model, _ltx2, found=False),
    "ltx2_silent": Case(_ltx2_model, partial(_ltx2, sounds=0)),
    "ltx2_isolated": Case(_ltx2_model, partial(_ltx2, isolate_modalities=True), found=False),
    "mochi": Case(_mochi_model, _mochi),
    "motif_video": Case(_motif_model, _motif),
    "motif_video_decoder": Case(partial(_motif_model, num_decoder_layers=1), _motif),
    "sana_video": Case(_sana_model, _masked),
}  # fmt: skip
