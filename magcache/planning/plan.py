"""The plan of a run: what each of its steps does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

from ..curves.curve import same_sigma
from ..errors import PlanError

Recipe = tuple[tuple[int, float], ...]
"""Computed steps and the weight of each one's residual; their sum is the residual that a step reuses."""


class Reason(str, Enum):
    """Why a plan skips nothing, or less than was asked for."""

    OFF = "the settings skip nothing"
    UNUSABLE = "what was chosen on the node cannot be used"
    NO_CURVE = "there is no curve for this model"
    TOO_SHORT_TO_MEASURE = "there is no curve for this model, and the run is too short to measure one"
    TOO_NOISY_TO_MEASURE = "there is no curve for this model, and a run whose sampler adds noise cannot measure one"
    NOT_FALLING = "the noise levels do not fall"
    TOO_SHORT = "the run is too short"
    EMPTY_WINDOW = "the part of the run in which steps may be skipped ends before it begins"
    NO_STEP_ALLOWED = "the settings allow no step to be skipped"
    CHANGES_FAST = "the model changes too fast at every step that could be skipped"
    ERROR_TOO_LARGE = "every skip would exceed the threshold"
    NOT_COVERED = "the curve was not measured at these noise levels"
    FEWER_STEPS = "plain sampling with as few steps would be about as good"
    LIMITED = "a higher speed-up cannot be planned for this run"
    LIMITED_BY_WINDOW = "the settings allow too few steps to be skipped for a higher speed-up"


@dataclass(frozen=True, slots=True)
class Correction:
    """Correction at the first computed step after a gap: add gain · (r − r̂), where r̂ is what `expected` predicts there."""

    gain: float
    expected: Recipe


@dataclass(frozen=True, slots=True)
class Plan:
    """What each step of one run does. Raises `PlanError` if its parts contradict each other.

    All sequences have one entry a step; `recipes` and `corrections` may be empty instead. Steps are 0-based.
    """

    sigmas: tuple[float, ...]
    """Noise level of each step, without the closing 0. They fall, but may rise where a schedule starts again (`stretch_of`)."""
    reused: tuple[bool, ...]
    """Whether the step reuses an earlier residual."""
    errors: tuple[float, ...]
    """Predicted relative error ‖r̂ − r‖ / ‖r‖ of each reused residual, 0 for a computed step. If only magnitudes are known it is
    |1 − ∏γ|, a lower limit."""
    recipes: tuple[Recipe, ...] = ()
    """How each reused residual is composed of computed ones. If empty, the residual of the last computed step is held."""
    corrections: tuple[Correction | None, ...] = ()
    """What each computed step corrects. If empty, nothing is corrected."""
    reason: Reason | None = None
    """Why nothing is skipped, or less than asked; None if the plan does what was asked."""
    other_recipes: tuple[tuple[Recipe, ...], ...] = ()
    """Recipes of the model's further streams, such as sound, in their order. If empty, those of the first stream serve all."""

    def __post_init__(self) -> None:
        for title in ("reused", "errors", "recipes", "corrections"):
            count = len(getattr(self, title))
            if count != self.steps and not (count == 0 and title in ("recipes", "corrections")):
                raise PlanError(f"A plan of {self.steps} steps has {count} {title}; expected one a step.")
        for step, (sigma, reuse, error) in enumerate(zip(self.sigmas, self.reused, self.errors, strict=True)):
            if reuse and not (math.isfinite(sigma) and math.isfinite(error) and error >= 0):
                raise PlanError(f"Step {step} has sigma {sigma} and error {error}; expected finite numbers, and an error of 0 or more.")
            if reuse and not (step and self.sigmas[step - 1] > sigma):
                raise PlanError(f"Step {step} is the first of a falling stretch of sigmas and is reused; it must be computed.")
        for step in range(self.steps):
            correction = self.correction(step)
            if correction and (self.reused[step] or not math.isfinite(correction.gain)):
                raise PlanError(f"Step {step} has a correction of gain {correction.gain}; expected a finite gain, at a computed step.")
            self._check_recipe(step, correction.expected if correction else self.recipe(step))
            for recipes in self.other_recipes:
                if len(recipes) != self.steps or bool(recipes[step]) != self.reused[step]:
                    raise PlanError(f"A further stream has no recipe of its own at step {step}; expected one at each reused step.")
                self._check_recipe(step, recipes[step])
            if self.reused[step] and not self.recipe(step):
                raise PlanError(f"Step {step} is reused, but its recipe is empty; expected at least one computed step.")

    def _check_recipe(self, step: int, recipe: Recipe) -> None:
        for source, weight in recipe:
            if not 0 <= source < step or self.reused[source] or not math.isfinite(weight):
                raise PlanError(f"Step {step} takes {weight} of the residual of step {source}; expected an earlier step that is computed.")

    @property
    def steps(self) -> int:
        """Number of steps."""
        return len(self.sigmas)

    @property
    def nfe(self) -> int:
        """Number of computed steps."""
        return self.reused.count(False)

    @property
    def computed(self) -> tuple[int, ...]:
        """The computed steps."""
        return tuple(step for step, reuse in enumerate(self.reused) if not reuse)

    @property
    def speedup(self) -> float:
        """Steps per computed step: the speed-up if reusing took no time."""
        return self.steps / self.nfe if self.nfe else 1.0

    @property
    def decisions(self) -> list[str]:
        """`compute` or `reuse` for each step."""
        return ["reuse" if reuse else "compute" for reuse in self.reused]

    def stretch_of(self, step: int) -> range:
        """The steps around `step` over which sigmas fall without interruption."""
        first = last = step
        while first > 0 and self.sigmas[first - 1] > self.sigmas[first]:
            first -= 1
        while last + 1 < self.steps and self.sigmas[last] > self.sigmas[last + 1]:
            last += 1
        return range(first, last + 1)

    def step_at(self, sigma: float, present: int = 0) -> int | None:
        """The step of an evaluation at `sigma` in a run that has reached step `present`; None above the first sigma.

        It is the last step of the stretch that begins at `sigma` or above: so samplers that evaluate within a step (Heun, DPM-2,
        SDE) follow the decision of that step. A sigma at which the next stretch begins belongs to that one.
        """
        if not self.sigmas:
            return None
        stretch = self.stretch_of(present)
        rises = sigma > self.sigmas[present] and not same_sigma(sigma, self.sigmas[present])
        if rises and stretch.stop < self.steps and same_sigma(sigma, self.sigmas[stretch.stop]):
            return stretch.stop
        found = None
        for step in stretch:
            begin = self.sigmas[step]
            if begin >= sigma or same_sigma(begin, sigma):
                found = step
            if not begin > sigma:
                break
        return found

    def recipe(self, step: int) -> Recipe:
        """The computed steps whose residuals the reused `step` (0-based) adds up, each with its weight; empty for a computed step."""
        if not self.reused[step]:
            return ()
        return self.recipes[step] if self.recipes else ((self.source(step), 1.0),)

    def shares(self, step: int) -> tuple[tuple[int, tuple[float, ...]], ...]:
        """The computed steps that the reused `step` draws on, each with its weight in every stream; one weight if it is the same in all."""
        recipes = (self.recipe(step), *(recipes[step] for recipes in self.other_recipes))
        sources = dict.fromkeys(source for recipe in recipes for source, _ in recipe)
        return tuple((source, tuple(dict(recipe).get(source, 0.0) for recipe in recipes)) for source in sources)

    def correction(self, step: int) -> Correction | None:
        """What the computed `step` (0-based) corrects; None for a reused one."""
        return self.corrections[step] if self.corrections else None

    def source(self, step: int) -> int:
        """The last computed step up to `step`."""
        while self.reused[step]:
            step -= 1
        return step

    def last_uses(self) -> list[int]:
        """For each step the last one that may draw on its residual, −1 if none does.

        A step that was planned to be reused but had to be computed serves the rest of its gap.
        """
        last, newest = [-1] * self.steps, -1
        for step, reuse in enumerate(self.reused):
            correction = self.correction(step)
            for source, _ in correction.expected if correction else self.shares(step):
                last[source] = step
            if not reuse:
                newest = step
            for source in range(newest + 1, step):
                last[source] = step
        return last


