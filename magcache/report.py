"""What a run did, for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any


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


@dataclass(frozen=True, slots=True)
class RunReport:
    """The evaluations of one sampling run and how long each took."""

    curve: str
    steps: int
    events: tuple[Event, ...]
    seconds: tuple[float, ...]
    """Seconds from the beginning of each evaluation to that of the next; the last to the end of its evaluation."""
    residual_bytes: int
    """The most that stored residuals took at a time."""

    @classmethod
    def of(cls, curve: str, steps: int, events: Sequence[Event], seconds: Sequence[float], residual_bytes: int) -> RunReport:
        return cls(curve, steps, tuple(events), tuple(seconds), residual_bytes)

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
        full = [spent for spent, event in zip(self.seconds, self.events, strict=False) if not event.reused]
        total = sum(self.seconds)
        if not full or not total or not self.reused:
            return None
        return median(full) * len(self.seconds) / total

    def line(self) -> str:
        """The run in one line."""
        parts = [f"{self.evaluations} evaluations", f"{self.reused} reused", f"NFE {self.nfe}", f"predicted {self.predicted:.2f}×"]
        if self.measured is not None:
            parts.append(f"measured {self.measured:.2f}×")
        parts.append(f"curve {self.curve}")
        if self.residual_bytes:
            parts.append(f"residuals {_size(self.residual_bytes)}")
        if self.refused:
            parts.append(f"{self.refused} computed although planned to be reused (no matching residual)")
        return "MagCache: " + " · ".join(parts)

    def warning(self) -> str | None:
        """What to tell a user who got no speed-up."""
        if self.reused or not self.events:
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


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
