"""Whether another step cache is at work on a model: two of them would take each other's residuals."""

from __future__ import annotations

from typing import Any

from torch import nn

_MODULES = ("mag_cache", "first_block_cache", "taylorseer_cache", "faster_cache", "pyramid_attention_broadcast", "sea_cache")
"""Modules of `diffusers.hooks` whose hooks cache something from step to step."""


def other_cache_on(model: nn.Module) -> str | None:
    """Name of another cache on a model, None if there is none."""
    if getattr(model, "_is_cached", False) or hasattr(model, "_context_manager"):
        return "cache-dit"
    for module in model.modules():
        registry: Any = vars(module).get("_diffusers_hook")
        for hook in registry.hooks.values() if registry is not None else ():
            name = type(hook).__module__.rpartition(".")[2]
            if name in _MODULES:
                return f"diffusers' {name}"
    return None
