"""What a run did, for people and for programs."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from enum import Enum
from itertools import zip_longest
from statistics import median
from typing import Any, Literal

from ..planning.plan import Plan

Kind = Literal["skipping", "calibrating", "full"]
"""What a run is for: to skip steps, to measure a curve, or neither."""
Reused = Literal["blocks", "prediction"]
"""What a skipped step takes from an earlier one: the residual of its blocks, or the model's prediction as a whole."""


REPORT_EVENT, CALIBRATION_EVENT = "magcache.report", "magcache.calibration"
"""Names under which a host sends the report of a run, and a new curve, to programs that listen."""


class Disturbance(str, Enum):
    """Something beside MagCache that took part in a run."""

    EXTRA_EVALUATIONS = "the model was evaluated more often than once a step"
    OTHER_CACHE = "another step cache is on the model"
    NOT_REPRODUCED = "a skipped step would not give what its blocks give"


@dataclass(frozen=True, slots=True)
class RunLabel:
    """What a run is for and what it goes by."""

    kind: Kind
    curve: str | None = None
    """Name of the curve; None if there is none."""
    tuned: bool = False
    """Whether the settings are those that were tuned for this curve."""
    note: str = ""
    """A sentence about how the run differs from what was asked for; empty if it does not."""
    errors: tuple[tuple[str, float], ...] = ()
    """In a model of several streams, such as video and sound, the predicted error of each by name."""

    @property
    def text(self) -> str:
        """The curve in a status line."""
        if self.kind == "calibrating":
            return "measuring a curve"
        return f"curve {self.curve or 'none'}" + " (tuned)" * self.tuned


@dataclass(frozen=True, slots=True)
class Event:
    """One evaluation of the model."""

    sigma: float
    step: int | None
    """Step of the plan it belongs to (0-based); None if it lay outside the plan."""
    planned: bool
    """Whether the plan said to reuse."""
    reused: bool
    """Whether a residual was reused."""
    corrected: bool = False
    """Whether it corrected the gap before it."""


@dataclass(frozen=True, slots=True)
class Step:
    """What became of one step of the plan."""

    index: int
    sigma: float
    ratio: float | None
    """γ of the curve; None without a curve."""
    error: float
    """Predicted relative error of the reused residual; 0 if the step was to be computed."""
    evaluations: int
    computed: int
    """Evaluations that ran the block stack."""
    refused: int
    """Computed ones that the plan would have reused."""
    corrected: int
    """Computed ones that corrected the gap before them."""
    seconds: float | None
    """Time of its evaluations; None if that is not known."""

    @property
    def reused(self) -> bool:
        """Whether no evaluation ran the block stack."""
        return self.evaluations > 0 and not self.computed


