"""Inner products between the residuals of a run: all that is needed to know how well any reuse would have done."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

_TURN = 0.75
"""Radians that residuals turn for each radian of the noise schedule; measured on the demo's model."""

Matrix = npt.NDArray[np.float64]
Blocks = dict[tuple[str, str], Matrix]
"""Inner products for pairs of branches: rows are steps of the first, columns of the second."""


def compose(blocks: Blocks, guidance: float) -> Matrix:
    """Inner products of the guided residual r_u + s (r_c − r_u), from those of its branches.

    It is the guided residual that moves the picture: errors of the two branches cancel in part.
    """
    cond = blocks["cond", "cond"]
    if ("uncond", "uncond") not in blocks or guidance == 1:
        return cond
    cross = blocks["cond", "uncond"]
    return guidance**2 * cond + (1 - guidance) ** 2 * blocks["uncond", "uncond"] + guidance * (1 - guidance) * (cross + _transposed(cross))


def _transposed(matrix: Matrix) -> Matrix:
    return np.einsum("ij->ji", matrix)


def resample(gram: Matrix, measured: Sequence[float], wanted: Sequence[float]) -> Matrix:
    """Inner products at the sigmas `wanted`, given those at the (falling) sigmas `measured`.

    A residual between two measured sigmas is taken to be the cubic through the four nearest (Lagrange), which is linear in the
    residuals and so needs nothing but their inner products. Beyond the ends the outermost residual is held.
    """
    weights = np.zeros((len(wanted), len(measured)))
    for row, sigma in zip(weights, wanted, strict=True):
        _cubic(row, measured, min(max(sigma, measured[-1]), measured[0]))
    return np.einsum("in,nm,jm->ij", weights, gram, weights, optimize=True)


def _cubic(row: npt.NDArray[Any], measured: Sequence[float], sigma: float) -> None:
    count = min(4, len(measured))
    after = bisect_left(measured, -sigma, key=lambda value: -value)
    first = min(max(after - 2, 0), len(measured) - count)
    nodes = measured[first : first + count]
    for index, node in enumerate(nodes):
        others = (other for other in nodes if other != node)
        row[first + index] = np.prod([(sigma - other) / (node - other) for other in others])


def expected_products(sizes: Sequence[float], sigmas: Sequence[float]) -> Matrix:
    """Inner products to expect of residuals of which only the sizes are known.

    Their directions are taken to turn apart with the distance in `_pace`, as fitted on models whose residuals were recorded.
    """
    pace = np.array([_pace(sigma) for sigma in sigmas])
    cosines = np.exp(-0.5 * (pace[:, None] - pace[None, :]) ** 2)
    return np.outer(sizes, sizes) * cosines


def _pace(sigma: float) -> float:
    """How far the sampling has got, in a measure in which residuals turn evenly: fast near sigma 1 and near 0, slowly in between."""
    return _TURN * math.asin(2 * min(max(sigma, 0.0), 1.0) - 1)
