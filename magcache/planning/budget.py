"""Plans for a number of evaluations or for a speed-up: those with the least predicted drift."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..curves.curve import SAME_SIGMA, MagnitudeCurve
from ..curves.products import expected_products
from ..errors import InfeasibleError, SettingsError
from ..settings import Reuse
from .plan import Correction, Plan, Reason, Recipe, compute_all, falling_stretches, joined, nearest
from .reuse_errors import Gaps, Reuses, gaps, reuses
from .search import best_steps

MAX_SKIP = 6
"""Most consecutive steps that a budget plan reuses."""
MOST_STEPS = 1000
"""Most steps that are planned for: time and memory grow with their square, to a second and 130 MB."""
_FIRST_STEPS = 3
"""A budget plan computes this many steps first: they decide what the picture shows."""
_EARLY_WEIGHT, _EARLY_WEIGHT_EXPECTED = 4.0, 100.0
"""Weight of a gap at the first step relative to one at the last, because an early error grows on its way to the picture: where errors
were measured, and where they are only expected. Chosen, like the number of first steps, on prompts of both small models in
`benchmarks` that are not evaluated."""
EVERYWHERE = (math.inf, 0.0)
"""The window that holds every sigma."""


def plan_budget(
    curve: MagnitudeCurve,
    sigmas: Sequence[float],
    *,
    nfe: int,
    guidance: float = 1.0,
    reuse: Reuse | None = None,
    window: tuple[float, float] = EVERYWHERE,
    is_euler: bool = False,
) -> Plan:
    """The plan of a run over `sigmas` (one a step, falling, without the closing 0) with `nfe` evaluations and the least drift by `curve`.

    The first three steps and the last are computed, as are steps at a veto or an expert switch of the curve and those whose sigma is
    outside `window` (highest, lowest) or lower than any that was measured. `guidance` is the CFG scale that composes the branches,
    `reuse` is by default what suits the curve (`best_reuse`). `is_euler` says that each step of the sampler moves the latent by Δσ
    times the model's output: then the computed step after a gap corrects most of the gap's drift, at sigmas that the curve covers.

    Raises `InfeasibleError` if no plan has that many evaluations, naming the nearest number, and `SettingsError` for more than 1000
    steps. Method: docs/how_it_works.md.
    """
    sigmas = tuple(float(sigma) for sigma in sigmas)
    stretches = falling_stretches(sigmas) if all(map(math.isfinite, sigmas)) else []
    if nfe >= len(sigmas):
        return compute_all(sigmas, Reason.OFF)
    if len(stretches) != 1:
        return compute_all(sigmas, Reason.NOT_FALLING)
    if nfe >= len(stretches[0].sigmas):
        return compute_all(sigmas, Reason.OFF)
    found = _Search.of(curve, stretches[0].sigmas, guidance, reuse, window, is_euler)
    if nfe not in found.choices:
        raise InfeasibleError(len(stretches[0].sigmas), nfe, found.nearest(nfe))
    return found.plan(nfe)


def plan_speedup(
    curve: MagnitudeCurve,
    sigmas: Sequence[float],
    speedup: float,
    *,
    guidance: float = 1.0,
    reuse: Reuse | None = None,
    window: tuple[float, float] = EVERYWHERE,
    is_euler: bool = False,
) -> Plan:
    """The plan that comes nearest to `speedup` (steps per computed step), for any schedule: each falling stretch is planned on its own.

    `curve`, `sigmas` (one a step, without the closing 0), `guidance`, `reuse`, `window` and `is_euler` are those of `plan_budget`. Raises
    `SettingsError` for a speed-up below 1 or more than 1000 steps. Method: docs/how_it_works.md.
    """
    sigmas = tuple(float(sigma) for sigma in sigmas)
    if evaluations_for(len(sigmas), speedup) >= len(sigmas):
        return compute_all(sigmas, Reason.TOO_SHORT if len(sigmas) < 2 and speedup > 1 else Reason.OFF)
    stretches = falling_stretches(sigmas) if all(map(math.isfinite, sigmas)) else []
    if all(len(stretch.sigmas) < 2 for stretch in stretches):
        return compute_all(sigmas, Reason.NOT_FALLING)
    plans: list[Plan] = []
    for stretch in stretches:
        found = _Search.of(curve, stretch.sigmas, guidance, reuse, window, is_euler)
        wanted = evaluations_for(len(stretch.sigmas), speedup)
        plans.append(found.plan(found.nearest(wanted), wanted))
    return joined(plans)


def best_reuse(curve: MagnitudeCurve) -> Reuse:
    """Extrapolation where its damping was measured, else holding."""
    return "extrapolate" if curve.products else "hold"


def evaluations_for(steps: int, speedup: float) -> int:
    """The most evaluations of `steps` steps that reach `speedup`. Raises `SettingsError` below 1."""
    if not (math.isfinite(speedup) and speedup >= 1):
        raise SettingsError(f"The speed-up is {speedup}; it must be 1 (off) or more, usually 1.5 to 3.")
    return max(1, math.floor(steps / speedup + 1e-9))


@dataclass(frozen=True, slots=True)
class _Search:
    """The best computed steps of one falling stretch for every number of evaluations."""

    sigmas: tuple[float, ...]
    options: Reuses
    gaps: Gaps
    choices: dict[int, tuple[float, list[int]]]
    limit: Reason
    """What stands in the way of fewer evaluations."""

    @classmethod
    def of(
        cls,
        curve: MagnitudeCurve,
        sigmas: tuple[float, ...],
        guidance: float,
        reuse: Reuse | None,
        window: tuple[float, float],
        is_euler: bool,
    ) -> _Search:
        steps = len(sigmas)
        if steps > MOST_STEPS:
            raise SettingsError(
                f"The run has {steps} steps; a speed-up can be planned for at most {MOST_STEPS}. Use fewer steps or a threshold."
            )
        products, early = curve.products_at(sigmas, guidance), _EARLY_WEIGHT
        if products is None:
            products, early = expected_products(curve.levels_at(sigmas), sigmas), _EARLY_WEIGHT_EXPECTED
        always = {nearest(sigmas, sigma) for sigma in (*curve.vetoes, *(curve.sigmas[step] for step in curve.masked))}
        lowest = curve.sigmas[-1] * (1 - SAME_SIGMA) if curve.products else 0.0
        inside = np.array([window[1] <= sigma <= window[0] for sigma in sigmas])
        covered = np.array([sigma >= lowest for sigma in sigmas])
        allowed = inside & covered & np.array([step not in always for step in range(steps)])
        options = reuses(products, np.asarray(sigmas), min(MAX_SKIP, steps), reuse or best_reuse(curve))
        correcting = np.array([is_euler and curve.coverage([sigma]) == 1 for sigma in sigmas])
        passed = gaps(products, np.asarray(sigmas), options, early ** np.linspace(1, 0, steps), correcting)
        limit = Reason.TOO_SHORT if steps <= _FIRST_STEPS + 1 else Reason.LIMITED
        if limit is Reason.LIMITED and not allowed[_FIRST_STEPS:-1].any():
            limit = Reason.NO_STEP_ALLOWED if covered[_FIRST_STEPS:-1].any() else Reason.NOT_COVERED
        return cls(sigmas, options, passed, best_steps(passed.costs, min(_FIRST_STEPS, steps), allowed), limit)

    def nearest(self, wanted: int) -> int:
        """The number of evaluations nearest to `wanted` that can be planned."""
        return min(self.choices, key=lambda count: abs(count - wanted))

    def plan(self, nfe: int, wanted: int | None = None) -> Plan:
        """The plan with `nfe` evaluations where `wanted` were asked for."""
        reason = self.limit if wanted is not None and nfe > wanted else None
        computed = self.choices[nfe][1]
        reused, errors = [False] * len(self.sigmas), [0.0] * len(self.sigmas)
        recipes: list[Recipe] = [()] * len(self.sigmas)
        corrections: list[Correction | None] = [None] * len(self.sigmas)
        for before, last, after in zip((-1, *computed), computed, (*computed[1:], len(self.sigmas)), strict=False):
            for step in range(last + 1, after):
                reused[step], errors[step] = True, math.sqrt(float(self.options.error[self.options.at(before, last, step)]))
                recipes[step] = self._recipe(before, last, step)
            if gain := float(self.gaps.gains[self.gaps.at(before, last, after)]):
                corrections[after] = Correction(gain, self._recipe(before, last, after))
        return Plan(self.sigmas, tuple(reused), tuple(errors), tuple(recipes), tuple(corrections), reason)

    def _recipe(self, before: int, last: int, step: int) -> Recipe:
        place = self.options.at(before, last, step)
        newest, older = float(self.options.newest[place]), float(self.options.older[place])
        return ((last, newest),) if older == 0 else ((last, newest), (before, older))
