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
from ..texts import Text
from .wording import summary

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
    why: str = ""
    """The plan's reason in a sentence with the figures of this run; empty if there is none, or nothing to add to it."""
    detail: str = ""
    """What else is known about the reason, for those who want to know more."""
    asked: float | None = None
    """The speed-up that was asked for; None if none was."""
    unknown: str = ""
    """The class of the model if MagCache does not know its architecture."""
    errors: tuple[tuple[str, float], ...] = ()
    """In a model of several streams, such as video and sound, the predicted error of each by name."""

    @property
    def text(self) -> Text:
        """The curve in a status line."""
        if self.kind == "calibrating":
            return Text("measuring a curve")
        if self.curve is None:
            return Text("no curve")
        return Text("curve {curve} (tuned)", curve=self.curve) if self.tuned else Text("curve {curve}", curve=self.curve)


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
    withheld: bool = False
    """Whether the model's own settings forbid to skip it."""


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
    other_cache: str = ""
    """Name of another step cache on the model, as far as it is known."""

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

    def line(self, text: str = "") -> str:
        """The run in one line for the log: `text`, by default what people are told of it, with more that experts want to know."""
        parts = [str(text or summary(self)).removeprefix("MagCache: ")]
        if self.label.errors:
            parts.append("predicted error " + ", ".join(f"{name} {error:.3f}" for name, error in self.label.errors))
        if self.reuses == "prediction":
            parts.append("the model's prediction is reused as a whole")
        return "MagCache: " + " · ".join(parts)

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
            "asked_speedup": self.label.asked,
            "reason": self.plan.reason and self.plan.reason.value,
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
