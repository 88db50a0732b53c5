"""Plans by the published rule: a threshold on the accumulated magnitude error."""

from __future__ import annotations

import math
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from ..curves.curve import MagnitudeCurve
from ..settings import ThresholdSettings
from .plan import Plan, Reason, Stretch, compute_all, falling_stretches, joined, nearest


def plan_by_threshold(curve: MagnitudeCurve, sigmas: Sequence[float], settings: ThresholdSettings) -> Plan:
    """The plan of a run over `sigmas` (one a step, without the closing 0) by the published rule.

    The first step of every falling stretch is computed. All branches of `curve` decide as one: a step is skipped only if every branch
    may skip it. `settings` hold the threshold and the other knobs; their steps and fractions are those of the whole run.
    Source: Ma et al., 2025, arXiv:2506.09045, Sec. 3.2.
    """
    sigmas = tuple(float(sigma) for sigma in sigmas)
    if settings.off:
        return compute_all(sigmas, Reason.OFF)
    stretches = falling_stretches(sigmas) if all(map(math.isfinite, sigmas)) else []
    if all(len(stretch.sigmas) < 2 for stretch in stretches):
        return compute_all(sigmas, Reason.TOO_SHORT if len(sigmas) < 2 else Reason.NOT_FALLING)
    return joined([_plan_stretch(curve, stretch, len(sigmas), settings) for stretch in stretches])


def last_skippable(settings: ThresholdSettings, steps: int) -> int:
    """The last of `steps` steps that the settings allow to be skipped; a negative end counts from the last step."""
    return settings.end_step + steps if settings.end_step < 0 else settings.end_step


def least_error(curve: MagnitudeCurve, sigmas: Sequence[float], settings: ThresholdSettings) -> float | None:
    """The least magnitude error |1 − γ| of a step that may be skipped; None if no step may be."""
    errors: list[float] = []
    for stretch in falling_stretches(sigmas):
        ratios = zip(*(curve.ratios_at(stretch.sigmas, branch) for branch in curve.ratios), strict=True)
        never = _never(curve, stretch, len(sigmas), settings)
        errors += [max(abs(1 - ratio) for ratio in each) for step, each in enumerate(ratios) if step not in never]
    return min(errors, default=None)


def published_rule(
    ratios: Sequence[float],
    *,
    threshold: float,
    max_skip: int,
    start: int,
    never: AbstractSet[int] = frozenset(),
    gate: float | None = None,
) -> tuple[int, ...]:
    """The steps that reuse, for one branch with the magnitude ratios `ratios` (one a step).

    A step is skipped if the error Σ|1 − ∏γ| since the last computed step is at most `threshold`, the gap is at most `max_skip`,
    the step is `start` or later and not in `never`, and (with a `gate`) its own |γ − 1| is at most `gate`. Otherwise it is
    computed and the error begins anew. Source: Ma et al., 2025, arXiv:2506.09045, Sec. 3.2.
    """
    reused, _ = _decide([ratios], threshold, max_skip, never | set(range(start)), gate)
    return tuple(step for step, reuse in enumerate(reused) if reuse)


def _plan_stretch(curve: MagnitudeCurve, stretch: Stretch, steps: int, settings: ThresholdSettings) -> Plan:
    """The plan of one falling stretch of a run of `steps` steps."""
    never = _never(curve, stretch, steps, settings)
    branches = [curve.ratios_at(stretch.sigmas, branch) for branch in curve.ratios]
    reused, errors = _decide(branches, settings.threshold, settings.max_skip, never, curve.gate)
    reason = None
    if not any(reused):
        reason = Reason.ERROR_TOO_LARGE if len(never) < len(reused) else _why_none(stretch, steps, settings)
    return Plan(stretch.sigmas, tuple(reused), tuple(errors), reason=reason)


def _never(curve: MagnitudeCurve, stretch: Stretch, steps: int, settings: ThresholdSettings) -> set[int]:
    """The places in a stretch of a run of `steps` steps at which nothing is skipped."""
    return _outside(stretch, steps, settings) | {nearest(stretch.sigmas, veto) for veto in curve.vetoes}


def _outside(stretch: Stretch, steps: int, settings: ThresholdSettings) -> set[int]:
    """The first place of a stretch, and those that the settings exclude."""
    last = last_skippable(settings, steps)
    first = max(1, int(steps * settings.retention), settings.start_step)
    return {place for place, step in enumerate(stretch.steps) if place == 0 or not first <= step <= last}


def _why_none(stretch: Stretch, steps: int, settings: ThresholdSettings) -> Reason:
    """Why no step of a stretch may be skipped."""
    if settings.start_step > last_skippable(settings, steps):
        return Reason.EMPTY_WINDOW
    return Reason.NO_STEP_ALLOWED if len(_outside(stretch, steps, settings)) == len(stretch.steps) else Reason.CHANGES_FAST


def _decide(
    branches: Sequence[Sequence[float]], threshold: float, max_skip: int, never: AbstractSet[int], gate: float | None
) -> tuple[list[bool], list[float]]:
    """The published rule over branches that decide as one: which steps reuse, and |1 − ∏γ| of each of those, the worst branch's."""
    products, sums, gap = [1.0] * len(branches), [0.0] * len(branches), 0
    reused: list[bool] = []
    errors: list[float] = []
    for step in range(len(branches[0]) if branches else 0):
        gap += 1
        products = [product * ratios[step] for product, ratios in zip(products, branches, strict=True)]
        sums = [total + abs(1 - product) for total, product in zip(sums, products, strict=True)]
        steady = gate is None or all(abs(ratios[step] - 1) <= gate for ratios in branches)
        reuse = step not in never and steady and gap <= max_skip and max(sums) <= threshold
        reused.append(reuse)
        errors.append(max(abs(1 - product) for product in products) if reuse else 0.0)
        if not reuse:
            products, sums, gap = [1.0] * len(branches), [0.0] * len(branches), 0
    return reused, errors
