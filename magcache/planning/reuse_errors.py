"""Errors of every way to reuse a residual, from the inner products of a run's residuals. Derived in docs/how_it_works.md, sections 3 to 6.

Notation: r_i is the residual of step i, r̂ a reused one, e = r̂ − r its error. A gap follows the computed step `last`, before which
`before` was computed; its m-th step is `last` + m.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..curves.products import Matrix
from ..curves.propagation import Propagation
from ..settings import Reuse

Steps = npt.NDArray[np.int64]
_TINY = 1e-12
_TRUST = 0.75
"""Fraction of the calibrated correction that is applied: a model corrects a part of an error by itself."""
_MOST_GAIN = 2.0
"""Limit of a correction's gain. This and `_TRUST` were chosen on prompts of the small models in `benchmarks` that are not evaluated."""


@dataclass(frozen=True, slots=True)
class Reuses:
    """Ways to reuse: r̂ = `newest` · r_last + `older` · r_before, for pairs of computed steps and for each m from 1.

    `before` and `last` have the shape of the pairs; the other arrays have one more axis, of which index m − 1 is the m-th step after
    `last`. The farthest m is one more than may be skipped, since a correction compares the computed step after a gap with what the
    gap predicts there.
    """

    before: Steps
    last: Steps
    newest: Matrix
    older: Matrix
    error: Matrix
    """‖r̂ − r‖² / ‖r‖²; infinite where there is no such step."""


@dataclass(frozen=True, slots=True)
class Gaps:
    """Gaps after pairs of computed steps. The arrays have one more axis than the pairs: m reused steps, from 0."""

    costs: Matrix
    """What the errors of the gap cost by the model's propagation; infinite where there is no such gap."""
    gains: Matrix
    """Gain of the correction at the computed step after the gap; 0 if nothing is corrected."""


def reuses(products: Matrix, sigmas: npt.NDArray[np.float64], before: Steps, last: Steps, max_skip: int, reuse: Reuse) -> Reuses:
    """Weights and errors of every reuse after the given pairs of computed steps (section 3).

    `products` are the inner products (steps × steps) of the residuals. Where `before` is negative nothing was computed before
    `last`, and the residual is held.
    """
    at = _steps_after(last, max_skip + 1, len(sigmas))
    newest, older = _weights(products, sigmas, before, last, at, reuse)
    error = squared_errors(products, before, last, newest, older) / np.maximum(np.diagonal(products)[at], _TINY)
    return Reuses(before, last, newest, older, np.where(_exists(last, max_skip + 1, len(sigmas)), error, np.inf))


def squared_errors(products: Matrix, before: Steps, last: Steps, newest: Matrix, older: Matrix) -> Matrix:
    """‖r̂ − r‖² of reuses with the given weights, by the inner products of any run of the model."""
    p, q, at = np.maximum(before, 0)[..., None], last[..., None], _steps_after(last, newest.shape[-1], len(products))
    apart = (
        older * older * products[p, p] + newest * newest * products[q, q] + products[at, at]
        + 2 * (older * newest * products[p, q] - older * products[p, at] - newest * products[q, at])
    )  # fmt: skip
    return np.maximum(apart, 0.0)


def _weights(
    products: Matrix, sigmas: npt.NDArray[np.float64], before: Steps, last: Steps, at: Steps, reuse: Reuse
) -> tuple[Matrix, Matrix]:
    """Weights of r_last and of r_before in the residual reused at the steps `at`; those of an extrapolation are derived in section 4."""
    ones, zeros = np.ones(at.shape), np.zeros(at.shape)
    p, q = np.maximum(before, 0)[..., None], last[..., None]
    if reuse == "scale":
        return _clipped(products[q, at] / np.maximum(products[q, q], _TINY), 0.5, 2.0), zeros
    if reuse == "extrapolate":
        distance = np.where(before[..., None] >= 0, sigmas[q] - sigmas[p], -np.inf)
        reach = (sigmas[at] - sigmas[q]) / np.where(distance == 0, -np.inf, distance)
        slope = products[q, q] - 2 * products[q, p] + products[p, p]
        along = products[at, q] - products[at, p] - products[q, q] + products[q, p]
        damping = _clipped(along / np.maximum(reach * slope, _TINY), 0.0, 1.0)
        return 1 + damping * reach, -damping * reach
    return ones, zeros


def _clipped(values: Matrix, low: float, high: float) -> Matrix:
    return np.minimum(np.maximum(values, low), high)


