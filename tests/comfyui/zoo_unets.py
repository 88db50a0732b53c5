"""Tiny U-Nets: built like the real ones, with the same levels, attention and embeddings, but narrow."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import comfy.model_base
import comfy.supported_models
import torch
from comfy.model_patcher import ModelPatcher

from .tiny import Tiny, built, noise

_UNET: dict[str, Any] = {
    "use_checkpoint": False, "image_size": 32, "in_channels": 4, "out_channels": 4, "model_channels": 32, "legacy": False,
    "use_spatial_transformer": True, "use_temporal_attention": False, "use_temporal_resblock": False, "adm_in_channels": None,
}  # fmt: skip
_FOUR_LEVELS: dict[str, Any] = {
    "num_res_blocks": [2, 2, 2, 2], "channel_mult": [1, 2, 4, 4], "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0],
    "transformer_depth_middle": 1, "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0],
}  # fmt: skip
_LATENT = (4, 8, 8)


def _unet(kind: Any, **dimensions: Any) -> ModelPatcher:
    """Of a kind that has its heads by count, as SD 1.5, or else by their channels, which are as few as befits the rest."""
    extra = dict(kind.unet_extra_config)
    if extra["num_head_channels"] > 0:
        extra["num_head_channels"] = 16
    narrow = type(kind.__name__, (kind,), {"unet_extra_config": extra})
    return built(narrow, **{**_UNET, **dimensions})


@cache
def sd15() -> Tiny:
    return Tiny(_unet(comfy.supported_models.SD15, **_FOUR_LEVELS, context_dim=64, use_linear_in_transformer=False), _LATENT, 64)


@cache
def sd15_inpaint() -> Tiny:
    model = _unet(comfy.supported_models.SD15, **_FOUR_LEVELS, in_channels=9, context_dim=64, use_linear_in_transformer=False)
    return Tiny(model, _LATENT, 64, {"concat_latent_image": noise(1, *_LATENT, seed=3), "concat_mask": torch.ones(1, 1, *_LATENT[1:])})


@cache
def sd21() -> Tiny:
    class Velocity(comfy.supported_models.SD20):
        """Which it is shows in weights that a random model has not."""

        def model_type(self, state_dict: dict[str, torch.Tensor], prefix: str = "") -> comfy.model_base.ModelType:
            return comfy.model_base.ModelType.V_PREDICTION

    return Tiny(_unet(Velocity, **_FOUR_LEVELS, context_dim=64, use_linear_in_transformer=True), _LATENT, 64)


@cache
def sdxl() -> Tiny:
    """A level less than SD 1.5, none of the attention at the finest, most of it at the coarsest."""
    model = _unet(
        comfy.supported_models.SDXL, num_classes="sequential", adm_in_channels=6 * 256 + 48, context_dim=64, num_res_blocks=[2, 2, 2],
        channel_mult=[1, 2, 4], transformer_depth=[0, 0, 1, 1, 3, 3], transformer_depth_middle=3,
        transformer_depth_output=[0, 0, 0, 1, 1, 1, 3, 3, 3], use_linear_in_transformer=True,
    )  # fmt: skip
    return Tiny(model, _LATENT, 64, {"pooled_output": noise(1, 48, seed=3), "width": 1024, "height": 1024})


@cache
def sdxl_refiner() -> Tiny:
    model = _unet(
        comfy.supported_models.SDXLRefiner, num_classes="sequential", adm_in_channels=5 * 256 + 48, context_dim=64,
        num_res_blocks=[2, 2, 2, 2], channel_mult=[1, 2, 4, 4], transformer_depth=[0, 0, 2, 2, 2, 2, 0, 0], transformer_depth_middle=2,
        transformer_depth_output=[0, 0, 0, 2, 2, 2, 2, 2, 2, 0, 0, 0], use_linear_in_transformer=True,
    )  # fmt: skip
    return Tiny(model, _LATENT, 64, {"pooled_output": noise(1, 48, seed=3), "aesthetic_score": 6.0})


@cache
def svd() -> Tiny:
    """Stable Video Diffusion. A row of its batch is a frame."""
    model = _unet(
        comfy.supported_models.SVD_img2vid, **_FOUR_LEVELS, num_classes="sequential", in_channels=8, adm_in_channels=3 * 256,
        context_dim=64, use_linear_in_transformer=True, use_temporal_attention=True, use_temporal_resblock=True, extra_ff_mix_layer=True,
        use_spatial_context=True, merge_strategy="learned_with_images", merge_factor=0.0, video_kernel_size=[3, 1, 1],
        disable_temporal_crossattention=False,
    )  # fmt: skip
    extras = {"concat_latent_image": noise(1, *_LATENT, seed=3), "motion_bucket_id": 127, "fps": 6, "augmentation_level": 0.0}
    return Tiny(model, _LATENT, 64, extras)


@cache
def zero123() -> Tiny:
    """A view of an object from elsewhere: its conditioning is what is seen, and where from."""

    class Kind(comfy.supported_models.Stable_Zero123):
        def get_model(self, state_dict: dict[str, torch.Tensor], prefix: str = "", device: Any = None) -> Any:
            projection = {"cc_projection.weight": noise(768, 772, seed=3) * 0.05, "cc_projection.bias": noise(768, seed=4) * 0.05}
            with torch.no_grad():  # Earlier versions of ComfyUI copy it in place.
                return super().get_model(state_dict | projection, prefix, device)

    model = _unet(Kind, **_FOUR_LEVELS, in_channels=8, context_dim=768, use_linear_in_transformer=False)
    return Tiny(model, _LATENT, 772, {"concat_latent_image": noise(1, *_LATENT, seed=5)})


@cache
def cascade_c() -> Tiny:
    """Stable Cascade's prior."""
    model = built(
        comfy.supported_models.Stable_Cascade_C, stable_cascade_stage="c", c_r=16, c_cond=64, c_hidden=[64, 64], nhead=[4, 4],
        blocks=[[1, 2], [2, 1]], c_clip_text=48, c_clip_text_pooled=48,
    )  # fmt: skip
    return Tiny(model, (16, 8, 8), 48, {"pooled_output": noise(1, 48, seed=3)})


@cache
def cascade_b() -> Tiny:
    """Stable Cascade's decoder of what the prior made."""
    model = built(
        comfy.supported_models.Stable_Cascade_B, stable_cascade_stage="b", c_r=16, c_cond=64, c_hidden=[32, 48, 64, 64],
        nhead=[-1, -1, 4, 4], blocks=[[1, 1, 2, 1], [1, 2, 1, 1]], block_repeat=[[1, 1, 1, 1], [2, 2, 2, 2]], c_clip=48,
    )  # fmt: skip
    extras = {"pooled_output": noise(1, 48, seed=3), "stable_cascade_prior": noise(1, 16, 3, 3, seed=4)}
    return Tiny(model, (4, 32, 32), 48, extras)


UNETS: dict[str, Callable[[], Tiny]] = {
    "sd1.5": sd15,
    "sd1.5 inpaint": sd15_inpaint,
    "sd2.1": sd21,
    "sdxl": sdxl,
    "sdxl refiner": sdxl_refiner,
    "svd": svd,
    "zero123": zero123,
    "cascade c": cascade_c,
    "cascade b": cascade_b,
}
