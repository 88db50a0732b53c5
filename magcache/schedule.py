"""Which steps of a run are computed and which reuse an earlier residual, by the published rule."""

from __future__ import annotations

import math
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from .curve import MagnitudeCurve
from .errors import SettingsError
from .plan import Plan, compute_all, falling, nearest


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
    if settings.threshold == 0 or not sigmas or not falling(sigmas):
        return compute_all(sigmas)
    start = max(1, int(steps * settings.retention), settings.start_step)
    never = {step for step in range(steps) if step > last} | {nearest(sigmas, veto) for veto in curve.vetoes}
    branches = [curve.ratios_at(sigmas, branch) for branch in curve.ratios]
    reused, errors = _decide(branches, settings.threshold, settings.max_skip, start, never, curve.gate)
    return Plan(sigmas, tuple(reused), tuple(errors))
