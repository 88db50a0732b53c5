"""Tiny random models that restore what they are given."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import comfy.supported_models

from .tiny import Tiny, built, noise


@cache
def seedvr2() -> Tiny:
    """It sharpens a video. Its end is that of the 7B: without a norm."""
    model = built(
        comfy.supported_models.SeedVR2, image_model="seedvr2", norm_eps=1e-5, num_layers=4, mlp_type="normal", vid_dim=64, txt_in_dim=48,
        heads=2, head_dim=32, mm_layers=4, rope_type="rope3d", rope_dim=24,
    )  # fmt: skip
    return Tiny(model, (16, 3, 8, 8), 48, {"condition": noise(1, 17, 3, 8, 8, seed=3)})


OTHERS: dict[str, Callable[[], Tiny]] = {"seedvr2": seedvr2} if hasattr(comfy.supported_models, "SeedVR2") else {}
