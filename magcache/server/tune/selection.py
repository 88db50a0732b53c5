"""Choose among settings that were measured, and confirm the choice where nothing was tuned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...reports.metrics import Picture
from ..bench.rounds import FIRST_SEED
from ..client import Client
from ..runs import Told
from .search import Job, Score, Yardstick
from .space import AUTO
from .study import Tried

_FRESH_SEED = FIRST_SEED + 500


@dataclass(frozen=True, slots=True)
class Goal:
    """What the settings are chosen for: a floor of quality, a budget of time, or both."""

    min_psnr: float | None = None
    max_seconds: float | None = None

    def met(self, seconds: float, psnr: float) -> bool:
        close = self.min_psnr is None or psnr >= self.min_psnr
        return close and (self.max_seconds is None or seconds <= self.max_seconds)

    def ordered(self, front: Sequence[Tried], seconds_at_best: Callable[[float], float]) -> list[Tried]:
        """Those that may meet it, the best first: the fastest above a floor, or else the closest within the budget.

        `seconds_at_best` tells the least time for a speed-up of the sampling.
        """
        good = [tried for tried in front if self.met(seconds_at_best(tried.speedup), tried.psnr)]
        return sorted(good, key=lambda tried: -tried.psnr if self.min_psnr is None else tried.nfe)

    def __str__(self) -> str:
        floor = [] if self.min_psnr is None else [f"at least {self.min_psnr:g} dB"]
        return " and ".join(floor + ([] if self.max_seconds is None else [f"at most {self.max_seconds:g} seconds"]))


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A setting measured again, with seeds that it was not tuned on."""

    tried: Tried
    score: Score
    seconds: float
    met: bool
    """Whether it meets the goal there too."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came out on fresh seeds."""

    full_seconds: float
    full_pictures: list[Picture]
    """The first of each seed."""
    confirmed: list[Confirmed]

    @property
    def chosen(self) -> Confirmed | None:
        """The best that meets the goal there too, if any does."""
        return next((each for each in self.confirmed if each.met), None)


def confirm(client: Client, job: Job, goal: Goal, front: Sequence[Tried], told: Told) -> Verdict:
    """Measure what meets the goal again with fresh seeds, the best first, until one meets it there too.

    Raises `WorkflowError`, `ServerError`.
    """
    yardstick, confirmed = Yardstick(client, job, _FRESH_SEED, told), list[Confirmed]()
    for tried in goal.ordered(front, yardstick.seconds_at_best):
        score = yardstick.measure(f"confirming trial {tried.number}", tried.setting)
        seconds = score.part * yardstick.seconds
        confirmed.append(Confirmed(tried, score, seconds, goal.met(seconds, min(score.quality.psnr))))
        if confirmed[-1].met:
            break
    return Verdict(yardstick.seconds, [run.pictures[0] for run in yardstick.full.values()], confirmed)


def keep(client: Client, job: Job, chosen: Confirmed) -> list[str]:
    """Leave the setting on a server as the preset of the curves it was measured with; returns their names. Raises `WorkflowError`.

    Only MagCache Auto leaves anything to a preset: the numbers of the published rule stand in the node.
    """
    curves = sorted(curve for curve in chosen.score.curves if curve) if job.space is AUTO else []
    if curves:
        nodes = [{"class_type": "MagCachePreset", "inputs": {"curve": curve, **chosen.tried.setting}} for curve in curves]
        client.run({str(index): node for index, node in enumerate(nodes)})
    return curves
