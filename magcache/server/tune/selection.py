"""Choose among measured settings, and confirm the choice with seeds that nothing was tuned on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...reports.metrics import Picture
from ..client import Client
from ..runs import FIRST_SEED, OnProgress
from .baseline import Baseline, Measurement
from .space import AUTO_SPACE
from .study import MeasuredTrial
from .task import TuningTask

_CONFIRMATION_SEED = FIRST_SEED + 500
"""The first seed to confirm with, beyond all those to tune on."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What the user asks for: a lowest PSNR, a longest time, or both."""

    min_psnr: float | None = None
    """Of the worst picture, in dB."""
    max_seconds: float | None = None
    """Of the whole workflow."""

    def is_met(self, seconds: float, psnr: float) -> bool:
        close_enough = self.min_psnr is None or psnr >= self.min_psnr
        return close_enough and (self.max_seconds is None or seconds <= self.max_seconds)

    def candidates(self, front: Sequence[MeasuredTrial], shortest_seconds: Callable[[float], float]) -> list[MeasuredTrial]:
        """The trials that may meet the goal, the best first: fewest evaluations if a PSNR is given, else highest PSNR.

        `shortest_seconds` returns the least time of the workflow for a speed-up of its sampling.
        """
        possible = [trial for trial in front if self.is_met(shortest_seconds(trial.speedup), trial.psnr)]
        return sorted(possible, key=lambda trial: -trial.psnr if self.min_psnr is None else trial.nfe)

    def __str__(self) -> str:
        psnr = [] if self.min_psnr is None else [f"at least {self.min_psnr:g} dB"]
        return " and ".join(psnr + ([] if self.max_seconds is None else [f"at most {self.max_seconds:g} seconds"]))


@dataclass(frozen=True, slots=True)
class Confirmation:
    """A trial measured again, with the confirmation seeds."""

    trial: MeasuredTrial
    measurement: Measurement
    seconds: float
    """Of the whole workflow."""
    met: bool
    """Whether it meets the goal with these seeds too."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The trials that were measured again, and the one that is chosen."""

    full_seconds: float
    """Time of the whole workflow with all steps."""
    full_pictures: list[Picture]
    """The first of each seed, with all steps."""
    confirmations: list[Confirmation]

    @property
    def chosen(self) -> Confirmation | None:
        """The best trial that meets the goal with the confirmation seeds too; None if none does."""
        return next((each for each in self.confirmations if each.met), None)


def confirm(client: Client, task: TuningTask, goal: Goal, front: Sequence[MeasuredTrial], on_progress: OnProgress) -> Selection:
    """Measure the candidates again with the confirmation seeds, the best first, until one meets the goal.

    Raises `WorkflowError`, `ServerError`.
    """
    baseline, confirmations = Baseline(client, task, _CONFIRMATION_SEED, on_progress), list[Confirmation]()
    for trial in goal.candidates(front, baseline.shortest_seconds):
        found = baseline.measure(f"confirming trial {trial.number}", trial.settings)
        seconds = found.relative_seconds * baseline.seconds
        confirmations.append(Confirmation(trial, found, seconds, goal.is_met(seconds, min(found.quality.psnr))))
        if confirmations[-1].met:
            break
    return Selection(baseline.seconds, baseline.pictures, confirmations)


def save_preset(client: Client, task: TuningTask, chosen: Confirmation) -> list[str]:
    """Save the chosen settings on a server as the preset of each curve they were measured with; returns the curves' names.

    Presets are for MagCache Auto. Settings of the MagCache node are saved nowhere but in the workflow. Raises `WorkflowError`.
    """
    curves = sorted(chosen.measurement.curves) if task.space is AUTO_SPACE else []
    if curves:
        nodes = [{"class_type": "MagCachePreset", "inputs": {"curve": curve, **chosen.trial.settings}} for curve in curves]
        client.run({str(index): node for index, node in enumerate(nodes)})
    return curves
