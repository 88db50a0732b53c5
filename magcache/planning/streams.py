"""The errors of all streams of a model, such as video and sound, under one plan. The worse stream counts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np

from ..curves.curve import MagnitudeCurve
from ..curves.products import Matrix
from ..errors import SettingsError
from ..settings import Reuse
from .plan import Plan, Reason, falling_stretches
from .prediction import ErrorModel, best_reuse, check_influence, checked_steps


@dataclass(frozen=True, slots=True)
class StreamErrors:
    """The error models of a run, one a stream. All streams compute the same steps; each reuses its residuals in its own way."""

    models: tuple[ErrorModel, ...]

    @classmethod
    def of(cls, curve: MagnitudeCurve, sigmas: Sequence[float], **options: Any) -> StreamErrors:
        """`options` are those of `ErrorModel.of`."""
        return cls(tuple(ErrorModel.of(curve, sigmas, **options, stream=stream) for stream in ("", *curve.streams)))

    @property
    def first(self) -> ErrorModel:
        """That of the first stream."""
        return self.models[0]

    def costs(self, max_skip: int) -> Matrix:
        """Costs of all gaps, as `best_steps` takes them: those of the stream that a gap harms more."""
        if len(self.models) == 1:
            return self.first.costs(max_skip)
        return reduce(np.maximum, [model.costs(max_skip) / model.scale() for model in self.models])

    def errors_of(self, computed: Sequence[int]) -> tuple[float, ...]:
        """The predicted error of each stream under the plan with these computed steps."""
        return tuple(model.error_of(computed) for model in self.models)

    def plan(self, computed: Sequence[int], reason: Reason | None = None) -> Plan:
        """The plan that computes these steps, with recipes for each stream and the larger of their errors."""
        first, *others = [model.plan(computed, reason) for model in self.models]
        if not others:
            return first
        errors = tuple(map(max, zip(first.errors, *(plan.errors for plan in others), strict=True)))
        return replace(first, errors=errors, other_recipes=tuple(plan.recipes for plan in others))


def predicted_error(
    curve: MagnitudeCurve,
    sigmas: Sequence[float],
    computed: Sequence[int],
    *,
    guidance: float = 1.0,
    reuse: Reuse | None = None,
    influence: Sequence[float] | None = None,
) -> float:
    """The predicted error, by `curve`, of the plan that computes the steps `computed` (0-based, step 0 among them) of a run over `sigmas`.

    0 is a run in full and 1 a run whose residuals are all dropped. The number compares plans of one run; it is no PSNR. Of several
    streams the worse one counts. `sigmas`
    (falling, one a step, without the closing 0), `guidance`, `reuse` and `influence` are those of `plan_budget`. Raises `PlanError`
    if `computed` is no plan of these steps, and `SettingsError` if the sigmas do not fall
    or the influence is not one number a step. Method: docs/how_it_works.md, section 5.
    """
    return max(stream_errors(curve, sigmas, computed, guidance=guidance, reuse=reuse, influence=influence).values())


def stream_errors(
    curve: MagnitudeCurve,
    sigmas: Sequence[float],
    computed: Sequence[int],
    *,
    guidance: float = 1.0,
    reuse: Reuse | None = None,
    influence: Sequence[float] | None = None,
) -> dict[str, float]:
    """The predicted error of each stream under the plan that computes the steps `computed`; the first stream has no name.

    The arguments and what it raises are those of `predicted_error`.
    """
    steps = checked_steps(computed, len(sigmas))
    check_influence(influence, len(sigmas))
    levels = tuple(float(sigma) for sigma in sigmas)
    stretches = falling_stretches(levels) if all(map(math.isfinite, levels)) else []
    if len(stretches) != 1 or len(stretches[0].sigmas) != len(levels):
        raise SettingsError(
            "The sigmas must be finite, above 0 and fall from step to step, but they do not. Give one a step, without the 0."
        )
    errors = StreamErrors.of(curve, levels, reuse=reuse or best_reuse(curve), guidance=guidance, influence=influence).errors_of(steps)
    return dict(zip(("", *curve.streams), errors, strict=True))
