"""What a scheduler does with the model's output, found out by dry runs of a copy of it on a few numbers.

A run in which only one step answers 1 shows how much that step moves the end. Schedulers of any order are linear in the model's outputs.
"""

from __future__ import annotations

import copy
import logging
import math
import random
from dataclasses import dataclass
from typing import Any

import torch

from .schedule import Schedule

_TOLERANCE = 1e-3
"""Relative difference up to which moves count as equal: schedulers compute in fp32."""
_START = 0.5

log = logging.getLogger("magcache")


@dataclass(frozen=True, slots=True)
class SchedulerTraits:
    """What matters of a scheduler."""

    influence: tuple[float, ...] | None
    """How much the model's output at each step moves the end of the run; None if the moves of several steps do not add up."""
    adds_noise: bool
    """Whether it adds noise, or cannot be tried out."""


def traits_of(scheduler: Any, schedule: Schedule, first: int) -> SchedulerTraits:
    """Try out a scheduler on its own schedule from step `first` on."""
    count = schedule.steps - first
    numbers = random.Random(0)
    answers = torch.tensor([numbers.uniform(-1, 1) for _ in range(count)])
    silent = torch.zeros(count)
    table = torch.cat([torch.eye(count), answers[:, None], silent[:, None]], dim=1)
    try:
        *ends, together, still = _dry_run(scheduler, schedule, first, table, seed=0)
        again = _dry_run(scheduler, schedule, first, table, seed=1)[-1]
    except Exception as error:  # noqa: BLE001 - whatever a scheduler raises, it cannot be tried out
        log.debug("MagCache could not try a %s: %s", type(scheduler).__name__, error)
        return SchedulerTraits(None, adds_noise=True)
    if not math.isclose(still, again, rel_tol=_TOLERANCE, abs_tol=1e-6):
        return SchedulerTraits(None, adds_noise=True)
    moves = [end - still for end in ends]
    parts = [move * float(answer) for move, answer in zip(moves, answers, strict=True)]
    size = max(sum(map(abs, parts)), abs(together), abs(still))
    adds_up = math.isfinite(size) and abs(together - still - sum(parts)) <= _TOLERANCE * size
    influence = (*([0.0] * first), *moves)
    return SchedulerTraits(influence if adds_up else None, adds_noise=False)


def _dry_run(scheduler: Any, schedule: Schedule, first: int, answers: torch.Tensor, seed: int) -> list[float]:
    """Ends of runs from the same number, one for each column of `answers`, which holds the model's outputs, one row a step."""
    tried = copy.copy(scheduler)
    for name, value in vars(scheduler).items():
        vars(tried)[name] = value.detach().cpu().clone() if isinstance(value, torch.Tensor) else copy.deepcopy(value)
    if hasattr(tried, "_step_index"):
        tried._step_index = None
    if hasattr(tried, "set_begin_index"):
        tried.set_begin_index(first)
    sample = torch.full((answers.shape[1], 1, 1, 1), _START)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for step in range(first, schedule.steps):
            output = answers[step - first].reshape(-1, 1, 1, 1)
            sample = tried.step(output, tried.timesteps[step], sample, return_dict=False)[0]
    return [float(value) for value in sample.flatten()]