def compute_all(sigmas: Sequence[float], reason: Reason) -> Plan:
    """The plan that skips nothing, because of `reason`."""
    return Plan(tuple(sigmas), (False,) * len(sigmas), (0.0,) * len(sigmas), reason=reason)


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a schedule over which sigmas fall strictly."""

    sigmas: tuple[float, ...]
    steps: tuple[int, ...]
    """The step of the schedule that each of them stands for."""


def falling_stretches(sigmas: Sequence[float]) -> list[Stretch]:
    """The falling stretches of a schedule (without its closing sigma), in order.

    A sigma that repeats its predecessor is left out, since the evaluations of both belong to one step, and so are zeros.
    """
    kept: list[int] = []
    for step, sigma in enumerate(sigmas):
        if sigma > 0 and not (kept and same_sigma(sigma, sigmas[kept[-1]])):
            kept.append(step)
    breaks = [0, *(place for place, (one, other) in enumerate(pairwise(kept), start=1) if sigmas[one] < sigmas[other]), len(kept)]
    groups = [kept[begin:end] for begin, end in pairwise(breaks) if end > begin]
    return [Stretch(tuple(float(sigmas[step]) for step in group), tuple(group)) for group in groups]


def joined(plans: Sequence[Plan]) -> Plan:
    """One plan out of those of successive stretches."""
    if len(plans) == 1:
        return plans[0]
    sigmas: list[float] = []
    offsets: list[int] = []
    recipes: list[Recipe] = []
    corrections: list[Correction | None] = []
    for plan in plans:
        offset = len(sigmas)
        offsets.append(offset)
        sigmas.extend(plan.sigmas)
        for step in range(plan.steps):
            recipes.append(_shifted(plan.recipe(step), offset))
            found = plan.correction(step)
            corrections.append(found and Correction(found.gain, _shifted(found.expected, offset)))
    reused = tuple(reuse for plan in plans for reuse in plan.reused)
    reasons = [plan.reason for plan in plans if plan.reason]
    return Plan(
        tuple(sigmas),
        reused,
        tuple(error for plan in plans for error in plan.errors),
        tuple(recipes),
        tuple(corrections),
        reasons[0] if reasons else None,
        tuple(
            tuple(_shifted(recipe, offset) for plan, offset in zip(plans, offsets, strict=True) for recipe in _recipes(plan, place))
            for place in range(max(len(plan.other_recipes) for plan in plans))
        ),
    )


def nearest(sigmas: Sequence[float], target: float) -> int:
    """The step whose noise level is nearest to `target`."""
    return min(range(len(sigmas)), key=lambda step: abs(sigmas[step] - target))


def _recipes(plan: Plan, place: int) -> list[Recipe]:
    """Those of the further stream at `place`; those of the first if it has none of its own."""
    return list(plan.other_recipes[place]) if place < len(plan.other_recipes) else [plan.recipe(step) for step in range(plan.steps)]


def _shifted(recipe: Recipe, offset: int) -> Recipe:
    return tuple((source + offset, weight) for source, weight in recipe)
