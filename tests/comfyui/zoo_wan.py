"""Tiny random models of what is built upon Wan: with sound, poses, cameras, references and faces."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import comfy.ldm.wan.model
import comfy.ldm.wan.model_animate
import comfy.model_patcher
import comfy.supported_models
import torch
from comfy.conds import CONDConstant
from torch import nn

from .tiny import CPU, Tiny, built, noise

LATENT = (16, 3, 8, 8)
TEXT = 32


def _wan(kind: Callable[..., Any], model_type: str, in_dim: int, **more: Any) -> comfy.model_patcher.ModelPatcher:
    shared: dict[str, Any] = {
        "image_model": "wan2.1", "patch_size": (1, 2, 2), "freq_dim": 64, "text_dim": TEXT, "out_dim": 16, "num_heads": 1, "dim": 64,
        "ffn_dim": 128, "num_layers": 3, "qk_norm": True, "cross_attn_norm": True,
    }  # fmt: skip
    return built(kind, **{**shared, "model_type": model_type, "in_dim": in_dim, **more})


def _seen(tokens: int = 9, seed: int = 7) -> SimpleNamespace:
    """A picture, as CLIP Vision sees it."""
    return SimpleNamespace(penultimate_hidden_states=noise(1, tokens, 1280, seed=seed))


def _start(channels: int = 16, mask: int = 1) -> dict[str, Any]:
    """The first frames, and a mask of those that are to be made."""
    return {"concat_latent_image": noise(1, channels, 3, 8, 8, seed=8), "concat_mask": torch.ones(1, mask, 3, 8, 8)}


@cache
def _t2v() -> comfy.model_patcher.ModelPatcher:
    return _wan(comfy.supported_models.WAN21_T2V, "t2v", 16)


def phantom() -> Tiny:
    """Subjects stand behind the video as further frames."""
    return Tiny(_t2v(), LATENT, TEXT, {"time_dim_concat": noise(1, 16, 2, 8, 8, seed=3)})


def bernini() -> Tiny:
    """References stand behind the video as further tokens. (Ignored by a ComfyUI that does not know them yet.)"""
    return Tiny(_t2v(), LATENT, TEXT, {"context_latents": [noise(1, 16, 1, 8, 8, seed=3), noise(1, 16, 2, 8, 8, seed=4)]})


@cache
def flow_rvs() -> Tiny:
    return Tiny(_wan(comfy.supported_models.WAN21_FlowRVS, "flow_rvs", 16), LATENT, TEXT)


@cache
def causal() -> Tiny:
    """As it runs with an ordinary sampler: the whole video at once."""
    return Tiny(_wan(comfy.supported_models.WAN21_CausalAR_T2V, "t2v", 16), LATENT, TEXT)


@cache
def wan22_i2v() -> Tiny:
    return Tiny(_wan(comfy.supported_models.WAN21_T2V, "t2v", 36), LATENT, TEXT, _start(mask=4))


@cache
def first_and_last_frame() -> Tiny:
    model = _wan(comfy.supported_models.WAN21_I2V, "i2v", 36, flf_pos_embed_token_number=10)
    return Tiny(model, LATENT, TEXT, {"clip_vision_output": _seen(10), **_start()})


@cache
def fun_control() -> Tiny:
    model = _wan(comfy.supported_models.WAN21_FunControl2V, "i2v", 48, in_dim_ref_conv=16)
    extras = {"clip_vision_output": _seen(), "reference_latents": [noise(1, 16, 1, 8, 8, seed=3)]}
    return Tiny(model, LATENT, TEXT, {**extras, "concat_latent_image": noise(1, 32, 3, 8, 8, seed=4)})


@cache
def wan22_fun_control() -> Tiny:
    model = _wan(comfy.supported_models.WAN21_T2V, "t2v", 52, in_dim_ref_conv=16)
    extras = {"reference_latents": [noise(1, 16, 1, 8, 8, seed=3)], "concat_mask_index": 16}
    return Tiny(model, LATENT, TEXT, {**extras, **_start(32, mask=4)})


@cache
def camera() -> Tiny:
    model = _wan(comfy.supported_models.WAN21_Camera, "camera", 32)
    extras = {"clip_vision_output": _seen(), "concat_latent_image": noise(1, 16, 3, 8, 8, seed=4)}
    return Tiny(model, LATENT, TEXT, {**extras, "camera_conditions": 0.1 * noise(1, 24, 3, 64, 64, seed=3)})


@cache
def wan22_camera() -> Tiny:
    model = _wan(comfy.supported_models.WAN22_Camera, "camera_2.2", 36)
    return Tiny(model, LATENT, TEXT, {**_start(mask=4), "camera_conditions": 0.1 * noise(1, 24, 3, 64, 64, seed=3)})


@cache
def speech() -> Tiny:
    """Wan 2.2 S2V, with all that may stand behind the video: a reference, and the movement so far."""
    model = _wan(comfy.supported_models.WAN22_S2V, "s2v", 16, audio_dim=32, audio_inject_layers=[0, 2])
    model.model.diffusion_model.casual_audio_encoder.weights.data.fill_(0.5)  # A mean is taken with these weights.
    extras = {
        "audio_embed": noise(1, 25, 32, 12, seed=3),
        "reference_latents": [noise(1, 16, 1, 8, 8, seed=4)],
        "reference_motion": noise(1, 16, 19, 8, 8, seed=5),
        "control_video": noise(1, 16, 3, 8, 8, seed=6),
    }
    return Tiny(model, LATENT, TEXT, extras)


@cache
def humo() -> Tiny:
    # What takes the sound has one size only, of 26 million parameters.
    sound, sizes = comfy.ldm.wan.model.AudioProjModel, {"seq_len": 2, "blocks": 2, "channels": 8, "intermediate_dim": 16}
    with patch.object(comfy.ldm.wan.model, "AudioProjModel", lambda **given: sound(**{**given, **sizes})):
        model = _wan(comfy.supported_models.WAN21_HuMo, "humo", 16)
    extras = {"audio_embed": noise(1, 3, 2, 2, 8, seed=3), "reference_latents": [noise(1, 16, 1, 8, 8, seed=4)]}
    return Tiny(model, LATENT, TEXT, extras)


class _Expressions(nn.Module):
    """In place of a network of 20 million parameters that wants faces of 512 × 512 pixels, and one of 6 million that goes on from it."""

    def get_motion(self, faces: torch.Tensor) -> torch.Tensor:
        return faces.flatten(1)[:, :64]

    def forward(self, motion: torch.Tensor) -> torch.Tensor:
        return motion.reshape(motion.shape[0], -1, 4, motion.shape[-1])


@cache
def animate() -> Tiny:
    with patch.multiple(comfy.ldm.wan.model_animate, **dict.fromkeys(("Generator", "FaceEncoder"), lambda **_: _Expressions())):
        model = _wan(comfy.supported_models.WAN22_Animate, "animate", 36, num_layers=10)
    extras = {
        "clip_vision_output": _seen(),
        "pose_video_latent": noise(1, 16, 2, 8, 8, seed=3),
        "face_video_pixels": noise(1, 3, 8, 8, 8, seed=4),
    }
    return Tiny(model, LATENT, TEXT, {**extras, **_start(mask=4)})


@cache
def scail() -> Tiny:
    extras = {
        "clip_vision_output": _seen(),
        "reference_latents": [noise(1, 16, 1, 8, 8, seed=3)],
        "pose_video_latent": noise(1, 16, 3, 4, 4, seed=4),
    }
    return Tiny(_wan(comfy.supported_models.WAN21_SCAIL, "scail", 20), LATENT, TEXT, extras)


@cache
def scail2() -> Tiny:
    masks = {"ref_mask_28ch": noise(1, 4, 28, 8, 8, seed=5), "driving_mask_28ch": noise(1, 3, 28, 4, 4, seed=6), "ref_mask_flag": True}
    return Tiny(_wan(comfy.supported_models.WAN21_SCAIL2, "scail2", 20), LATENT, TEXT, {**scail().extras, **masks})


@cache
def _dancer() -> comfy.model_patcher.ModelPatcher:
    sizes: dict[str, Any] = {"music_dim": 32, "music_heads": 2, "music_latent_dim": 32, "audio_inject_layers": [0, 2]}
    return _wan(comfy.supported_models.WAN22_WanDancer, "wandancer", 36, **sizes)


def dancer(fps: float = 30.0) -> Tiny:
    extras = {
        "clip_vision_output": _seen(),
        "clip_vision_output_ref": _seen(seed=9),
        "audio_embed": noise(1, 12, 35, seed=3),
        "fps": fps,
        "audio_inject_scale": 1.0,
    }
    return Tiny(_dancer(), LATENT, TEXT, {**extras, **_start(mask=4)})


def dancer_keyframes() -> Tiny:
    """Frames far apart: another head than for the frames between."""
    return dancer(7.5)


_ALL: tuple[tuple[str, str, Callable[[], Tiny]], ...] = (
    ("wan phantom", "WAN21_T2V", phantom),
    ("wan bernini", "WAN21_T2V", bernini),
    ("wan flow_rvs", "WAN21_FlowRVS", flow_rvs),
    ("wan causal", "WAN21_CausalAR_T2V", causal),
    ("wan2.2 i2v", "WAN21_T2V", wan22_i2v),
    ("wan flf2v", "WAN21_I2V", first_and_last_frame),
    ("wan fun control", "WAN21_FunControl2V", fun_control),
    ("wan2.2 fun control", "WAN21_T2V", wan22_fun_control),
    ("wan camera", "WAN21_Camera", camera),
    ("wan2.2 camera", "WAN22_Camera", wan22_camera),
    ("wan s2v", "WAN22_S2V", speech),
    ("wan humo", "WAN21_HuMo", humo),
    ("wan animate", "WAN22_Animate", animate),
    ("wan scail", "WAN21_SCAIL", scail),
    ("wan scail2", "WAN21_SCAIL2", scail2),
    ("wan_dancer", "WAN22_WanDancer", dancer),
    ("wan_dancer keyframes", "WAN22_WanDancer", dancer_keyframes),
)
"""A name for each, and the configuration of ComfyUI's that it needs."""

WANS: dict[str, Callable[[], Tiny]] = {name: build for name, needed, build in _ALL if hasattr(comfy.supported_models, needed)}


def _dances_in_rows() -> bool:
    """An older ComfyUI repeats the frame rate for each row, where its model expects a single one."""
    found = _dancer().model.extra_conds(noise=noise(1, *LATENT), device=CPU, cross_attn=noise(1, 7, TEXT), fps=30.0)
    return isinstance(found["fps"], CONDConstant)


if "wan_dancer" in WANS and not _dances_in_rows():
    del WANS["wan_dancer"], WANS["wan_dancer keyframes"]