def gaps(
    products: Matrix,
    sigmas: npt.NDArray[np.float64],
    options: Reuses,
    influence: npt.NDArray[np.float64],
    propagation: Propagation,
    correcting: npt.NDArray[np.bool_],
) -> Gaps:
    """Costs of all gaps after the pairs of `options` (section 5), by the inner products of one run.

    `influence` says how much the model's output at each step moves the end of the run, `correcting` which computed steps correct a
    gap. A correction adds gain · (r − r̂); the cost of a drift is that of what remains after it (section 6).
    """
    steps, width = len(sigmas), options.newest.shape[-1]
    at, exists = _steps_after(options.last, width, steps), _exists(options.last, width, steps)
    square = squared_errors(products, options.before, options.last, options.newest, options.older)
    weights, costs, gains = propagation.weights(steps), np.zeros(square.shape), np.zeros(square.shape)
    if propagation.coherence > 0 or correcting.any():
        drift, along = _drift(products, options, influence)
        pull = influence[at[..., 1:]] * square[..., 1:]
        gain = _TRUST * _clipped(along / np.where(np.abs(pull) < _TINY, np.inf, pull), 0.0, _MOST_GAIN)
        gain = np.where(exists[..., 1:] & correcting[at[..., 1:]], gain, 0.0)
        gains[..., 1:] = gain
        remaining = drift[..., :-1] - gain * influence[at[..., 1:]] * (2 * along - gain * pull)
        costs[..., 1:] = propagation.coherence * weights[options.last][..., None] * np.maximum(remaining, 0.0)
    if propagation.coherence < 1:
        strides = np.abs(np.append(np.diff(sigmas), -sigmas[-1]))
        counted = weights * (influence * strides ** (propagation.stride - 1)) ** 2
        costs[..., 1:] += (1 - propagation.coherence) * np.cumsum(counted[at] * square, axis=-1)[..., :-1]
    costs[..., 1:] = np.where(exists[..., :-1], costs[..., 1:], np.inf)
    return Gaps(costs, gains)


def _drift(products: Matrix, options: Reuses, influence: npt.NDArray[np.float64]) -> tuple[Matrix, Matrix]:
    """|E_m|² for each m from 1, and ⟨E_m, e_{m+1}⟩, E_m being the sum of influence · e over the first m steps of the gap.

    With the weights b and a of a reuse, E_m = Σ b M r_last + Σ a M r_before − Σ M r, so that running sums of the products suffice.
    """
    steps, width = len(products), options.newest.shape[-1]
    at = _steps_after(options.last, width, steps)
    p, q, first = np.maximum(options.before, 0)[..., None], options.last[..., None], np.minimum(options.last + 1, steps)[..., None]
    stop = np.minimum(at + 1, steps)
    rows = np.concatenate([np.zeros((steps, 1)), np.cumsum(products * influence, axis=1)], axis=1)
    both = np.concatenate([np.zeros((1, steps + 1)), np.cumsum(influence[:, None] * rows, axis=0)])
    newest = np.cumsum(influence[at] * options.newest, axis=-1)
    older = np.cumsum(influence[at] * options.older, axis=-1)
    with_q, with_p = rows[q, stop] - rows[q, first], rows[p, stop] - rows[p, first]
    drift = (
        newest * newest * products[q, q] + older * older * products[p, p] + 2 * newest * older * products[p, q]
        - 2 * newest * with_q - 2 * older * with_p
        + both[stop, stop] - 2 * both[first, stop] + both[first, first]
    )  # fmt: skip
    after, b, a = at[..., 1:], options.newest[..., 1:], options.older[..., 1:]
    along = (
        newest[..., :-1] * (b * products[q, q] + a * products[p, q] - products[q, after])
        + older[..., :-1] * (b * products[p, q] + a * products[p, p] - products[p, after])
        - b * with_q[..., :-1] - a * with_p[..., :-1] + rows[after, stop[..., :-1]] - rows[after, first]
    )  # fmt: skip
    return drift, along


def _steps_after(last: Steps, count: int, steps: int) -> Steps:
    """The `count` steps after each `last`; the last step of the run where there is none."""
    return np.minimum(last[..., None] + np.arange(1, count + 1, dtype=np.int64), steps - 1)


def _exists(last: Steps, count: int, steps: int) -> npt.NDArray[np.bool_]:
    """Whether there are such steps."""
    return last[..., None] + np.arange(1, count + 1, dtype=np.int64) < steps
