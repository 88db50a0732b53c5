"""What each step of a run does. Pure floats: no tensors, no host, no clock."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from .curve import same_sigma

Recipe = tuple[tuple[int, float], ...]
"""Computed steps and the weight of each one's residual."""


@dataclass(frozen=True, slots=True)
class Correction:
    """What a computed step makes good of the gap before it: gain · (what it finds − what the gap led to expect)."""

    gain: float
    expected: Recipe


@dataclass(frozen=True, slots=True)
class Plan:
    """What each step of one run does.

    `sigmas` are the run's noise levels, one a step (without the closing 0); `reused` tells for each whether it reuses; `errors` is
    the error the rule predicted for it, 0 for a computed step.
    """

    sigmas: tuple[float, ...]
    reused: tuple[bool, ...]
    errors: tuple[float, ...]
    recipes: tuple[Recipe, ...] = ()
    """How each reused step is made of computed ones; left out, each holds the residual of the last computed step."""
    corrections: tuple[Correction | None, ...] = ()
    """What each computed step corrects; left out, none does."""

    @property
    def steps(self) -> int:
        return len(self.sigmas)

    @property
    def nfe(self) -> int:
        """Number of steps that are computed."""
        return self.reused.count(False)

    @property
    def speedup(self) -> float:
        """Steps per computed step: the speed-up if reusing were free."""
        return self.steps / self.nfe if self.nfe else 1.0

    @property
    def decisions(self) -> list[str]:
        """`compute` or `reuse` for each step."""
        return ["reuse" if reuse else "compute" for reuse in self.reused]

    def step_at(self, sigma: float) -> int | None:
        """The step an evaluation at `sigma` belongs to: the last one that begins at `sigma` or above. None above the first.

        Samplers that evaluate within a step (Heun, DPM-2, SDE) thereby follow the decision of that step.
        """
        found = None
        for step, begin in enumerate(self.sigmas):
            if begin >= sigma or same_sigma(begin, sigma):
                found = step
            if not begin > sigma:
                break
        return found

    def recipe(self, step: int) -> Recipe:
        """The computed steps whose residuals a reused step adds up, each with its weight; nothing for a computed step."""
        if not self.reused[step]:
            return ()
        return self.recipes[step] if self.recipes else ((self.source(step), 1.0),)

    def correction(self, step: int) -> Correction | None:
        """What a computed step corrects; None for a reused one too."""
        return self.corrections[step] if self.corrections else None

    def last_uses(self) -> list[int]:
        """For each step the last one that may draw on its residual, −1 if none does.

        A step that was to be reused but had to be computed serves the rest of its gap.
        """
        last, newest = [-1] * self.steps, -1
        for step, reuse in enumerate(self.reused):
            correction = self.correction(step)
            recipe = correction.expected if correction else self.recipe(step)
            for source, _ in recipe:
                last[source] = step
            if not reuse:
                newest = step
            for source in range(newest + 1, step):
                last[source] = step
        return last

    def needs(self, step: int) -> bool:
        """Whether a later step may draw on the residual of `step`, should it be computed."""
        return self.last_uses()[step] >= 0

    def source(self, step: int) -> int:
        """The step whose residual `step` uses: itself if computed, else the last computed one before it."""
        while self.reused[step]:
            step -= 1
        return step


def compute_all(sigmas: Sequence[float]) -> Plan:
    """The plan that skips nothing."""
    return Plan(tuple(sigmas), (False,) * len(sigmas), (0.0,) * len(sigmas))


def falling(sigmas: Sequence[float]) -> bool:
    """Whether the noise levels are finite and fall from step to step."""
    return all(map(math.isfinite, sigmas)) and all(before > after for before, after in pairwise(sigmas))


def nearest(sigmas: Sequence[float], target: float) -> int:
    """The step whose noise level is nearest to `target`."""
    return min(range(len(sigmas)), key=lambda step: abs(sigmas[step] - target))
