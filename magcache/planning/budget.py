"""Plans for a number of evaluations or for a speed-up: those with the least predicted error."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ..curves.curve import SAME_SIGMA, MagnitudeCurve
from ..curves.products import Matrix
from ..errors import InfeasibleError, SettingsError
from ..settings import Reuse
from ..texts import Text
from .fewer_steps import CLEARLY_BETTER, SHORT_RUN, part_of_plain
from .influence import stretch_influence
from .plan import Plan, Reason, Stretch, compute_all, falling_stretches, joined, nearest
from .prediction import best_reuse, check_influence
from .search import best_steps
from .streams import StreamErrors

MOST_STEPS = 1000
"""Most steps that are planned for: time and memory grow with their square, to some seconds."""
_MOST_STATES = 8_000_000
"""Most states (step, distance, count) of a search. Up to 250 steps a gap may be half the run; in longer runs it is shorter."""
_LEAST_REACH = 6
"""Reused steps that every gap may have."""
_FIRST_STEPS = 3
"""A budget plan computes this many steps first: they decide what the picture shows."""
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
    influence: Sequence[float] | None = None,
    correct: bool = True,
) -> Plan:
    """The plan of a run over `sigmas` (one a step, falling, without the closing 0) with `nfe` evaluations and the least error by `curve`.

    The first three steps and the last are computed, as are steps at a veto or an expert switch of the curve and those whose sigma is
    outside `window` (highest, lowest) or lower than any that was measured. `guidance` is the CFG scale that composes the branches,
    `reuse` is by default what suits the curve (`best_reuse`). `influence` says how much the model's output at each step moves the end
    of the run, in units of sigma (`euler_influence` for Euler). With it the computed step after a gap corrects most of the gap's
    drift, at sigmas that the curve covers, unless `correct` is off; without it Euler is assumed and nothing is corrected.

    Raises `InfeasibleError` if no plan has that many evaluations, naming the nearest number, and `SettingsError` for more than 1000
    steps or an influence that is not one number a step. Method: docs/how_it_works.md.
    """
    sigmas = tuple(float(sigma) for sigma in sigmas)
    stretches = falling_stretches(sigmas) if all(map(math.isfinite, sigmas)) else []
    if nfe >= len(sigmas):
        return compute_all(sigmas, Reason.OFF)
    if len(stretches) != 1:
        return compute_all(sigmas, Reason.NOT_FALLING)
    if nfe >= len(stretches[0].sigmas):
        return compute_all(sigmas, Reason.OFF)
    search = _Search.of(curve, _errors(curve, stretches[0], len(sigmas), sigmas, guidance, reuse, influence, correct), window)
    computed = search.computed(nfe)
    if computed is None:
        raise InfeasibleError(len(stretches[0].sigmas), nfe, len(search.nearest(nfe)))
    return search.errors.plan(computed)


def plan_speedup(
    curve: MagnitudeCurve,
    sigmas: Sequence[float],
    speedup: float,
    *,
    guidance: float = 1.0,
    reuse: Reuse | None = None,
    window: tuple[float, float] = EVERYWHERE,
    influence: Sequence[float] | None = None,
    correct: bool = True,
    schedule_part: float = 1.0,
    compare: bool = False,
) -> Plan:
    """The plan that comes nearest to `speedup` (steps per computed step), for any schedule: each falling stretch is planned on its own.

    `curve`, `sigmas` (one a step, without the closing 0) and the other arguments are those of `plan_budget`. `schedule_part` is
    the part of the model's schedule that the run covers, 0 to 1: below 1 with denoise and between samplers. A run of fewer than
    16 · `schedule_part` steps is skipped only as far as that is clearly better than sampling with fewer steps; with `compare` any run is.
    Raises `SettingsError` for a speed-up below 1, more than 1000 steps or an influence that is not one number a step. Method:
    docs/how_it_works.md.
    """
    sigmas = tuple(float(sigma) for sigma in sigmas)
    if evaluations_for(len(sigmas), speedup) >= len(sigmas):
        return compute_all(sigmas, Reason.TOO_SHORT if len(sigmas) < 2 and speedup > 1 else Reason.OFF)
    stretches = falling_stretches(sigmas) if all(map(math.isfinite, sigmas)) else []
    if all(len(stretch.sigmas) < 2 for stretch in stretches):
        return compute_all(sigmas, Reason.NOT_FALLING)
    stops = [*(stretch.steps[0] for stretch in stretches[1:]), len(sigmas)]
    plans: list[Plan] = []
    short = compare or sum(len(stretch.sigmas) for stretch in stretches) < SHORT_RUN * schedule_part
    for stretch, stop in zip(stretches, stops, strict=True):
        search = _Search.of(curve, _errors(curve, stretch, stop, sigmas, guidance, reuse, influence, correct), window)
        wanted = evaluations_for(len(stretch.sigmas), speedup)
        plans.append(_stretch_plan(search, curve, wanted, guidance, short))
    return joined(plans)


def _stretch_plan(search: _Search, curve: MagnitudeCurve, wanted: int, guidance: float, short: bool) -> Plan:
    """The plan whose number of evaluations is nearest to `wanted`; of a short run, one that is clearly better than fewer steps."""
    errors, computed = search.errors, search.nearest(wanted)
    steps = errors.first.steps
    reason = None
    if len(computed) > wanted:
        freed = search.limit is Reason.LIMITED and len(search.without_window().nearest(wanted)) < len(computed)
        reason = Reason.LIMITED_BY_WINDOW if freed else search.limit
    while short and len(computed) < steps and _part_of_plain(curve, errors, computed, guidance) > CLEARLY_BETTER:
        reason = Reason.FEWER_STEPS
        computed = search.computed(len(computed) + 1) or list(range(steps))
    return errors.plan(computed, reason)


def _part_of_plain(curve: MagnitudeCurve, errors: StreamErrors, computed: Sequence[int], guidance: float) -> float:
    """That of the stream that is worse off."""
    return max(part_of_plain(curve, model, computed, guidance) for model in errors.models)


def parts_of_plain(
    curve: MagnitudeCurve,
    sigmas: Sequence[float],
    *,
    guidance: float = 1.0,
    influence: Sequence[float] | None = None,
    correct: bool = True,
    schedule_part: float = 1.0,
    compare: bool = False,
) -> dict[int, float]:
    """What one and two evaluations fewer would cost a short run, by the number of evaluations that remain.

    The cost is the predicted error of the best plan divided by that of plain sampling with as many steps; up to `CLEARLY_BETTER`
    skipping is worth it. Empty for a run that is not short, and where nothing can be planned. The options are those of `plan_speedup`.
    """
    sigmas = tuple(float(sigma) for sigma in sigmas)
    stretches = falling_stretches(sigmas) if all(map(math.isfinite, sigmas)) else []
    if len(stretches) != 1 or not 2 < len(stretches[0].sigmas) < (math.inf if compare else SHORT_RUN * schedule_part):
        return {}
    search = _Search.of(curve, _errors(curve, stretches[0], len(sigmas), sigmas, guidance, None, influence, correct), EVERYWHERE)
    steps = search.errors.first.steps
    plans = {nfe: search.computed(nfe) for nfe in (steps - 1, steps - 2)}
    return {nfe: _part_of_plain(curve, search.errors, computed, guidance) for nfe, computed in plans.items() if computed}


def evaluations_for(steps: int, speedup: float) -> int:
    """The most evaluations of `steps` steps that reach `speedup`. Raises `SettingsError` below 1."""
    if not (math.isfinite(speedup) and speedup >= 1):
        raise SettingsError(Text("The speed-up is {given}; it must be 1 (off) or more, usually 1.5 to 3.", given=speedup))
    return max(1, math.floor(steps / speedup + 1e-9))


def _errors(
    curve: MagnitudeCurve,
    stretch: Stretch,
    stop: int,
    sigmas: Sequence[float],
    guidance: float,
    reuse: Reuse | None,
    influence: Sequence[float] | None,
    correct: bool,
) -> StreamErrors:
    """The errors of one stretch of a run over `sigmas`; `stop` is the first step after the stretch."""
    check_influence(influence, len(sigmas))
    own = None if influence is None else stretch_influence(influence, stretch, stop)
    return StreamErrors.of(curve, stretch.sigmas, reuse=reuse or best_reuse(curve), guidance=guidance, influence=own, correct=correct)


@dataclass(frozen=True, slots=True)
class _Search:
    """The best plans of one falling stretch."""

    errors: StreamErrors
    costs: Matrix
    """Of all gaps, as `best_steps` takes them."""
    inside: npt.NDArray[np.bool_]
    """Which steps the window allows to be reused."""
    fit: npt.NDArray[np.bool_]
    """Which steps the curve allows to be reused."""
    limit: Reason
    """What stands in the way of fewer evaluations."""

    @classmethod
    def of(cls, curve: MagnitudeCurve, errors: StreamErrors, window: tuple[float, float]) -> _Search:
        steps, sigmas = errors.first.steps, errors.first.sigmas.tolist()
        if steps > MOST_STEPS:
            raise SettingsError(
                Text(
                    "The run has {steps} steps; a speed-up can be planned for at most {most}. Use fewer steps or a threshold.",
                    steps=steps,
                    most=MOST_STEPS,
                )
            )
        always = {nearest(sigmas, sigma) for sigma in (*curve.vetoes, *(curve.sigmas[step] for step in curve.masked))}
        lowest = curve.sigmas[-1] * (1 - SAME_SIGMA) if curve.products else 0.0
        empty = window[0] <= window[1]
        inside = np.array([window[1] <= sigma <= window[0] and not empty for sigma in sigmas])
        covered = np.array([sigma >= lowest for sigma in sigmas])
        fit = covered & np.array([step not in always for step in range(steps)])
        limit = Reason.EMPTY_WINDOW if empty else Reason.TOO_SHORT if steps <= _FIRST_STEPS + 1 else Reason.LIMITED
        if limit is Reason.LIMITED and not (inside & fit)[_FIRST_STEPS:-1].any():
            limits = {Reason.NOT_COVERED: covered, Reason.NO_STEP_ALLOWED: inside & covered}
            limit = next((reason for reason, left in limits.items() if not left[_FIRST_STEPS:-1].any()), Reason.CHANGES_FAST)
        max_skip = min(max(steps // 2, _LEAST_REACH), max(_LEAST_REACH, _MOST_STATES // max(steps, 1) ** 2), max(steps - 1, 1))
        return cls(errors, errors.costs(max_skip), inside, fit, limit)

    @property
    def allowed(self) -> npt.NDArray[np.bool_]:
        """Which steps may be reused."""
        return self.inside & self.fit

    def without_window(self) -> _Search:
        """The same search, as if no setting excluded a step."""
        return replace(self, inside=np.ones_like(self.inside))

    def computed(self, nfe: int) -> list[int] | None:
        """The computed steps of the best plan with `nfe` evaluations; None if there is none."""
        first = min(2 if nfe == 4 else _FIRST_STEPS, self.errors.first.steps)  # Four evaluations leave two gaps, each up to half the run.
        found = best_steps(self.costs, first, self.allowed, nfe).get(nfe)
        return found and found[1]

    def nearest(self, wanted: int) -> list[int]:
        """The computed steps of the best plan whose number of evaluations is nearest to `wanted`."""
        if computed := self.computed(wanted):
            return computed
        found = best_steps(self.costs, min(_FIRST_STEPS, self.errors.first.steps), self.allowed, self.errors.first.steps)
        plans = {count: computed for count, (_, computed) in found.items()}
        if computed := self.computed(4):
            plans[4] = computed
        return plans[min(plans, key=lambda count: abs(count - wanted))]
