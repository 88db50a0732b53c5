"""Tiny random models of video, some of them with sound."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import comfy.model_patcher
import comfy.supported_models
import torch
from comfy.ldm.flux.layers import apply_mod

from .tiny import MaskedText, Tiny, amplified, built, noise
from .zoo_wan import WANS

LATENT = (16, 3, 8, 8)
TEXT = 32


def _but_the_first_frame(size: int = 8) -> torch.Tensor:
    """A mask of the frames that are to be made."""
    return torch.cat([torch.zeros(1, 1, 1, size, size), torch.ones(1, 1, 2, size, size)], dim=2)


def _hunyuan_video(kind: Callable[..., Any], in_channels: int, guidance: bool = True) -> comfy.model_patcher.ModelPatcher:
    return built(
        kind, image_model="hunyuan_video", in_channels=in_channels, out_channels=16, vec_in_dim=32, context_in_dim=TEXT, depth=2,
        depth_single_blocks=2, axes_dim=[16, 24, 24], patch_size=[1, 2, 2], hidden_size=64, mlp_ratio=4.0, num_heads=1, theta=256,
        qkv_bias=True, guidance_embed=guidance, byt5=False, meanflow=False, use_cond_type_embedding=False, vision_in_dim=None,
        meanflow_sum=False,
    )  # fmt: skip


@cache
def hunyuan_video_i2v() -> Tiny:
    """The first frame is given as further channels."""
    first = {"concat_latent_image": noise(1, 16, 1, 8, 8, seed=4), "concat_mask": _but_the_first_frame()}
    extras = {"pooled_output": noise(1, 32, seed=3), **first}
    return Tiny(_hunyuan_video(comfy.supported_models.HunyuanVideoI2V, 33), LATENT, TEXT, extras)


@cache
def skyreels_i2v() -> Tiny:
    extras = {"pooled_output": noise(1, 32, seed=3), "concat_latent_image": noise(1, 16, 3, 8, 8, seed=4)}
    return Tiny(_hunyuan_video(comfy.supported_models.HunyuanVideoSkyreelsI2V, 32), LATENT, TEXT, extras)


@cache
def hunyuan_video_guided() -> Tiny:
    """The first frame is part of the latent, and modulated as one without noise. (With guidance ComfyUI fails on four rows.)"""
    model = _hunyuan_video(comfy.supported_models.HunyuanVideo, 16, guidance=False)
    return Tiny(model, LATENT, TEXT, {"pooled_output": noise(1, 32, seed=3), "guiding_frame_index": 0})


def _cosmos(kind: Callable[..., Any], in_channels: int) -> comfy.model_patcher.ModelPatcher:
    model = built(
        kind, image_model="cosmos", max_img_h=32, max_img_w=32, max_frames=16, in_channels=in_channels, out_channels=16, patch_spatial=2,
        patch_temporal=1, model_channels=64, block_config="FA-CA-MLP", concat_padding_mask=True, pos_emb_cls="rope3d",
        pos_emb_learnable=False, pos_emb_interpolation="crop", block_x_format="THWBD", affline_emb_norm=True, use_adaln_lora=True,
        adaln_lora_dim=16, num_blocks=3, num_heads=2, crossattn_emb_channels=TEXT, extra_per_block_abs_pos_emb=True,
        rope_t_extrapolation_ratio=2.0, extra_per_block_abs_pos_emb_type="learnable",
    )  # fmt: skip
    return amplified(model, 3, "blocks")


@cache
def cosmos() -> Tiny:
    return Tiny(_cosmos(comfy.supported_models.CosmosT2V, 16), LATENT, TEXT)


@cache
def cosmos_video2world() -> Tiny:
    return Tiny(_cosmos(comfy.supported_models.CosmosI2V, 17), LATENT, TEXT)


@cache
def cosmos_predict2_video2world() -> Tiny:
    """The first frame is given: its tokens have a time step of their own."""
    model = built(
        comfy.supported_models.CosmosI2VPredict2, image_model="cosmos_predict2", max_img_h=32, max_img_w=32, max_frames=16,
        in_channels=17, out_channels=16, patch_spatial=2, patch_temporal=1, concat_padding_mask=True, model_channels=64, num_blocks=3,
        num_heads=2, crossattn_emb_channels=TEXT, pos_emb_cls="rope3d", use_adaln_lora=True, adaln_lora_dim=16,
        rope_t_extrapolation_ratio=1.0,
    )  # fmt: skip
    extras = {"concat_mask": _but_the_first_frame(), "concat_latent_image": noise(1, 16, 3, 8, 8, seed=4)}
    return Tiny(amplified(model, 3, "blocks"), LATENT, TEXT, extras)


@cache
def _ltxv() -> comfy.model_patcher.ModelPatcher:
    return built(
        comfy.supported_models.LTXV, image_model="ltxv", in_channels=128, cross_attention_dim=64, attention_head_dim=32,
        num_attention_heads=2, caption_channels=TEXT, num_layers=3,
    )  # fmt: skip


def ltxv() -> Tiny:
    return MaskedText(_ltxv(), (128, 3, 4, 4), TEXT, {"frame_rate": 25})


def ltxv_i2v() -> Tiny:
    """The first frame is given: its tokens have a time step of their own."""
    return MaskedText(_ltxv(), (128, 3, 4, 4), TEXT, {"frame_rate": 25, "concat_mask": _but_the_first_frame(4)})


@cache
def _ltx2() -> comfy.model_patcher.ModelPatcher:
    return built(
        comfy.supported_models.LTXAV, image_model="ltxav", in_channels=128, audio_in_channels=128, cross_attention_dim=64,
        audio_cross_attention_dim=32, attention_head_dim=32, audio_attention_head_dim=16, num_attention_heads=2,
        audio_num_attention_heads=2, caption_channels=TEXT, num_layers=3, connector_attention_head_dim=16,
        connector_num_attention_heads=2, connector_num_layers=1, use_middle_indices_grid=True, rope_type="split",
    )  # fmt: skip


def ltx2() -> Tiny:
    """The text has a half for the video and one for the sound."""
    return Tiny(_ltx2(), (128, 3, 4, 4), 2 * TEXT, {"frame_rate": 25}, sound=(8, 5, 16))


def ltx2_voice() -> Tiny:
    """A voice to follow stands in front of the sound. (Ignored by a ComfyUI that does not know it yet.)"""
    extras = {"frame_rate": 25, "ref_audio": {"tokens": noise(1, 4, 128, seed=3)}}
    return Tiny(_ltx2(), (128, 3, 4, 4), 2 * TEXT, extras, sound=(8, 5, 16))


def ltx2_silent() -> Tiny:
    return Tiny(_ltx2(), (128, 3, 4, 4), 2 * TEXT, {"frame_rate": 25})


@cache
def mochi() -> Tiny:
    width = 12288  # Of the hidden layer of its blocks. It allows no other.
    model = built(
        comfy.supported_models.GenmoMochi, image_model="mochi_preview", depth=2, patch_size=2, num_heads=2, hidden_size_x=32,
        hidden_size_y=32, mlp_ratio_x=width / 32, mlp_ratio_y=4.0, learn_sigma=False, in_channels=12, qk_norm=True, qkv_bias=False,
        out_bias=True, attn_drop=0.0, patch_embed_bias=True, posenc_preserve_area=True, timestep_mlp_bias=True,
        attend_to_padding=False, timestep_scale=1000.0, use_t5=True, t5_feat_dim=TEXT, t5_token_length=256, rope_theta=10000.0,
    )  # fmt: skip
    return MaskedText(model, (12, 3, 8, 8), TEXT)


def _cogvideox(kind: Callable[..., Any], in_channels: int, **more: Any) -> comfy.model_patcher.ModelPatcher:
    model = built(
        kind, image_model="cogvideox", num_attention_heads=2, attention_head_dim=32, in_channels=in_channels, time_embed_dim=32,
        text_embed_dim=TEXT, num_layers=3, use_rotary_positional_embeddings=True, **more,
    )  # fmt: skip
    return amplified(model, 3, "blocks")


@cache
def cogvideox() -> Tiny:
    return Tiny(_cogvideox(comfy.supported_models.CogVideoX_T2V, 16), LATENT, TEXT)


@cache
def cogvideox15_i2v() -> Tiny:
    """Patches of two frames: the last frame is doubled."""
    model = _cogvideox(comfy.supported_models.CogVideoX_I2V, 32, patch_size_t=2, ofs_embed_dim=32)
    return Tiny(model, LATENT, TEXT, {"concat_latent_image": noise(1, 16, 1, 8, 8, seed=4)})


@cache
def _minimax_h3() -> comfy.model_patcher.ModelPatcher:
    model = built(
        comfy.supported_models.MiniMaxH3, image_model="minimax_h3", hidden_size=64, num_layers=3, token_refiner_num_layers=1,
        num_attention_heads=2, attention_head_dim=32, ffn_hidden_size=64, latents_dim=24, audio_latents_dim=32, text_dim=TEXT,
        timestep_input_dim=32, time_embed_hidden_size=32, time_embed_dim=32, rope_inv_freq_len=4,
    )  # fmt: skip
    model.model.diffusion_model.rope.inv_freq.copy_(10000.0 ** -(torch.arange(4) / 4))
    return amplified(model, 3, "blocks")


def minimax_h3() -> Tiny:
    return Tiny(_minimax_h3(), (24, 3, 8, 8), TEXT, sound=(32, 2, 5), single=True)


def minimax_h3_references() -> Tiny:
    """A picture and a voice stand between the text and what is made."""
    picture = {"kind": "image", "latent": noise(1, 24, 1, 4, 4, seed=3), "latent_h": 4, "latent_w": 4}
    voice = {"kind": "audio", "audio_latent": noise(1, 32, 2, 3, seed=4), "ref_audio_t": 3}
    return Tiny(_minimax_h3(), (24, 3, 8, 8), TEXT, {"minimax_refs": [picture, voice]}, sound=(32, 2, 5), single=True)


_ALL: tuple[tuple[str, str, Callable[[], Tiny]], ...] = (
    ("hunyuan_video i2v", "HunyuanVideoI2V", hunyuan_video_i2v),
    ("hunyuan_video skyreels", "HunyuanVideoSkyreelsI2V", skyreels_i2v),
    ("cosmos", "CosmosT2V", cosmos),
    ("cosmos video2world", "CosmosI2V", cosmos_video2world),
    ("cosmos_predict2 video2world", "CosmosI2VPredict2", cosmos_predict2_video2world),
    ("ltxv", "LTXV", ltxv),
    ("ltxv i2v", "LTXV", ltxv_i2v),
    ("ltx2", "LTXAV", ltx2),
    ("ltx2 voice", "LTXAV", ltx2_voice),
    ("ltx2 silent", "LTXAV", ltx2_silent),
    ("mochi", "GenmoMochi", mochi),
    ("cogvideox", "CogVideoX_T2V", cogvideox),
    ("cogvideox1.5 i2v", "CogVideoX_I2V", cogvideox15_i2v),
    ("minimax_h3", "MiniMaxH3", minimax_h3),
    ("minimax_h3 references", "MiniMaxH3", minimax_h3_references),
)
"""A name for each, and the configuration of ComfyUI's that it needs."""


def _guides_several_rows() -> bool:
    """Whether this ComfyUI can: it took the time steps of the first row's frames for those of the rows once."""
    try:
        apply_mod(torch.zeros(2, 3, 1), torch.ones(2, 2, 1), None, [(0, 3, 0)])
    except RuntimeError:
        return False
    return True


VIDEOS: dict[str, Callable[[], Tiny]] = {
    **WANS,
    **({"hunyuan_video guided": hunyuan_video_guided} if _guides_several_rows() else {}),
    **{name: build for name, needed, build in _ALL if hasattr(comfy.supported_models, needed)},
}
