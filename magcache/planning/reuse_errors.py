"""Errors of every way to reuse a residual, from the inner products of a run's residuals. Derived in docs/how_it_works.md, sections 3 to 6.

Notation: r_i is the residual of step i, r̂ a reused one, e = r̂ − r its error, Δσ the change of sigma over a step. A gap follows the
computed step `last`, before which `before` = `last` − d was computed; its m-th step is `last` + m.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..curves.products import Matrix
from ..settings import Reuse

Steps = npt.NDArray[np.int64]
_TINY = 1e-12
_TRUST = 0.75
"""Fraction of the calibrated correction that is applied: a model corrects a part of an error by itself."""
_MOST_GAIN = 2.0
"""Limit of a correction's gain. This and `_TRUST` were chosen on prompts of the small models in `benchmarks` that are not evaluated."""


@dataclass(frozen=True, slots=True)
class Reuses:
    """Every way to reuse within reach: r̂ = `newest` · r_last + `older` · r_before.

    The arrays are indexed [d − 1, last, m − 1]; `at` gives the index. The farthest m is one more than may be skipped, since a
    correction compares the computed step after a gap with what the gap predicts there.
    """

    newest: Matrix
    older: Matrix
    error: Matrix
    """‖r̂ − r‖² / ‖r‖²; infinite where there is no such step."""

    def at(self, before: int, last: int, step: int) -> tuple[int, int, int]:
        """Index of the reuse at `step` of what was computed at `before` and `last`."""
        return last - before - 1, last, step - last - 1


@dataclass(frozen=True, slots=True)
class Gaps:
    """Every gap within reach. The arrays are indexed [d − 1, last, m], m reused steps from 0; `at` gives the index."""

    costs: Matrix
    """Weighted squared drift of the latent over the gap, ‖Σ Δσ (r̂ − r)‖². Errors within a gap are correlated, so they are summed
    before squaring."""
    gains: Matrix
    """Gain of the correction at the computed step after the gap; 0 if nothing is corrected."""

    def at(self, before: int, last: int, after: int) -> tuple[int, int, int]:
        """Index of the gap between the computed steps `last` and `after`, with `before` computed last before it."""
        return last - before - 1, last, after - last - 1


def reuses(products: Matrix, sigmas: npt.NDArray[np.float64], max_skip: int, reuse: Reuse) -> Reuses:
    """Weights and errors of every reuse within reach, from the inner products (steps × steps) of the residuals (section 3)."""
    steps = len(sigmas)
    shape = (max_skip + 1, steps, max_skip + 1)
    newest, older, error = np.ones(shape), np.zeros(shape), np.full(shape, np.inf)
    for d in range(1, max_skip + 2):
        for m in range(1, max_skip + 2):
            last: Steps = np.arange(d, steps - m)
            if not last.size:
                continue
            before, at = last - d, last + m
            b, a = _weights(products, sigmas, before, last, at, reuse)
            newest[d - 1, last, m - 1], older[d - 1, last, m - 1] = b, a
            apart = (
                a * a * products[before, before] + b * b * products[last, last] + products[at, at]
                + 2 * (a * b * products[before, last] - a * products[before, at] - b * products[last, at])
            )  # fmt: skip
            error[d - 1, last, m - 1] = np.maximum(apart, 0.0) / np.maximum(products[at, at], _TINY)
    return Reuses(newest, older, error)


def _weights(
    products: Matrix, sigmas: npt.NDArray[np.float64], before: Steps, last: Steps, at: Steps, reuse: Reuse
) -> tuple[Matrix, Matrix]:
    """Weights of r_last and of r_before in the residual reused at the steps `at`; those of an extrapolation are derived in section 4."""
    ones, zeros = np.ones(len(at)), np.zeros(len(at))
    if reuse == "scale":
        return _clipped(products[last, at] / np.maximum(products[last, last], _TINY), 0.5, 2.0), zeros
    if reuse == "extrapolate":
        reach = (sigmas[at] - sigmas[last]) / (sigmas[last] - sigmas[before])
        slope = products[last, last] - 2 * products[last, before] + products[before, before]
        along = products[at, last] - products[at, before] - products[last, last] + products[last, before]
        damping = _clipped(along / np.maximum(reach * slope, _TINY), 0.0, 1.0)
        return 1 + damping * reach, -damping * reach
    return ones, zeros


def _clipped(values: Matrix, low: float, high: float) -> Matrix:
    return np.minimum(np.maximum(values, low), high)


def gaps(
    products: Matrix,
    sigmas: npt.NDArray[np.float64],
    options: Reuses,
    weight: npt.NDArray[np.float64],
    correcting: npt.NDArray[np.bool_],
) -> Gaps:
    """Costs of all gaps (section 5). `weight` has a number for each `last`; `correcting` says which computed steps correct a gap.

    A correction adds gain · (r − r̂), and the cost is then that of the drift that remains (section 6). The run is taken to end at
    sigma 0.
    """
    depth, steps, longest = options.error.shape
    strides = np.append(np.diff(sigmas), -sigmas[-1])
    reused: list[Steps] = [np.minimum(np.arange(steps, dtype=np.int64) + m, steps - 1) for m in range(longest + 1)]
    nothing = np.zeros((depth, steps))

    def product(one: int, other: int) -> Matrix:
        """⟨e_one, e_other⟩ for every `before` and `last`."""
        return _error_product(products, options, reused, one, other)

    costs, gains = np.zeros((depth, steps, longest)), np.zeros((depth, steps, longest))
    drift, along, square = nothing, nothing, product(1, 1)
    for m in range(1, longest):
        stride = strides[reused[m]]
        # Here `along` is ⟨E_{m−1}, e_m⟩ and `square` is |e_m|²; then they move on to m + 1.
        drift = drift + stride * (2 * along + stride * square)
        stride, square = strides[reused[m + 1]], product(m + 1, m + 1)
        along = sum((strides[reused[other]] * product(other, m + 1) for other in range(1, m + 1)), nothing)
        gain = _TRUST * _clipped(along / np.minimum(stride * square, -_TINY), 0.0, _MOST_GAIN)
        gain = np.where(np.isfinite(options.error[:, :, m]) & correcting[reused[m + 1]], gain, 0.0)
        remaining = drift - gain * stride * (2 * along - gain * stride * square)
        costs[:, :, m] = np.where(np.isfinite(options.error[:, :, m - 1]), weight * remaining, np.inf)
        gains[:, :, m] = gain
    return Gaps(np.maximum(costs, 0.0), gains)


def _error_product(products: Matrix, options: Reuses, reused: list[Steps], one: int, other: int) -> Matrix:
    """⟨e_one, e_other⟩ of the `one`-th and the `other`-th step of every gap, [d − 1, last], e being r̂ − r."""
    depth, steps, _ = options.error.shape
    last: Steps = np.arange(steps, dtype=np.int64)
    before = np.maximum(last[None, :] - np.arange(1, depth + 1, dtype=np.int64)[:, None], 0)
    newest, newest_too = options.newest[:, :, one - 1], options.newest[:, :, other - 1]
    older, older_too = options.older[:, :, one - 1], options.older[:, :, other - 1]
    at, at_too = reused[one], reused[other]
    return (
        newest * newest_too * products[last, last] + older * older_too * products[before, before]
        + (newest * older_too + older * newest_too) * products[last, before] + products[at, at_too]
        - newest * products[last, at_too] - older * products[before, at_too]
        - newest_too * products[last, at] - older_too * products[before, at]
    )  # fmt: skip
