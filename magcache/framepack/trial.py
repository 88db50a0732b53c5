"""A small FramePack with random weights, so that the page can be tried without any download.

The pipeline, the transformer and the sampling are diffusers' own, and MagCache does to them what it does to the real ones. Only
what is shown means nothing: the video begins with the picture and goes over into clouds of colour.
"""

from __future__ import annotations

import hashlib
import importlib
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from PIL import Image
from torch import nn
from transformers import SiglipImageProcessor, SiglipVisionConfig, SiglipVisionModel

_library: Any = importlib.import_module("diffusers")
TEXT, POOLED, TOKENS = 32, 16, 7
"""Widths of the two text embeddings, and the number of tokens in a prompt."""
_SEED = 2
_MIXING = ((0.84, 0.7, 0.42), (0.7, -0.28, -0.7), (-0.28, 0.84, -0.56), (0.14, -0.42, 0.56))
"""Red, green and blue of each channel of a latent."""
_SMOOTHINGS = 3
"""Noise looks like clouds when every latent is averaged with its neighbours so many times."""


@dataclass(frozen=True, slots=True)
class _Latent:
    value: torch.Tensor

    def sample(self, generator: torch.Generator | None = None) -> torch.Tensor:
        return self.value


@dataclass(frozen=True, slots=True)
class _Encoded:
    latent_dist: _Latent


class Mosaic(ModelMixin, ConfigMixin):
    """Stands in for the video VAE: a latent is the mean colour of 8 × 8 pixels, and decoding is smoothing and interpolation."""

    spatial_compression_ratio, temporal_compression_ratio = 8, 4

    @register_to_config
    def __init__(self, scaling_factor: float = 1.0) -> None:
        super().__init__()
        self.mixing = nn.Parameter(torch.tensor(_MIXING), requires_grad=False)

    def encode(self, video: torch.Tensor) -> _Encoded:
        """(batch, 3, frames, height, width) in −1 to 1 -> latents (batch, 4, …)."""
        small = nn.functional.avg_pool3d(video, (1, 8, 8))[:, :, ::4]
        return _Encoded(_Latent(torch.einsum("bcthw,rc->brthw", small, torch.linalg.pinv(self.mixing).T)))

    def decode(self, latents: torch.Tensor, return_dict: bool = True) -> tuple[torch.Tensor]:
        frames, height, width = latents.shape[2:]
        for _ in range(_SMOOTHINGS):
            latents = nn.functional.avg_pool3d(nn.functional.pad(latents, (1,) * 6, mode="replicate"), 3, 1)
        colours = torch.einsum("brthw,rc->bcthw", latents, self.mixing)
        size = ((frames - 1) * 4 + 1, height * 8, width * 8)
        return (nn.functional.interpolate(colours, size, mode="trilinear", align_corners=False).clamp(-1, 1),)

    def enable_tiling(self) -> None:
        """Nothing to do: it takes no memory to speak of."""

    disable_tiling = enable_slicing = disable_slicing = enable_tiling


def trial_pipeline() -> Any:
    """A `HunyuanVideoFramepackPipeline`, with the same weights every time."""
    transformer = _library.HunyuanVideoFramepackTransformer3DModel(
        in_channels=4, out_channels=4, num_attention_heads=4, attention_head_dim=16, num_layers=2, num_single_layers=5,
        num_refiner_layers=1, patch_size=2, patch_size_t=1, guidance_embeds=True, text_embed_dim=TEXT, pooled_projection_dim=POOLED,
        rope_axes_dim=(4, 6, 6),
        image_condition_type=None, has_image_proj=True, image_proj_dim=16, has_clean_x_embedder=True,
    )  # fmt: skip
    vision = SiglipVisionModel(
        SiglipVisionConfig(hidden_size=16, intermediate_size=24, num_attention_heads=2, num_hidden_layers=1, image_size=32, patch_size=16)
    )
    pipe = _library.HunyuanVideoFramepackPipeline(
        text_encoder=None, tokenizer=None, text_encoder_2=None, tokenizer_2=None, transformer=_seeded(transformer), vae=Mosaic(),
        scheduler=_library.FlowMatchEulerDiscreteScheduler(shift=7.0), image_encoder=_seeded(vision),
        feature_extractor=SiglipImageProcessor(size={"height": 32, "width": 32}),
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    return pipe


def trial_text(prompt: str, prefix: str = "") -> dict[str, Any]:
    """Embeddings that only depend on the words, in place of the text encoders' that the trial does not have."""
    seed = int.from_bytes(hashlib.sha256(prompt.encode()).digest()[:8], "big") >> 1
    generator = torch.Generator().manual_seed(seed)
    return {
        f"{prefix}prompt_embeds": torch.randn(1, TOKENS, TEXT, generator=generator),
        f"{prefix}pooled_prompt_embeds": torch.randn(1, POOLED, generator=generator),
        f"{prefix}prompt_attention_mask": torch.ones(1, TOKENS),
    }


def trial_picture(side: int = 384) -> Image.Image:
    """A sun over hills, so that there is something to begin with."""
    y, x = np.mgrid[0:side, 0:side] / side
    sky = np.stack([0.98 - 0.35 * (1 - y), 0.62 - 0.2 * (1 - y), 0.45 + 0.35 * (1 - y)], axis=-1)
    sun = np.clip((0.17 - np.hypot(x - 0.62, y - 0.42)) * side / 2, 0, 1)[..., None]
    picture = sky * (1 - sun) + np.array([1.0, 0.93, 0.7]) * sun
    for height, depth, colour in ((0.62, 0.08, (0.45, 0.35, 0.55)), (0.74, 0.05, (0.28, 0.27, 0.45)), (0.86, 0.04, (0.14, 0.18, 0.3))):
        hill = height + depth * np.sin(2 * math.pi * (x * (1.3 + height) + 2 * height))
        cover = np.clip((y - hill) * side / 2, 0, 1)[..., None]
        picture = picture * (1 - cover) + np.array(colour) * cover
    return Image.fromarray((picture * 255).round().astype(np.uint8))


def _seeded(module: nn.Module) -> nn.Module:
    """Random matrices that keep the size of what goes through; norms and biases as they begin."""
    generator = torch.Generator().manual_seed(_SEED)
    for name, parameter in module.named_parameters():
        if parameter.ndim < 2:
            parameter.data.fill_("norm" in name and name.endswith("weight"))
        else:
            parameter.data = torch.randn(parameter.shape, generator=generator) / math.sqrt(parameter[0].numel())
    return module.eval().requires_grad_(False)
