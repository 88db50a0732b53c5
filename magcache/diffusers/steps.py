"""Which step of the schedule a forward belongs to, read from what the pipeline and its scheduler show. Nothing is wrapped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from .schedule import Schedule

_TIMES = ("timestep", "timesteps", "t", "noise_labels")
"""Names under which transformers take the time."""
_UNITS = (1.0, 1e-3)
"""Transformers take the timestep as it is or in thousandths."""


def step_of(pipe: Any, scheduler: Any, schedule: Schedule, arguments: Mapping[str, Any]) -> int | None:
    """The 0-based step of a forward with these arguments; None if it belongs to no step of the schedule, or if that cannot be told.

    Sources in their order: the timestep of the pipeline's loop and that of the forward, if they are elements of the scheduler's own;
    the scheduler's count; the value of the timestep, for which the device must be waited for.
    """
    own = _place(getattr(pipe, "_current_timestep", None), schedule.timesteps)
    if own is not None:
        return own
    time = next((arguments[name] for name in _TIMES if arguments.get(name) is not None), None)
    own = _place(time, schedule.timesteps)
    if own is not None:
        return own
    for name in ("step_index", "begin_index"):
        index = getattr(scheduler, name, None)
        if index is not None:
            return int(index) if int(index) < schedule.steps else None
    return _step_by_value(time, schedule)


def _place(time: object, timesteps: torch.Tensor) -> int | None:
    """Where `time` stands in `timesteps` if it is a view of it. Only addresses are compared: the device is not waited for."""
    if not isinstance(time, torch.Tensor) or time.dtype != timesteps.dtype or time.device != timesteps.device or not time.numel():
        return None
    if time.untyped_storage().data_ptr() != timesteps.untyped_storage().data_ptr():
        return None
    found = (time.data_ptr() - timesteps.data_ptr()) // timesteps.element_size()
    return found if 0 <= found < len(timesteps) else None


def _step_by_value(time: object, schedule: Schedule) -> int | None:
    """The first step whose timestep is that of `time`. Tokens of a given picture may have the time 0; others must have the same."""
    if not isinstance(time, torch.Tensor | float | int):
        return None
    times = torch.as_tensor(time).detach().float().flatten()
    top = float(times.max())
    if not bool(((times == top) | (times == 0)).all()):
        return None
    scales = [[unit * value for value in schedule.values] for unit in _UNITS]
    scales.append([1 - 1e-3 * value for value in schedule.values])
    for candidates in scales:
        tolerance = 1e-6 + 1e-6 * max(map(abs, candidates))
        found = next((step for step, value in enumerate(candidates) if abs(value - top) <= tolerance), None)
        if found is not None:
            return found
    return None
