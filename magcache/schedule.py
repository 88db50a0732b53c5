"""Which steps of a run are computed and which reuse an earlier residual. Pure floats: no tensors, no host, no clock."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np

from .curve import SAME_SIGMA, MagnitudeCurve, same_sigma
from .errors import InfeasibleError, SettingsError
from .gram import expected_products
from .planner import Gaps, Reuse, Reuses, best_steps, gaps, reuses

MAX_SKIP = 6
"""A budget plan reuses at most so many steps in a row."""
MOST_STEPS = 1000
"""A budget is planned for at most so many steps: time and memory grow with their square, to a second and 130 MB."""
_FIRST_STEPS = 3
"""A budget plan computes so many steps at first: they decide what the picture shows."""
_EARLY_WEIGHT, _EARLY_WEIGHT_EXPECTED = 2.0, 100.0
"""A gap at the first step counts so many times one at the last, since an early error grows on the way to the picture: where errors were measured, and where they are only expected. Chosen, as
is the number of first steps, on prompts of both small models in `benchmarks` that are not evaluated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The knobs of the published rule. Raises `SettingsError` when one is out of range."""

    threshold: float
    """δ: the accumulated error that reuse may reach. 0 switches MagCache off."""
    max_skip: int
    """K: at most so many steps in a row reuse one residual. 0 switches MagCache off."""
    retention: float = 0.2
    """Part of the run, from its start, that is always computed."""
    start_step: int = 0
    """First step (0-based) that may be skipped."""
    end_step: int = -1
    """Last step that may be skipped; a negative one counts from the end, −1 being the last step."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.threshold) and self.threshold >= 0):
            raise SettingsError(f"The threshold is {self.threshold}; it must be 0 (off) or more, usually 0.02 to 0.3.")
        if self.max_skip < 0:
            raise SettingsError(f"max_skip (K) is {self.max_skip}; it must be 0 (off) or more, usually 2 to 6.")
        if not 0 <= self.retention <= 1:
            raise SettingsError(f"The retention is {self.retention}; it must be from 0 to 1, usually 0.1 to 0.3.")
        if self.start_step < 0:
            raise SettingsError(f"The start step is {self.start_step}; it must be 0 or more.")


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


def published_rule(
    ratios: Sequence[float],
    *,
    threshold: float,
    max_skip: int,
    start: int,
    never: AbstractSet[int] = frozenset(),
    gate: float | None = None,
) -> tuple[int, ...]:
    """Steps that reuse, for one branch. Implements the skipping rule of Ma et al., 2025 (arXiv:2506.09045, Sec. 3.2).

    A step is skipped if the error Σ|1 − ∏γ| since the last computed step is at most `threshold`, the gap is at most `max_skip`,
    the step is `start` or later and not in `never`, and (with a `gate`) its own |γ − 1| is at most `gate`. Otherwise it is
    computed and the error begins anew.
    """
    reused, _ = _decide([ratios], threshold, max_skip, start, never, gate)
    return tuple(step for step, reuse in enumerate(reused) if reuse)


def _decide(
    branches: Sequence[Sequence[float]], threshold: float, max_skip: int, start: int, never: AbstractSet[int], gate: float | None
) -> tuple[list[bool], list[float]]:
    """The published rule over branches that decide as one: a step is skipped only if every branch may skip it."""
    products, sums, gap = [1.0] * len(branches), [0.0] * len(branches), 0
    reused: list[bool] = []
    errors: list[float] = []
    for step in range(len(branches[0]) if branches else 0):
        gap += 1
        products = [product * ratios[step] for product, ratios in zip(products, branches, strict=True)]
        sums = [total + abs(1 - product) for total, product in zip(sums, products, strict=True)]
        steady = gate is None or all(abs(ratios[step] - 1) <= gate for ratios in branches)
        reuse = step >= start and step not in never and steady and gap <= max_skip and max(sums) <= threshold
        reused.append(reuse)
        errors.append(max(sums) if reuse else 0.0)
        if not reuse:
            products, sums, gap = [1.0] * len(branches), [0.0] * len(branches), 0
    return reused, errors


def plan_run(curve: MagnitudeCurve, sigmas: Sequence[float], settings: Settings) -> Plan:
    """The plan of a run over `sigmas` (falling, one a step, without the closing 0) by the published rule.

    Step 0 is always computed. All branches of the curve decide as one.
    """
    sigmas = tuple(float(sigma) for sigma in sigmas)
    steps = len(sigmas)
    last = settings.end_step + steps if settings.end_step < 0 else settings.end_step
    if settings.threshold == 0 or not sigmas or not _falling(sigmas):
        return compute_all(sigmas)
    start = max(1, int(steps * settings.retention), settings.start_step)
    never = {step for step in range(steps) if step > last} | {_nearest(sigmas, veto) for veto in curve.vetoes}
    branches = [curve.ratios_at(sigmas, branch) for branch in curve.ratios]
    reused, errors = _decide(branches, settings.threshold, settings.max_skip, start, never, curve.gate)
    return Plan(sigmas, tuple(reused), tuple(errors))


