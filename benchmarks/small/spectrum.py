"""Spectrum: the tokens after the last block, forecast at the steps between by a polynomial through all computed ones.

J. Han et al., CVPR 2026, arXiv 2603.01623; constants, schedule and the blend as in github.com/hanjq17/Spectrum at f7b7841. Cond and uncond
are forecast apart, by one schedule. Other than there everything is float32 and the run's own number of steps maps to [-1, 1], not 50.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from numpy.polynomial.chebyshev import chebvander
from torch import nn

from benchmarks.small.loop import CacheRun, CacheSetting, PlannedStack

WARM_UP_STEPS = 5
"""Number of first steps that are computed."""
DEGREE = 4
"""Of the polynomial, m."""
RIDGE = 0.1
"""Strength of the regularisation, λ."""


def spectrum_steps(steps: int, window: float, growth: float) -> list[int]:
    """The computed steps: one in ⌊window⌋ after the warm-up. `growth` (α, `flex_window`) is added to the window after each."""
    computed = list(range(min(WARM_UP_STEPS, steps)))
    while (following := computed[-1] + math.floor(window)) < steps:
        computed.append(following)
        window = round(window + growth, 3)  # Against the rounding errors of many additions.
    return computed


def forecast_weights(known: Sequence[int], step: int, steps: int, blend: float, ridge: float = RIDGE) -> npt.NDArray[np.float64]:
    """The weights of the tokens at the `known` steps, two or more, in their forecast for `step`.

    Ridge regression on Chebyshev polynomials of the step is linear in the tokens, so that a forecast is a weighted sum of them. `blend` is
    its share (w); the rest is the straight line through the last two.
    """

    def basis(of: Sequence[int]) -> npt.NDArray[np.float64]:
        return chebvander(2 * np.array(of, dtype=float) / steps - 1, DEGREE)

    design = basis(known)
    weights = blend * (basis([step]) @ np.linalg.solve(design.T @ design + ridge * np.eye(DEGREE + 1), design.T))[0]
    ahead = (step - known[-1]) / (known[-1] - known[-2])
    weights[-2:] += (1 - blend) * np.array([-ahead, 1 + ahead])
    return weights


class Forecast:
    """The forecast of one branch."""

    def __init__(self, steps: int, blend: float) -> None:
        self._steps, self._blend = steps, blend
        self._known: dict[int, torch.Tensor] = {}

    def learn(self, step: int, before: torch.Tensor, after: torch.Tensor) -> None:
        self._known[step] = after

    def replace(self, step: int, before: torch.Tensor) -> torch.Tensor:
        weights = forecast_weights(list(self._known), step, self._steps, self._blend).tolist()
        return torch.stack([weight * tokens for weight, tokens in zip(weights, self._known.values(), strict=True)]).sum(0)


def spectrum(window: float, growth: float, blend: float) -> CacheSetting:
    """Spectrum with a schedule (`spectrum_steps`) and a share of the polynomial (`forecast_weights`)."""

    def attach(model: nn.Module, run: CacheRun) -> None:
        computed = frozenset(spectrum_steps(run.steps, window, growth))
        PlannedStack(model, computed, [Forecast(run.steps, blend) for _ in range(run.branches)])

    return CacheSetting(f"window {window:g}, growth {growth:g}, w {blend:g}", attach)
