"""diffusers' switches for graphics cards with little memory."""

from __future__ import annotations

import gc
import importlib
from typing import Any

import torch
from torch import nn

from .model import Model
from .settings import Memory, Settings

_BLOCKS = 1
"""Transformer blocks that are on the device at a time when offloading in groups."""
_GROUP_HOOKS = ("group_offloading", "layer_execution_tracker", "lazy_prefetch_group_offloading")


class Placement:
    """Puts a pipeline where its settings say, and remembers where it is."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._now: Memory | None = None

    def place(self, settings: Settings) -> None:
        """Does nothing if all is as it was for the job before. Without a graphics card there is nothing to move."""
        vae = self._model.pipe.vae
        for switch in ("tiling", "slicing"):
            getattr(vae, f"{'enable' if settings.tiling else 'disable'}_{switch}")()
        if self._model.device != "cpu" and settings.memory != self._now:
            self._now = None  # It is nowhere in particular if this fails.
            self._move(settings.memory)
            self._now = settings.memory

    def _move(self, memory: Memory) -> None:
        pipe, device = self._model.pipe, self._model.device
        pipe.remove_all_hooks()
        for module in _modules(pipe):
            _remove_group_offloading(module)
            module.to("cpu")
        free_memory(device)
        if memory == "model":
            pipe.enable_model_cpu_offload(device=device)
        elif memory == "group":
            offload_in_groups(pipe, torch.device(device))
        else:
            pipe.to(device)


def offload_in_groups(pipe: Any, device: torch.device) -> None:
    """The transformer by blocks and the text encoders by layers, ahead of their use where the device has streams."""
    hooks: Any = importlib.import_module("diffusers.hooks")
    stream = device.type == "cuda"
    for name, module in pipe.components.items():
        if not isinstance(module, nn.Module):
            continue
        if name == "transformer":
            hooks.apply_group_offloading(
                module, onload_device=device, offload_type="block_level", num_blocks_per_group=_BLOCKS, use_stream=stream
            )
        elif name.startswith("text_encoder"):
            hooks.apply_group_offloading(module, onload_device=device, offload_type="leaf_level", use_stream=stream)
        else:
            module.to(device)


def free_memory(device: str) -> None:
    """Give back what a job has left on a graphics card."""
    if device == "cpu":
        return
    gc.collect()
    backend = getattr(torch, device.partition(":")[0], None)
    if hasattr(backend, "empty_cache"):
        backend.empty_cache()  # pyright: ignore[reportOptionalMemberAccess]


def _modules(pipe: Any) -> list[nn.Module]:
    return [each for each in pipe.components.values() if isinstance(each, nn.Module)]


def _remove_group_offloading(module: nn.Module) -> None:
    hooks: Any = importlib.import_module("diffusers.hooks")
    registry = hooks.HookRegistry.check_if_exists_or_initialize(module)
    for name in _GROUP_HOOKS:
        registry.remove_hook(name, recurse=True)
