"""Measuring how errors propagate: trial plans, run to their end, tell which propagation plans best (docs/how_it_works.md, section 5)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from ..curves.curve import MagnitudeCurve
from ..curves.propagation import CANDIDATES, measured
from ..errors import CalibrationError
from .budget import evaluations_for, plan_budget
from .plan import Plan, falling_stretches

TRIAL_SPEEDUP = 2.5
"""Speed-up of the trial plans: at a lower one plans differ little, at a higher one all of them lose the picture."""


def trial_plans(
    curve: MagnitudeCurve,
    sigmas: Sequence[float],
    *,
    guidance: float = 1.0,
    influence: Sequence[float] | None = None,
    correct: bool = True,
) -> tuple[Plan, ...]:
    """One plan for each of `CANDIDATES`, in their order, all with as many evaluations. The options are those of `plan_budget`."""
    nfe = trial_evaluations(sigmas)
    curves = [replace(curve, propagation=candidate) for candidate in CANDIDATES]
    return tuple(plan_budget(each, sigmas, nfe=nfe, guidance=guidance, influence=influence, correct=correct) for each in curves)


def trial_evaluations(sigmas: Sequence[float]) -> int:
    """The evaluations of each trial plan of a run over `sigmas`: sigmas that repeat, and zeros, make no step."""
    steps = sum(len(stretch.sigmas) for stretch in falling_stretches(sigmas)) if all(map(math.isfinite, sigmas)) else len(sigmas)
    return evaluations_for(steps, TRIAL_SPEEDUP)


def measure_propagation(curve: MagnitudeCurve, plans: Sequence[Plan], error_of: Callable[[Plan], float]) -> MagnitudeCurve:
    """`curve` with the propagation whose trial plan had the least error, over this run and those measured before.

    `plans` are those of `trial_plans`; `error_of` runs one from the noise of the calibrated run and returns how far its final latent
    is from that run's, ‖x − x_full‖ / ‖x_full‖. Equal plans are run once. Raises `CalibrationError` if an error is not a number, or if
    there are other plans than one for each candidate.
    """
    if len(plans) != len(CANDIDATES):
        raise CalibrationError(f"There are {len(plans)} trial plans; expected {len(CANDIDATES)}, those of `trial_plans`.")
    errors: dict[Plan, float] = {}
    for plan in plans:
        if plan not in errors:
            errors[plan] = error_of(plan)
            if not (math.isfinite(errors[plan]) and errors[plan] >= 0):
                raise CalibrationError(
                    f"A trial run ended {errors[plan]} away from the full run; expected a number of 0 or more. Calibrate again."
                )
    return replace(curve, propagation=measured((*curve.propagation.trials, tuple(errors[plan] for plan in plans)), curve.propagation))


def evaluations_of(plans: Sequence[Plan]) -> int:
    """How many evaluations the trial runs of one calibration take."""
    return sum(plan.nfe for plan in set(plans))
