"""Plans for a number of evaluations or a speed-up: those with the least predicted error."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from .curve import SAME_SIGMA, MagnitudeCurve
from .errors import InfeasibleError, SettingsError
from .gram import expected_products
from .plan import Correction, Plan, Recipe, compute_all, falling, nearest
from .planner import Gaps, Reuse, Reuses, best_steps, gaps, reuses

MAX_SKIP = 6
"""A budget plan reuses at most so many steps in a row."""
MOST_STEPS = 1000
"""A budget is planned for at most so many steps: time and memory grow with their square, to a second and 130 MB."""
_FIRST_STEPS = 3
"""A budget plan computes so many steps at first: they decide what the picture shows."""
_EARLY_WEIGHT, _EARLY_WEIGHT_EXPECTED = 4.0, 100.0
"""A gap at the first step counts so many times one at the last, since an early error grows on the way to the picture: where errors were
measured, and where they are only expected. Chosen, as is the number of first steps, on prompts of both small models in `benchmarks`
that are not evaluated."""


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

    The first three steps and the last are computed, as are steps at a veto or an expert switch of the curve and those whose sigma is
    outside `window` (highest, lowest) or lower than any that was measured. Raises `InfeasibleError` when no plan has that many
    evaluations, naming the nearest, and `SettingsError` for more than 1000 steps.

    With `correct`, the computed step after a gap makes good most of what the gap did wrong, at sigmas that the curve covers. That is
    for samplers that move by Δσ times what the model predicts, such as Euler.
    """
    sigmas = tuple(float(sigma) for sigma in sigmas)
    steps = len(sigmas)
    if not sigmas or nfe >= steps or not falling(sigmas):
        return compute_all(sigmas)
    if steps > MOST_STEPS:
        raise SettingsError(
            f"The run has {steps} steps; a speed-up can be planned for at most {MOST_STEPS}. Use fewer steps or a threshold."
        )
    products, early = curve.products_at(sigmas, guidance), _EARLY_WEIGHT
    if products is None:
        products, early = expected_products(_levels(curve, sigmas), sigmas), _EARLY_WEIGHT_EXPECTED
    always = {nearest(sigmas, sigma) for sigma in (*curve.vetoes, *(curve.sigmas[step] for step in curve.masked))}
    lowest = max(window[1], curve.sigmas[-1] * (1 - SAME_SIGMA) if curve.products else 0.0)
    allowed = np.array([lowest <= sigma <= window[0] and step not in always for step, sigma in enumerate(sigmas)])
    options = reuses(products, np.asarray(sigmas), min(MAX_SKIP, steps), reuse)
    correcting = np.array([correct and curve.coverage([sigma]) == 1 for sigma in sigmas])
    passed = gaps(products, np.asarray(sigmas), options, early ** np.linspace(1, 0, steps), correcting)
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


def _levels(curve: MagnitudeCurve, sigmas: Sequence[float]) -> list[float]:
    """Size of the residual at each of `sigmas`, the mean over the branches in the logarithm, 1 at the first."""
    rows = [accumulate(curve.ratios_at(sigmas, branch), operator.mul) for branch in curve.ratios]
    return [math.exp(sum(map(math.log, column)) / len(column)) for column in zip(*rows, strict=True)]
