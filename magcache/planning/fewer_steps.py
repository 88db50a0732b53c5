"""Plain sampling with fewer steps, the rival of every plan: its predicted error, and what a short run gains by skipping."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..curves.curve import MagnitudeCurve
from ..curves.propagation import CONTRACTING, GROWING
from .prediction import ErrorModel, products_of

SHORT_RUN = 16
"""A run of a whole schedule is short if it has fewer steps, a run of half a schedule if it has fewer than half as many. A short run is
skipped only as far as that is clearly better than sampling with fewer steps."""
CLEARLY_BETTER = 0.36
"""Largest part of the predicted error of plain sampling with as many evaluations at which skipping is clearly better. The prediction
flatters reuse: on the image model of `benchmarks` plans at 0.44 to 0.61 lost 0.6 to 2.6 dB, those at 0.21 to 0.34 gained 3 to 11 dB."""

_NO_ERROR = 1e-6
"""A predicted error up to this is none but that of rounding."""


def part_of_plain(curve: MagnitudeCurve, model: ErrorModel, computed: Sequence[int], guidance: float) -> float:
    """The predicted error of a plan divided by that of plain sampling with as many steps as the plan computes.

    Where it is only assumed how errors propagate, the larger part counts of those if they grow and if they shrink.
    """
    kinds = (GROWING, CONTRACTING) if model.propagation.source == "assumed" else (model.propagation,)
    models = [replace(model, propagation=kind) for kind in kinds]
    parts: list[float] = []
    for each in models:
        own, plain = each.error_of(computed), fewer_steps_error(curve, each, len(computed), guidance)
        parts.append(own / max(plain, _NO_ERROR) if own > _NO_ERROR else 0.0)
    return max(parts)


def fewer_steps_error(curve: MagnitudeCurve, model: ErrorModel, count: int, guidance: float) -> float:
    """The predicted error of plain sampling with `count` steps, on the scale of `ErrorModel.error_of`.

    Its sigmas lie at equal fractions of the run's. Each of its residuals is held until the next one, so that it stands at a step of
    the run for the part of the step that it covers; errors are weighted like those of a plan.
    """
    begins, ends = model.sigmas, np.append(model.sigmas[1:], 0.0)
    bounds = np.interp(np.arange(count + 1) * model.steps / count, np.arange(model.steps + 1), np.append(begins, 0.0))
    covered = np.minimum(begins[:, None], bounds[:-1]) - np.maximum(ends[:, None], bounds[1:])
    shares = np.maximum(covered, 0.0) / (begins - ends)[:, None]  # [step of the run, step of plain sampling]
    places, where = np.unique(-np.round(np.concatenate([begins, bounds[:-1]]), 9), return_inverse=True)
    products = products_of(curve, (-places).tolist(), guidance, model.stream)
    standing = np.zeros((model.steps, count, len(places)))  # r̂ − r of each share, as weights of residuals.
    standing[:, np.arange(count), where[model.steps :]] += shares
    standing[np.arange(model.steps), :, where[: model.steps]] -= shares
    return math.sqrt(model.cost_of(standing, products) / model.scale())
