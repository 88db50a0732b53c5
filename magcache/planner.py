"""The best plan for a number of evaluations: exact dynamic programming over measured errors of reuse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]
Reuse = Literal["hold", "scale", "extrapolate"]

_TINY = 1e-12
_TRUST, _MOST_GAIN = 0.75, 2.0
"""How much of the calibrated correction is made, since a model makes good a part of an error by itself, and its limit. Chosen on prompts
of both small models in `benchmarks` that are not evaluated."""


@dataclass(frozen=True, slots=True)
class Reuses:
    """Every way to reuse within reach: for the computed steps `before` = `last` − d and `last`, and the step `last` + m.

    Arrays are indexed [d − 1, last, m − 1]. The residual is taken to be `newest` · r_last + `older` · r_before. The farthest m is one
    more than may be skipped: what is expected of the computed step that follows tells how well the gap went.
    """

    newest: Matrix
    older: Matrix
    error: Matrix
    """‖r̂ − r‖² / ‖r‖²."""


def reuses(gram: Matrix, sigmas: npt.NDArray[np.float64], max_skip: int, reuse: Reuse) -> Reuses:
    """Weights and errors of every reuse within reach, from the inner products of the residuals."""
    steps = len(sigmas)
    shape = (max_skip + 1, steps, max_skip + 1)
    newest, older, error = np.ones(shape), np.zeros(shape), np.full(shape, np.inf)
    for d in range(1, max_skip + 2):
        for m in range(1, max_skip + 2):
            last = np.arange(d, steps - m)
            if not last.size:
                continue
            before, at = last - d, last + m
            g = gram
            if reuse == "scale":
                newest[d - 1, last, m - 1] = _between(g[last, at] / np.maximum(g[last, last], _TINY), 0.5, 2.0)
            elif reuse == "extrapolate":
                reach = (sigmas[at] - sigmas[last]) / (sigmas[last] - sigmas[before])
                slope = g[last, last] - 2 * g[last, before] + g[before, before]
                along = g[at, last] - g[at, before] - g[last, last] + g[last, before]
                damping = _between(along / np.maximum(reach * slope, _TINY), 0.0, 1.0)
                newest[d - 1, last, m - 1] = 1 + damping * reach
                older[d - 1, last, m - 1] = -damping * reach
            a, b = older[d - 1, last, m - 1], newest[d - 1, last, m - 1]
            apart = (
                a * a * g[before, before] + b * b * g[last, last] + g[at, at]
                + 2 * (a * b * g[before, last] - a * g[before, at] - b * g[last, at])
            )  # fmt: skip
            error[d - 1, last, m - 1] = np.maximum(apart, 0.0) / np.maximum(g[at, at], _TINY)
    return Reuses(newest, older, error)


def _between(values: Matrix, low: float, high: float) -> Matrix:
    return np.minimum(np.maximum(values, low), high)


@dataclass(frozen=True, slots=True)
class Gaps:
    """Every gap within reach: m reused steps after the computed step `last`, with `before` = `last` − d."""

    costs: Matrix
    """[d − 1, last, m], m from 0: how far the gap leads the picture astray, ‖Σ Δσ (r̂ − r)‖² over its steps, weighted. Its errors point
    the same way and add up."""
    gains: Matrix
    """[d − 1, last, m]: how much of r − r̂ at the computed step that follows makes good the most of that."""


def gaps(
    gram: Matrix, sigmas: npt.NDArray[np.float64], options: Reuses, weight: npt.NDArray[np.float64], correcting: npt.NDArray[np.bool_]
) -> Gaps:
    """Costs of all gaps by the inner products of the residuals; `weight` is one of each `last`. The run ends at sigma 0.

    A computed step after a gap that is among `correcting` adds gain · (r − r̂) to its residual r. The costs are what then remains.
    """
    depth, steps, longest = options.error.shape
    last = np.array(range(steps))
    before = np.array([[max(step - d, 0) for step in range(steps)] for d in range(1, depth + 1)])
    reused = [np.array([min(step + m, steps - 1) for step in range(steps)]) for m in range(longest + 1)]
    strides = np.append(np.diff(sigmas), -sigmas[-1])

    def product(one: int, other: int) -> Matrix:
        """⟨r̂ − r, r̂ − r⟩ of two steps of the gap."""
        newest, newest_too = options.newest[:, :, one - 1], options.newest[:, :, other - 1]
        older, older_too = options.older[:, :, one - 1], options.older[:, :, other - 1]
        at, at_too = reused[one], reused[other]
        return (
            newest * newest_too * gram[last, last] + older * older_too * gram[before, before]
            + (newest * older_too + older * newest_too) * gram[last, before] + gram[at, at_too]
            - newest * gram[last, at_too] - older * gram[before, at_too]
            - newest_too * gram[last, at] - older_too * gram[before, at]
        )  # fmt: skip

    costs, gains = np.zeros((depth, steps, longest)), np.zeros((depth, steps, longest))
    nothing = np.zeros((depth, steps))
    astray, along, square = nothing, nothing, product(1, 1)
    for m in range(1, longest):
        stride = strides[reused[m]]
        astray = astray + stride * (2 * along + stride * square)
        stride, square = strides[reused[m + 1]], product(m + 1, m + 1)
        along = sum((strides[reused[other]] * product(other, m + 1) for other in range(1, m + 1)), nothing)
        gain = _TRUST * _between(along / np.minimum(stride * square, -_TINY), 0.0, _MOST_GAIN)
        gain = np.where(np.isfinite(options.error[:, :, m]) & correcting[reused[m + 1]], gain, 0.0)
        remaining = astray - gain * stride * (2 * along - gain * stride * square)
        costs[:, :, m] = np.where(np.isfinite(options.error[:, :, m - 1]), weight * remaining, np.inf)
        gains[:, :, m] = gain
    return Gaps(np.maximum(costs, 0.0), gains)


def best_steps(costs: Matrix, first: int, allowed: npt.NDArray[np.bool_]) -> dict[int, tuple[float, list[int]]]:
    """For every number of evaluations that can be reached: the least cost and the computed steps.

    Steps 0 to `first` − 1 and the last one are computed, and every step that `allowed` does not let be skipped. The state is
    (the last two computed steps, how many were computed), so the result is exact.
    """
    depth, steps, reach = costs.shape
    if steps <= first:
        return {steps: (0.0, list(range(steps)))}
    best = np.full((steps, depth, steps + 1), np.inf)
    came = np.zeros((steps, depth, steps + 1), dtype=np.int64)
    best[first - 1, 0, first] = 0.0
    blocked = np.flatnonzero(~allowed)
    for last in range(first - 1, steps - 1):
        stop = blocked[np.searchsorted(blocked, last + 1)] if blocked.size and blocked[-1] > last else steps - 1
        span = min(reach, steps - 1 - last, stop - last)
        totals = best[last][:, None, :] + costs[:, last, :span, None]
        chosen = totals.argmin(axis=0)
        values = np.take_along_axis(totals, chosen[None], axis=0)[0]
        for m in range(span):
            best[last + m + 1, m, 1:] = values[m, :-1]
            came[last + m + 1, m, 1:] = chosen[m, :-1]
    found: dict[int, tuple[float, list[int]]] = {}
    for count in range(first, steps + 1):
        d = int(best[steps - 1, :, count].argmin())
        cost = float(best[steps - 1, d, count])
        if np.isfinite(cost):
            found[count] = (cost, _trace(came, first, steps - 1, d, count))
    return found


def _trace(came: npt.NDArray[np.int64], first: int, last: int, d: int, count: int) -> list[int]:
    path = [last]
    while last > first - 1:
        last, d, count = last - d - 1, int(came[last, d, count]), count - 1
        path.append(last)
    return sorted({*path, *range(first)})
