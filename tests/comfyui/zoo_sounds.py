"""Tiny models of sound and of 3D shapes: ACE-Step, Stable Audio, Hunyuan3D, TripoSplat."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from inspect import signature
from typing import Any
from unittest.mock import patch

import comfy.ldm.ace.model
import comfy.supported_models
import torch
from comfy.ldm.ace.ace_step15 import AceStepConditionGenerationModel
from comfy.ldm.ace.lyric_encoder import ConformerEncoder
from comfy.ldm.audio.embedders import NumberConditioner
from comfy.ldm.hunyuan3dv2_1.hunyuandit import HunYuanDiTPlain
from comfy.model_patcher import ModelPatcher

from .tiny import Tiny, amplified, built, noise, randomised


@cache
def ace_step() -> Tiny:
    lyrics = partial(ConformerEncoder, output_size=64, attention_heads=2, linear_units=128, num_blocks=2)
    with patch.object(comfy.ldm.ace.model, "LyricEncoder", lyrics):  # Its own size cannot be chosen.
        model = built(
            comfy.supported_models.ACEStep, audio_model="ace", in_channels=8, out_channels=8, num_layers=3, inner_dim=64,
            attention_head_dim=32, num_attention_heads=2, mlp_ratio=2.5, max_position=512, max_width=512, patch_size=[16, 1],
            speaker_embedding_dim=512, text_embedding_dim=64, ssl_encoder_depths=[8, 8], ssl_latent_dims=[16, 16],
            lyric_encoder_vocab_size=50, lyric_hidden_size=64,
        )  # fmt: skip
    words = torch.randint(0, 50, (1, 9), generator=torch.Generator().manual_seed(3))
    return Tiny(model, (8, 16, 24), 64, {"conditioning_lyrics": words})


class _Ace15(Tiny):
    """Its workflows take the text away to get the negative, which makes the two of unlike kinds: they never share a batch."""

    __slots__ = ()

    @property
    def negative(self) -> list[list[Any]]:
        return [[torch.zeros(1, 7, self.width), {**self.extras, "conditioning_lyrics": torch.zeros(1, 9, self.width)}]]


@cache
def ace_step15() -> Tiny:
    encoder: dict[str, Any] = {"encoder_hidden_size": 48, "encoder_intermediate_size": 96, "encoder_num_heads": 2}
    if "encoder_hidden_size" not in signature(AceStepConditionGenerationModel).parameters:  # It was as wide as the rest once.
        encoder = {}
    model = built(
        comfy.supported_models.ACEStep15, audio_model="ace1.5", hidden_size=64, intermediate_size=128, num_heads=2, num_kv_heads=1,
        head_dim=16, num_dit_layers=4, num_lyric_layers=2, num_timbre_layers=2, num_tokenizer_layers=2, text_hidden_dim=32,
        fsq_dim=encoder.get("encoder_hidden_size", 64), sliding_window=8, **encoder,
    )  # fmt: skip
    codes = [[1, 20, 300, 4000, 50000]]  # Of the melody, as the language model beside it writes them.
    return _Ace15(model, (64, 24), 32, {"conditioning_lyrics": noise(1, 9, 32, seed=3), "audio_codes": codes}, single=True)


def _conditioner(name: str, features: str) -> dict[str, torch.Tensor]:
    weights = randomised(NumberConditioner(768, **({} if features == "learned" else {"fourier_features_type": features}))).state_dict()
    return {f"conditioner.conditioners.{name}.{key}": value for key, value in weights.items()}


class _StableAudio(comfy.supported_models.StableAudio):
    """With weights for the lengths, which stand beside the transformer's in a file."""

    def get_model(self, state_dict: dict[str, torch.Tensor], prefix: str = "", device: Any = None) -> Any:
        lengths = _conditioner("seconds_start", "learned") | _conditioner("seconds_total", "learned")
        return super().get_model(state_dict | lengths, prefix, device)


def _audio(kind: Any, **dimensions: Any) -> ModelPatcher:
    model = built(
        kind, audio_model="dit1.0", embed_dim=64, num_heads=2, cond_token_dim=768, project_cond_tokens=True, depth=3, **dimensions
    )
    frequencies = model.model.diffusion_model.transformer.rotary_pos_emb.inv_freq  # They come with the weights, too.
    frequencies.copy_(10000.0 ** -torch.linspace(0, 1, len(frequencies) + 1)[:-1])
    return model


