"""Which steps of a schedule a model samples, where two models share it: the experts of Wan 2.2."""

from __future__ import annotations

from typing import Any

from .schedule import Schedule

_FIRST, _SECOND = "transformer", "transformer_2"


def steps_of(pipe: Any, name: str, schedule: Schedule, first: int) -> range:
    """The steps of the component `name` of a pipeline in a run whose first step is `first`.

    The first expert samples the timesteps above a boundary, the second one those below.
    """
    ratio = getattr(pipe, "config", {}).get("boundary_ratio")
    if pipe is None or name != _FIRST or ratio is None or getattr(pipe, _SECOND, None) is None:
        return range(first, schedule.steps)
    boundary = ratio * pipe.scheduler.config.num_train_timesteps
    stop = next((step for step, value in enumerate(schedule.values) if value < boundary), schedule.steps)
    return range(first, max(stop, first + 1))