@dataclass(frozen=True, slots=True)
class RunReport:
    """The evaluations of one sampling run and how long each took. Plain values only."""

    label: RunLabel
    plan: Plan
    events: tuple[Event, ...]
    seconds: tuple[float, ...]
    """Seconds from the beginning of each evaluation to that of the next; the last to the end of its evaluation."""
    residual_bytes: int
    """Most memory that stored residuals took at a time."""
    ratios: tuple[float, ...] = ()
    """γ of the curve at each step of the plan, the mean over its branches; empty without a curve."""
    disturbances: tuple[Disturbance, ...] = ()
    """What else took part in the run."""
    reuses: Reused = "blocks"
    """What a skipped step takes from an earlier one."""

    @property
    def steps(self) -> int:
        return self.plan.steps

    def outcomes(self) -> list[Step]:
        """What became of each step. An evaluation outside of the plan belongs to none."""
        events: dict[int | None, list[Event]] = defaultdict(list)
        seconds: dict[int | None, float] = defaultdict(float)
        for event, spent in zip_longest(self.events, self.seconds):
            events[event.step].append(event)
            seconds[event.step] += math.nan if spent is None else spent
        return [
            Step(
                index=index,
                sigma=sigma,
                ratio=self.ratios[index] if self.ratios else None,
                error=self.plan.errors[index],
                evaluations=len(events[index]),
                computed=sum(not event.reused for event in events[index]),
                refused=sum(event.planned and not event.reused for event in events[index]),
                corrected=sum(event.corrected for event in events[index]),
                seconds=None if not events[index] or math.isnan(seconds[index]) else seconds[index],
            )
            for index, sigma in enumerate(self.plan.sigmas)
        ]

    @property
    def evaluations(self) -> int:
        return len(self.events)

    @property
    def reused(self) -> int:
        return sum(event.reused for event in self.events)

    @property
    def nfe(self) -> int:
        """Evaluations that ran the block stack."""
        return self.evaluations - self.reused

    @property
    def refused(self) -> int:
        """Evaluations that the plan would have reused but that were computed to be safe."""
        return sum(event.planned and not event.reused for event in self.events)

    @property
    def predicted(self) -> float:
        """Speed-up if reusing took no time."""
        return self.evaluations / self.nfe if self.nfe else 1.0

    @property
    def measured(self) -> float | None:
        """Speed-up of the sampling: the time of all evaluations at the median of the computed ones, divided by the time they took."""
        timed = self.events[: len(self.seconds)]
        full = [spent for spent, event in zip(self.seconds, timed, strict=True) if not event.reused]
        total = sum(self.seconds)
        if not full or not total or len(full) == len(timed):
            return None
        return median(full) * len(self.seconds) / total

    def line(self) -> str:
        """The run in one line."""
        parts = [f"{self.evaluations} evaluations", f"{self.reused} reused", f"NFE {self.nfe}", f"predicted {self.predicted:.2f}×"]
        if self.measured is not None:
            parts.append(f"measured {self.measured:.2f}×")
        parts.append(self.label.text)
        if self.label.errors:
            parts.append("predicted error " + ", ".join(f"{name} {error:.3f}" for name, error in self.label.errors))
        if self.reuses == "prediction":
            parts.append("the model's prediction is reused as a whole")
        if self.residual_bytes:
            parts.append(f"{'residuals' if self.reuses == 'blocks' else 'predictions'} {size_of(self.residual_bytes)}")
        if self.refused:
            parts.append(f"{self.refused} computed although planned to be reused (no matching residual)")
        return "MagCache: " + " · ".join(parts)

    def status(self, done: int, steps: int) -> str:
        """The progress of a run of which `done` of `steps` steps are over."""
        parts = [f"{done} of {steps} steps"]
        if self.label.kind == "calibrating":
            parts.append("measuring")
        else:
            computed = {event.step for event in self.events if not event.reused}
            parts.append(f"{len({event.step for event in self.events} - computed)} skipped")
        if (speedup := self.measured) is not None:
            parts.append(f"{speedup:.1f}× so far")
        return " · ".join(parts)

    def table(self) -> str:
        """A line for each step: what was planned, what was done and how long it took."""
        lines = ["step    sigma   ratio   error        ms  blocks"]
        for step in self.outcomes():
            ratio = "" if step.ratio is None else f"{step.ratio:.3f}"
            error = f"{step.error:.3f}" if step.error else ""
            spent = "" if step.seconds is None else f"{step.seconds * 1000:.1f}"
            lines.append(f"{step.index:4}  {step.sigma:7.4f}  {ratio:>6}  {error:>6}  {spent:>8}  {_done(step)}")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.label.kind,
            "curve": self.label.curve,
            "tuned": self.label.tuned,
            "reuses": self.reuses,
            "predicted_errors": dict(self.label.errors),
            "steps": self.steps,
            "evaluations": self.evaluations,
            "nfe": self.nfe,
            "predicted_speedup": self.predicted,
            "measured_speedup": self.measured,
            "residual_bytes": self.residual_bytes,
            "sigmas": [event.sigma for event in self.events],
            "decisions": ["reuse" if event.reused else "compute" for event in self.events],
            "seconds": list(self.seconds),
        }


def _done(step: Step) -> str:
    if step.refused:
        return "computed, planned to be reused"
    if not step.evaluations:
        return "not reached"
    if step.reused:
        return "reused"
    return "computed, corrected the steps before" if step.corrected else "computed"


def size_of(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