_SECONDS: dict[str, Any] = {"seconds_start": 0, "seconds_total": 7}


@cache
def stable_audio() -> Tiny:
    model = _audio(_StableAudio, io_channels=64, global_cond_dim=1536)
    return Tiny(amplified(model, 2), (64, 24), 768, _SECONDS)


@cache
def stable_audio25() -> Tiny:
    model = _audio(
        _StableAudio, io_channels=64, global_cond_dim=1536, num_memory_tokens=4, timestep_features_type="learned",
        attn_kwargs={"qk_norm": "ln", "feat_scale": True},
    )  # fmt: skip
    return Tiny(model, (64, 24), 768, _SECONDS)


@cache
def stable_audio3() -> Tiny:
    class Kind(comfy.supported_models.StableAudio3):
        def get_model(self, state_dict: dict[str, torch.Tensor], prefix: str = "", device: Any = None) -> Any:
            padding = {"conditioner.conditioners.prompt.padding_embedding": noise(768, seed=4)}
            return super().get_model(state_dict | padding | _conditioner("seconds_total", "expo"), prefix, device)

    model = _audio(
        Kind, io_channels=256, global_cond_dim=768, num_memory_tokens=4, timestep_features_type="expo", norm_type="rms_norm",
        attn_kwargs={"qk_norm": "rms", "differential": True}, local_add_cond_dim=257, global_cond_shared_embed=True,
        global_cond_type="adaLN",
    )  # fmt: skip
    return Tiny(amplified(model, 1.5), (256, 24), 768, {"seconds_total": 7})


_SHAPE: dict[str, Any] = {
    "image_model": "hunyuan3d2", "in_channels": 64, "context_in_dim": 48, "hidden_size": 64, "mlp_ratio": 4.0, "num_heads": 2,
    "qkv_bias": True,
}  # fmt: skip


@cache
def hunyuan3d() -> Tiny:
    kind = comfy.supported_models.Hunyuan3Dv2
    return Tiny(built(kind, **_SHAPE, depth=2, depth_single_blocks=3, guidance_embed=False), (64, 32), 48)


@cache
def hunyuan3d_mini() -> Tiny:
    """The turbo one, which is told the guidance."""
    kind = comfy.supported_models.Hunyuan3Dv2mini
    return Tiny(built(kind, **_SHAPE, depth=2, depth_single_blocks=2, guidance_embed=True), (64, 32), 48, {"guidance": 5.0})


@cache
def hunyuan3d21() -> Tiny:
    model = built(
        comfy.supported_models.Hunyuan3Dv2_1, image_model="hunyuan3d2_1", in_channels=64, context_dim=48, hidden_size=64, mlp_ratio=4.0,
        num_heads=2, depth=5, qkv_bias=False, guidance_cond_proj_dim=None, num_moe_layers=2, num_experts=3, moe_top_k=2,
    )  # fmt: skip
    return Tiny(model, (64, 32), 48)


@cache
def triposplat() -> Tiny:
    """Its latent is a list of tokens and one of the camera."""
    model = built(
        comfy.supported_models.TripoSplat, image_model="triposplat", q_token_length=32, model_channels=64, cond_channels=48,
        cond2_channels=24, num_blocks=3, num_refiner_blocks=2, num_head_channels=32,
    )  # fmt: skip
    return Tiny(model, (32, 16), 48, {"reference_latents": [noise(1, 24, 2, 2, seed=4)]}, sound=(1, 5))


SOUNDS: dict[str, Callable[[], Tiny]] = {
    "ace_step": ace_step,
    "ace_step1.5": ace_step15,
    "stable_audio": stable_audio,
    "hunyuan3d": hunyuan3d,
    "hunyuan3d mini": hunyuan3d_mini,
}
if "swap_cfg_halves" in HunYuanDiTPlain.forward.__code__.co_varnames:  # Before, it failed unless both sides of guidance came in one call.
    SOUNDS["hunyuan3d 2.1"] = hunyuan3d21
if hasattr(comfy.supported_models, "StableAudio3"):  # Its ComfyUI has memory tokens and norms of 2.5 as well.
    SOUNDS |= {"stable_audio 2.5": stable_audio25, "stable_audio 3": stable_audio3}
if hasattr(comfy.supported_models, "TripoSplat"):
    SOUNDS["triposplat"] = triposplat
