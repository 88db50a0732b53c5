"""What a run did, for people and for programs."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from statistics import median
from typing import Any

from .plan import Plan

CALIBRATION = "calibration"
"""What stands for the curve of a run that measures one."""


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
    """Whether it made good what the gap before it did wrong."""


@dataclass(frozen=True, slots=True)
class Step:
    """What became of one step of the plan."""

    index: int
    sigma: float
    ratio: float | None
    """γ that the curve has there; None without a curve."""
    error: float
    """The error that the plan expected of reusing; 0 if it was to be computed."""
    evaluations: int
    computed: int
    """Evaluations that ran the block stack."""
    refused: int
    """Computed ones that the plan would have reused."""
    corrected: int
    """Computed ones that made good what the gap before them did wrong."""
    seconds: float | None
    """What its evaluations took; None if that is not known."""

    @property
    def reused(self) -> bool:
        """Whether no evaluation ran the block stack."""
        return self.evaluations > 0 and not self.computed


@dataclass(frozen=True, slots=True)
class RunReport:
    """The evaluations of one sampling run and how long each took. Plain values only."""

    curve: str
    plan: Plan
    events: tuple[Event, ...]
    seconds: tuple[float, ...]
    """Seconds from the beginning of each evaluation to that of the next; the last to the end of its evaluation."""
    residual_bytes: int
    """The most that stored residuals took at a time."""
    ratios: tuple[float, ...] = ()
    """γ of the curve at each step of the plan, the mean over its branches; empty without a curve."""

    @classmethod
    def of(cls, curve: str, plan: Plan, events: Sequence[Event], seconds: Sequence[float], residual_bytes: int) -> RunReport:
        return cls(curve, plan, tuple(events), tuple(seconds), residual_bytes)

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
        """Speed-up if reusing were free."""
        return self.evaluations / self.nfe if self.nfe else 1.0

    @property
    def measured(self) -> float | None:
        """Speed-up of the sampling: what all evaluations would have taken at the median of the computed ones, by what they took."""
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
        parts.append(f"curve {self.curve}")
        if self.residual_bytes:
            parts.append(f"residuals {size_of(self.residual_bytes)}")
        if self.refused:
            parts.append(f"{self.refused} computed although planned to be reused (no matching residual)")
        return "MagCache: " + " · ".join(parts)

    def status(self, done: int, steps: int) -> str:
        """How a run stands that still goes on: `done` of its `steps` are."""
        parts = [f"{done} of {steps} steps"]
        if self.curve == CALIBRATION:
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

    def warning(self) -> str | None:
        """What to tell a user who got no speed-up."""
        if self.reused or not self.events or self.curve == CALIBRATION:
            return None
        if self.steps < 10:
            return (
                f"MagCache: nothing was skipped. With {self.steps} steps there is little to skip: "
                "few-step (distilled) models already jump over what a cache would reuse."
            )
        if self.refused:
            return (
                "MagCache: nothing was skipped, because the conditioning, the size or the patches changed between steps and no "
                "residual was safe to reuse."
            )
        return (
            "MagCache: nothing was skipped. For more speed raise speedup (MagCache Auto), or raise magcache_thresh or magcache_K or "
            "lower retention_ratio (MagCache)."
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "curve": self.curve,
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
