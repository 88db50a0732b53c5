"""What two evaluations, or two forwards, must have in common for a residual of one to serve the other.

Objects stand in a key themselves, compared by identity and kept alive: the `id` of an object that is gone may be given out again.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any

import torch

_LIMITS = ("sigma_start", "sigma_end", "start_sigma", "end_sigma")
"""Names under which patches keep the sigmas between which they act."""


class Same:
    """An object as part of a key: equal to nothing but itself."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and other.value is self.value


def composition(model: Any, conds: list[Any], x: torch.Tensor, sigma: float, options: dict[str, Any]) -> Hashable:
    """What an evaluation looks at and what takes part in it at `sigma`. `options` are the model options of the evaluation."""
    transformer = options.get("transformer_options", {})
    members = tuple(
        (index, cond.get("uuid"), _controls(cond.get("control"), sigma))
        for index, group in enumerate(conds)
        for cond in group or ()
        if _is_active(cond, sigma)
    )
    return Same(model), window_of(transformer), frozenset(_patches(options, transformer, sigma)), tuple(x.shape), members


def window_of(transformer_options: dict[str, Any]) -> Hashable:
    """The context window that an evaluation looks at; None if it looks at the whole latent."""
    window = transformer_options.get("context_window")
    return None if window is None else (tuple(window.index_list), getattr(window, "causal_anchor_index", None))


def member_keys(base: Any, x: torch.Tensor, options: dict[str, Any], rows: int) -> list[Hashable] | None:
    """A key for each member of a forward's batch, in the order of its rows; None if its rows are not `rows` of each member.

    `base` is ComfyUI's model, `options` are the transformer options of the forward.
    """
    uuids, indices = options["uuids"], options["cond_or_uncond"]
    if x.shape[0] != rows * len(uuids):
        return None  # Somebody has put other parts of the latent into the batch, such as tiles.
    hooks = base.current_patcher.current_hooks
    forward = Same(base.diffusion_model), tuple(x.shape[1:]), _hooks(hooks)
    return [(*forward, uuid, index) for uuid, index in zip(uuids, indices, strict=True)]


def branch_of(index: int) -> str:
    """Name of the branch of a conditioning."""
    return {0: "cond", 1: "uncond"}.get(index, f"branch{index}")


def _patches(options: dict[str, Any], transformer: dict[str, Any], sigma: float) -> Iterator[Hashable]:
    """Everything that others put around or into the blocks, and whether it acts at `sigma`."""
    for kind, table in transformer.get("patches_replace", {}).items():
        for place, patch in table.items():
            yield kind, place, Same(patch), _acts(patch, sigma)
    for kind, patches in transformer.get("patches", {}).items():
        for patch in patches:
            yield kind, Same(patch), _acts(patch, sigma)
    for group in transformer.get("wrappers", {}).get("diffusion_model", {}).values():
        for wrapper in group:
            yield "wrapper", Same(wrapper), _acts(wrapper, sigma)
    if (function := options.get("model_function_wrapper")) is not None:
        yield "function", Same(function), _acts(function, sigma)
    if (attention := transformer.get("optimized_attention_override")) is not None:
        yield "attention", Same(attention), _acts(attention, sigma)


def _acts(patch: Any, sigma: float) -> tuple[bool, ...]:
    """On which side of each of its limits `sigma` lies, for a patch that acts between two sigmas."""
    held = getattr(patch, "__self__", patch)
    names: tuple[str, ...] = getattr(getattr(held, "__code__", None), "co_freevars", ())
    cells: dict[str, Any] = dict(zip(names, getattr(held, "__closure__", None) or (), strict=False))
    limits = (cells[name].cell_contents if name in cells else getattr(held, name, None) for name in _LIMITS)
    return tuple(sigma >= float(limit) for limit in limits if isinstance(limit, int | float | torch.Tensor))


def _controls(control: Any, sigma: float) -> tuple[Hashable, ...]:
    """The ControlNets of a chain that act at `sigma`, with their strengths."""
    active: list[Hashable] = []
    while control is not None:
        begin, end = getattr(control, "timestep_range", None) or (float("inf"), 0.0)
        if end <= sigma <= begin:
            active.append((Same(control), getattr(control, "strength", None)))
        control = getattr(control, "previous_controlnet", None)
    return tuple(active)


def _hooks(group: Any) -> tuple[Hashable, ...]:
    """The hooks that change weights over the run, with their present strengths."""
    return tuple((Same(hook.hook_ref), hook.strength) for hook in group.hooks) if group else ()


def _is_active(cond: dict[str, Any], sigma: float) -> bool:
    """Whether a conditioning with a start or end percent takes part at `sigma`."""
    start, end = cond.get("timestep_start"), cond.get("timestep_end")
    return (start is None or sigma <= start) and (end is None or sigma >= end)
