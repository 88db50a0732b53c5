"""What two evaluations, or two forwards, must have in common for a residual of one to serve the other."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import torch


def composition(model: Any, conds: list[Any], x: torch.Tensor, sigma: float, transformer_options: dict[str, Any]) -> Hashable:
    """What must be the same for residuals of one evaluation to be used in another."""
    window = transformer_options.get("context_window")
    place = None if window is None else (tuple(window.index_list), getattr(window, "causal_anchor_index", None))
    members = tuple((index, cond.get("uuid")) for index, group in enumerate(conds) for cond in group or () if _active(cond, sigma))
    return id(model), place, _patches(transformer_options), tuple(x.shape), members


def _patches(transformer_options: dict[str, Any]) -> Hashable:
    """The identity of all that others put into the blocks: a second pass may replace the very blocks that the first replaced."""
    replaced, added = transformer_options.get("patches_replace", {}), transformer_options.get("patches", {})
    return (
        frozenset((kind, place, id(patch)) for kind, table in replaced.items() for place, patch in table.items()),
        frozenset((kind, id(patch)) for kind, patches in added.items() for patch in patches),
    )


def strengths(base: Any) -> tuple[float, ...]:
    """How strong the LoRAs that are scheduled over the run are in this forward of ComfyUI's model."""
    hooks = base.current_patcher.current_hooks
    return tuple(hook.strength for hook in hooks.hooks) if hooks else ()


def _active(cond: dict[str, Any], sigma: float) -> bool:
    """Whether a conditioning with a start or end percent takes part at `sigma`."""
    start, end = cond.get("timestep_start"), cond.get("timestep_end")
    return (start is None or sigma <= start) and (end is None or sigma >= end)
