"""Inner products between the residuals of a run. The error of every way to reuse follows from them (docs/how_it_works.md, section 3)."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

_TURN = 0.75
"""Radians by which residuals change direction per radian of the noise schedule, fitted on the demo's model."""

_ROUGHNESS = 0.005
"""Part of a residual's squared size that not even the nearest step shares with it. Fitted, like the weights of `Propagation`, to
public plans of real models (`python -m benchmarks.plans`)."""

Matrix = npt.NDArray[np.float64]
Blocks = dict[tuple[str, str], Matrix]
"""Inner products for pairs of branches: rows are steps of the first, columns of the second."""


def in_stream(stream: str, branch: str) -> str:
    """Name of a branch of a stream among a curve's products; the first stream has no name."""
    return f"{stream}:{branch}" if stream else branch


def stream_of(branch: str) -> str:
    """The stream that a name of a branch belongs to."""
    return branch.rpartition(":")[0]


def compose(blocks: Blocks, guidance: float) -> Matrix:
    """Inner products of the guided residual r_u + s (r_c − r_u), from those of its branches.

    The guided residual moves the latent. Errors of its two branches partly cancel.
    """
    cond = blocks["cond", "cond"]
    if ("uncond", "uncond") not in blocks or guidance == 1:
        return cond
    cross = blocks["cond", "uncond"]
    return guidance**2 * cond + (1 - guidance) ** 2 * blocks["uncond", "uncond"] + guidance * (1 - guidance) * (cross + _transposed(cross))


def _transposed(matrix: Matrix) -> Matrix:
    return np.einsum("ij->ji", matrix)


def resample(products: Matrix, measured: Sequence[float], wanted: Sequence[float]) -> Matrix:
    """Inner products at the sigmas `wanted`, from those at the (falling) sigmas `measured`.

    A residual between two measured sigmas is taken to be the 4-point Lagrange cubic through its neighbours. That is linear in the
    residuals, so their inner products suffice. A variance term is added: a bare cubic looks smoother, and easier to extrapolate,
    than real residuals are. Beyond the ends the outermost residual is held.
    """
    places = [min(max(sigma, measured[-1]), measured[0]) for sigma in wanted]
    weights = np.array([_cubic(measured, place) for place in places])
    resampled = np.einsum("in,nm,jm->ij", weights, products, weights, optimize=True)
    resampled[np.diag_indices(len(places))] += _variances(products, measured, places)
    return resampled


def _cubic(measured: Sequence[float], sigma: float, without: int | None = None) -> npt.NDArray[Any]:
    """Weights of the measured residuals in the cubic at `sigma`; the one at index `without` is left out."""
    usable = [index for index in range(len(measured)) if index != without]
    after = bisect_left(usable, -sigma, key=lambda index: -measured[index])
    first = min(max(after - 2, 0), max(len(usable) - 4, 0))
    nodes = usable[first : first + 4]
    row = np.zeros(len(measured))
    for index in nodes:
        row[index] = math.prod((sigma - measured[other]) / (measured[index] - measured[other]) for other in nodes if other != index)
    return row


def _variances(products: Matrix, measured: Sequence[float], places: Sequence[float]) -> list[float]:
    """Expected squared distance of the residual at each of `places` from its cubic: 0 where one was measured.

    Each measured residual is compared with the cubic through the others. Half of that squared error is expected at half the distance,
    as for a path as rough as Brownian motion.
    """
    if len(measured) < 5:
        return [0.0] * len(places)
    inner = range(1, len(measured) - 1)
    cubics = [_cubic(measured, measured[step], without=step) for step in inner]
    for step, cubic in zip(inner, cubics, strict=True):
        cubic[step] = -1.0
    errors = [float(np.einsum("n,nm,m->", cubic, products, cubic)) for cubic in cubics]
    errors = [max(error, 0.0) for error in (errors[0], *errors, errors[-1])]
    variances: list[float] = []
    for place in places:
        after = min(max(bisect_left(measured, -place, key=lambda value: -value), 1), len(measured) - 1)
        way = (measured[after - 1] - place) / (measured[after - 1] - measured[after])
        variances.append(0.5 * max(errors[after - 1], errors[after]) * 4 * way * (1 - way))
    return variances


def expected_products(sizes: Sequence[float], sigmas: Sequence[float]) -> Matrix:
    """Inner products to expect of residuals of which only the magnitudes `sizes` are known (one a step).

    A prior, not a measurement: the cosine between two residuals falls with their distance in `_pace`, as fitted on models whose
    residuals were recorded, and by `_ROUGHNESS` as soon as they are two.
    """
    pace = np.array([_pace(sigma) for sigma in sigmas])
    cosines = (1 - _ROUGHNESS) * np.exp(-0.5 * (pace[:, None] - pace[None, :]) ** 2)
    np.fill_diagonal(cosines, 1.0)
    return np.outer(sizes, sizes) * cosines


def _pace(sigma: float) -> float:
    """Position in the schedule, in a measure along which residuals turn evenly: fast near sigma 1 and near 0, slowly in between."""
    return _TURN * math.asin(2 * min(max(sigma, 0.0), 1.0) - 1)
