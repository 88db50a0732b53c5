"""SeaCache by diffusers' hook, which knows Wan but has to be told where Flux keeps its picture.

J. Chung et al., CVPR 2026, arXiv 2602.18993; the hook is that of diffusers 0.42.1. It filters the latents by what can be told from noise at
their sigma, adds up how much they change from step to step, relatively, and computes when the sum reaches the threshold. The authors' code
(github.com/jiwoogit/SeaCache at 0a91c2b) filters the modulated tokens before the first block in the same way, holds the last residual and
has no limit of consecutive skips. Cond and uncond decide apart in both.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from diffusers import FluxTransformer2DModel
from diffusers.hooks import SeaCacheConfig, apply_sea_cache
from torch import nn

from benchmarks.small.loop import CacheRun, CacheSetting
from benchmarks.small.models import unpack

IMAGE_POWER, VIDEO_POWER = 2.0, 3.0
"""The paper's exponents: the spectrum of clean pictures is taken to fall with this power of the frequency."""


def sea_cache(threshold: float, order: int, most: int) -> CacheSetting:
    """diffusers' SeaCache, which skips at most `most` consecutive steps, or any number if 0.

    A skipped step gets the last residual if `order` is 0; if it is 1, the line through the last two is continued.
    """

    def attach(model: nn.Module, _: CacheRun) -> None:
        is_flux = isinstance(model, FluxTransformer2DModel)
        config = SeaCacheConfig(
            threshold,
            residual_order=order,
            max_consecutive_cached=most,
            power_exp=IMAGE_POWER if is_flux else VIDEO_POWER,
            raw_vision_callback=_flux_latents if is_flux else None,
        )
        apply_sea_cache(model, config)

    limit = f", at most {most} skips" if most else ""
    return CacheSetting(f"threshold {threshold:g}{limit}", attach)


def _flux_latents(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[torch.Tensor]:
    """The latents of each picture of the batch, (channels, 1, height, width). Pictures are square."""
    cells = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]
    side = 2 * math.isqrt(cells.shape[1])
    return list(unpack(cells, side, side)[:, :, None].unbind(0))
