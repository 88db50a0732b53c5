"""How a run goes: what is known of it beforehand, and what follows from that. The same in every host."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ..curves.curve import MagnitudeCurve
from ..curves.store import CurveStore
from ..planning.plan import Plan
from ..reports.run_report import RunLabel, RunReport
from ..reports.wording import summary
from .family import Family, ModelFacts
from .recorder import Recorder

AUTO = "auto"
"""Stands for the curve, or the kind of model, that fits the model."""
_PLACES = 1000
"""Number of equal parts in which `RunFacts.schedule_part` measures a schedule."""
_ENOUGH_COVERED = 0.75
"""A calibration serves a run if this part of the run's sigmas lies within the measured ones."""


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What a mode needs to know of a run that is about to begin."""

    family: Family
    model: ModelFacts
    fingerprint: str
    sigmas: tuple[float, ...]
    """Noise levels of the run, one a step, without the closing one."""
    guidance: float
    """The CFG scale, 1 without guidance."""
    sigma_max: float
    """The model's largest sigma."""
    sigma_at: Callable[[float], float]
    """The sigma at a fraction of the schedule, from 0 at its begin to 1 at its end."""
    influence: tuple[float, ...] | None
    """How much the model's output at each step moves the end of the run, in sigma; None if the sampler does not let it be told."""
    one_a_step: bool
    """Whether the sampler evaluates the model once a step."""
    adds_noise: bool
    closing_sigma: float = 0.0

    @property
    def correctable(self) -> bool:
        """Whether a computed step can correct the gap before it: the sampler evaluates once a step and adds no noise."""
        return self.one_a_step and not self.adds_noise

    @property
    def schedule_part(self) -> float:
        """The part of the model's schedule that the run covers: below 1 with denoise, and between samplers."""
        ends = max(self.sigmas, default=self.closing_sigma), self.closing_sigma
        begin, end = (bisect_left(range(_PLACES), -sigma, key=lambda place: -self.sigma_at(place / _PLACES)) for sigma in ends)
        return max(1, end - begin) / _PLACES

    @property
    def named(self) -> str | None:
        """The shipped curve that was measured on this model; None if there is none."""
        return self.family.identify(self.model)

    @property
    def kind(self) -> str:
        """Name of the model: that of its curve, or else of its family."""
        return self.named or self.family.name


@dataclass(frozen=True, slots=True)
class Trials:
    """Runs that follow the first one, from the same noise, to measure more."""

    plans: tuple[Plan, ...]
    conclude: Callable[[Callable[[Plan], float]], str]
    """Called with a function that runs a plan and returns ‖x − x_full‖ / ‖x_full‖ of its final latent x. Returns what to tell the
    user. It may raise `MagCacheError`, which the host shows."""


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What came of a run beside its picture."""

    text: str
    """What to tell the user."""
    ratios: tuple[float, ...] = ()
    """γ at each step of the plan."""
    trials: Trials | None = None


@dataclass(frozen=True, slots=True)
class RunSetup:
    """How a run goes."""

    plan: Plan
    label: RunLabel
    ratios: tuple[float, ...] = ()
    """γ of the curve at each step of the plan; empty without a curve."""
    announcement: str = ""
    """What to tell the user before the run begins."""
    recorder: Recorder | None = None
    """What measures a curve in this run."""
    conclude: Callable[[RunReport], Conclusion] = lambda report: Conclusion(summary(report), report.ratios)
    """Called after the run has ended by itself. It may raise `MagCacheError`, which the host shows; the picture is there already."""


class Mode(Protocol):
    """How the runs of one node or call go."""

    def setup(self, run: RunFacts, store: CurveStore) -> RunSetup:
        """Decide a run. Raises `MagCacheError` if its settings or its curve cannot be used."""
        ...


def covers(curve: MagnitudeCurve, run: RunFacts) -> bool:
    """Whether a curve was measured at most of the run's sigmas."""
    return curve.coverage(run.sigmas) >= _ENOUGH_COVERED


def serves(curve: MagnitudeCurve, run: RunFacts) -> bool:
    """Whether a calibration is enough to plan a speed-up with."""
    return bool(curve.products) and covers(curve, run)