def plan_budget(
    curve: MagnitudeCurve,
    sigmas: Sequence[float],
    *,
    nfe: int,
    guidance: float = 1.0,
    reuse: Reuse = "extrapolate",
    window: tuple[float, float] = (math.inf, 0.0),
    correct: bool = True,
) -> Plan:
    """The plan of a run over `sigmas` with `nfe` evaluations and the least predicted error.

    With `correct`, the computed step after a gap makes good most of what the gap did wrong, where errors were measured. That is for
    samplers that move by Δσ times what the model predicts, such as Euler.

    The first three steps and the last are computed, as are steps at a veto or an expert switch of the curve and those whose sigma is
    outside `window` (highest, lowest) or lower than any that was measured. Raises `InfeasibleError` when no plan has that many
    evaluations, naming the nearest, and `SettingsError` for more than 1000 steps.
    """
    sigmas = tuple(float(sigma) for sigma in sigmas)
    steps = len(sigmas)
    if not sigmas or nfe >= steps or not _falling(sigmas):
        return compute_all(sigmas)
    if steps > MOST_STEPS:
        raise SettingsError(
            f"The run has {steps} steps; a speed-up can be planned for at most {MOST_STEPS}. Use fewer steps or a threshold."
        )
    products, early = curve.products_at(sigmas, guidance), _EARLY_WEIGHT
    if products is None:
        products, early = expected_products(_levels(curve, sigmas), sigmas), _EARLY_WEIGHT_EXPECTED
    always = {_nearest(sigmas, sigma) for sigma in (*curve.vetoes, *(curve.sigmas[step] for step in curve.masked))}
    lowest = max(window[1], curve.sigmas[-1] * (1 - SAME_SIGMA) if curve.products else 0.0)
    allowed = np.array([lowest <= sigma <= window[0] and step not in always for step, sigma in enumerate(sigmas)])
    options = reuses(products, np.asarray(sigmas), min(MAX_SKIP, steps), reuse)
    passed = gaps(products, np.asarray(sigmas), options, early ** np.linspace(1, 0, steps), correct=correct and bool(curve.products))
    found = best_steps(passed.costs, min(_FIRST_STEPS, steps), allowed)
    if nfe not in found:
        raise InfeasibleError(steps, nfe, min(found, key=lambda count: abs(count - nfe)))
    return _assembled(sigmas, found[nfe][1], options, passed)


def plan_speedup(
    curve: MagnitudeCurve, sigmas: Sequence[float], speedup: float, *, guidance: float = 1.0, reuse: Reuse = "extrapolate",
    window: tuple[float, float] = (math.inf, 0.0), correct: bool = True,
) -> Plan:  # fmt: skip
    """The plan of `plan_budget` that comes nearest to `speedup`, whatever the run can bear."""
    wanted = evaluations_for(len(sigmas), speedup)
    try:
        return plan_budget(curve, sigmas, nfe=wanted, guidance=guidance, reuse=reuse, window=window, correct=correct)
    except InfeasibleError as error:
        return plan_budget(curve, sigmas, nfe=error.nearest, guidance=guidance, reuse=reuse, window=window, correct=correct)


def best_reuse(curve: MagnitudeCurve) -> Reuse:
    """Extrapolation where its damping was measured, else holding."""
    return "extrapolate" if curve.products else "hold"


def evaluations_for(steps: int, speedup: float) -> int:
    """The most evaluations of `steps` steps that reach `speedup`. Raises `SettingsError` below 1."""
    if not (math.isfinite(speedup) and speedup >= 1):
        raise SettingsError(f"The speed-up is {speedup}; it must be 1 (off) or more, usually 1.5 to 3.")
    return max(1, math.floor(steps / speedup + 1e-9))


def _assembled(sigmas: tuple[float, ...], computed: Sequence[int], options: Reuses, passed: Gaps) -> Plan:
    reused, errors = [False] * len(sigmas), [0.0] * len(sigmas)
    recipes: list[Recipe] = [()] * len(sigmas)
    corrections: list[Correction | None] = [None] * len(sigmas)
    for before, last, after in zip((-1, *computed), computed, (*computed[1:], len(sigmas)), strict=False):
        for step in range(last + 1, after):
            place = (last - before - 1, last, step - last - 1)
            reused[step], errors[step] = True, math.sqrt(float(options.error[place]))
            recipes[step] = _recipe(options, before, last, step)
        if gain := float(passed.gains[last - before - 1, last, after - last - 1]):
            corrections[after] = Correction(gain, _recipe(options, before, last, after))
    return Plan(sigmas, tuple(reused), tuple(errors), tuple(recipes), tuple(corrections))


def _recipe(options: Reuses, before: int, last: int, step: int) -> Recipe:
    place = (last - before - 1, last, step - last - 1)
    newest, older = float(options.newest[place]), float(options.older[place])
    return ((last, newest),) if older == 0 else ((last, newest), (before, older))


def compute_all(sigmas: Sequence[float]) -> Plan:
    """The plan that skips nothing."""
    return Plan(tuple(sigmas), (False,) * len(sigmas), (0.0,) * len(sigmas))


def _levels(curve: MagnitudeCurve, sigmas: Sequence[float]) -> list[float]:
    """Size of the residual at each of `sigmas`, the mean over the branches in the logarithm, 1 at the first."""
    rows = [accumulate(curve.ratios_at(sigmas, branch), operator.mul) for branch in curve.ratios]
    return [math.exp(sum(map(math.log, column)) / len(column)) for column in zip(*rows, strict=True)]


def _falling(sigmas: Sequence[float]) -> bool:
    return all(map(math.isfinite, sigmas)) and all(before > after for before, after in pairwise(sigmas))


def _nearest(sigmas: Sequence[float], target: float) -> int:
    return min(range(len(sigmas)), key=lambda step: abs(sigmas[step] - target))
