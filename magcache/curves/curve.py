"""The magnitude law of one model: how the size of its residual changes over sigma."""

from __future__ import annotations

import json
import math
import os
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from types import MappingProxyType
from typing import Any, cast

import numpy as np

from ..documents import read_text, write_text
from ..errors import CurveError
from ..settings import ThresholdSettings
from ..texts import Text
from .codec import MAX_BYTES, document_of, fields_of
from .names import check_name
from .products import Blocks, Matrix, compose, in_stream, resample, stream_of
from .propagation import GROWING, Propagation

SAME_SIGMA = 1e-4
"""Two sigmas closer than this (relative to the larger) are one: schedules are computed in fp32 and stored rounded."""
_RATIO_RANGE = (1e-3, 1e3)
_LARGEST_PRODUCT = 1e12
"""Products are in units of a residual's mean square; what is far larger was not measured, and its sums would overflow."""
_DEEPEST = 50
"""Most levels of nesting in provenance: Python can hold values that are too deep for it to write."""
_LARGEST_LOG = 100.0
"""Limit of a log-ratio and of a log-magnitude, so that a steep end of a curve does not overflow when extrapolated to a far sigma."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MagnitudeCurve:
    """Magnitude ratios γ_i = mean over tokens of ‖r_i‖ / ‖r_{i-1}‖ (arXiv:2506.09045, Eq. 4) and the sigmas they belong to.

    The ratio between any two sigmas follows from the cumulative log-magnitude, which is linear in sigma between the measured
    points; so one curve serves every step count, scheduler, shift and part of a schedule.

    Raises `CurveError` if the numbers cannot be a curve.
    """

    name: str
    """Name of the curve, in any script; `names.file_stem` makes a file name of it."""
    family: str
    """The architecture it belongs to: `Family.name` of `magcache.runtime.family`."""
    sigmas: tuple[float, ...]
    """Noise levels of the measured run, falling, one a step."""
    ratios: Mapping[str, tuple[float, ...]]
    """γ for each branch (`cond`, `uncond`, …), one a step; the first of each is 1."""
    products: Mapping[tuple[str, str], tuple[tuple[float, ...], ...]] = field(
        default_factory=dict[tuple[str, str], tuple[tuple[float, ...], ...]]
    )
    """Inner products ⟨r_i, r_j⟩ of residuals for pairs of branches, steps × steps, where they were recorded, in units of the mean
    square of a residual, that of the larger branch. The error of every way to reuse follows from them (docs/how_it_works.md, section 3).
    Branches of a further stream of the model, such as sound, have its name in front: `sound:cond`."""
    masked: tuple[int, ...] = ()
    """Steps whose ratio compares two different models (an expert switch) and is ignored."""
    vetoes: tuple[float, ...] = ()
    """Sigmas where the residual changes direction but not magnitude, so γ ≈ 1 misleads; the nearest step is always computed."""
    gate: float | None = None
    """A single step whose |γ − 1| is larger than this is always computed."""
    preset: ThresholdSettings | None = None
    """Settings recommended for this model where they were published."""
    propagation: Propagation = GROWING
    """How an error at one step reaches the picture."""
    provenance: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Where the numbers come from: source, sampler, shift, resolution, …"""

    def __post_init__(self) -> None:
        where = f"curve {self.name!r}"
        object.__setattr__(self, "name", check_name(self.name))
        self._check_sigmas(where)
        if not self.ratios:
            raise CurveError(f"{where} has no branch. Expected ratios such as {{'cond': [1.0, …]}}.")
        for branch, values in self.ratios.items():
            _check_numbers(values, f"{where}: ratios[{branch!r:.60}]", *_RATIO_RANGE)
            if len(values) != self.steps:
                raise CurveError(f"{where}: ratios[{branch!r:.60}] has {len(values)} values for {self.steps} sigmas; one a step is needed.")
        if any(not 0 < step < self.steps for step in self.masked):
            raise CurveError(f"{where}: masked steps {self.masked!s:.60} must lie between 1 and {self.steps - 1}.")
        _check_numbers(self.vetoes, f"{where}: vetoes", low=0.0)
        if self.gate is not None:
            _check_number(self.gate, f"{where}: gate", low=0.0)
        self._check_all_products(where)
        if _is_deeper(self.provenance, _DEEPEST):
            raise CurveError(f"{where}: provenance is nested more than {_DEEPEST} deep. Shorten it.")
        for name in ("ratios", "products", "provenance"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def _check_sigmas(self, where: str) -> None:
        _check_numbers(self.sigmas, f"{where}: sigmas", low=0.0)
        if len(self.sigmas) < 2:
            raise CurveError(f"{where} has {len(self.sigmas)} steps; at least 2 are needed. Calibrate with an ordinary number of steps.")
        if any(after >= before or same_sigma(before, after) for before, after in pairwise(self.sigmas)):
            raise CurveError(f"{where}: sigmas must fall from step to step, by more than {SAME_SIGMA} of their size, but they do not.")

    def _check_all_products(self, where: str) -> None:
        for (one, other), matrix in self.products.items():
            _check_products(matrix, self.steps, f"{where}: products[{one + ',' + other!r:.60}]")
        for stream in ("", *self.streams) if self.products else ():
            cond, uncond = in_stream(stream, "cond"), in_stream(stream, "uncond")
            lone = (uncond, uncond) in self.products and (cond, uncond) not in self.products
            if lone or (cond, cond) not in self.products:
                raise CurveError(
                    f"{where}: products of {list(self.products)!s:.120} lack those of {cond!r:.60} with itself or with {uncond!r:.60}. "
                    "Calibrate again, or leave products out."
                )

    @property
    def steps(self) -> int:
        """Steps of the measured run."""
        return len(self.sigmas)

    @property
    def streams(self) -> tuple[str, ...]:
        """Names of the model's further streams, such as sound, whose residuals were recorded by themselves."""
        return tuple(dict.fromkeys(name for one, _ in self.products if (name := stream_of(one))))

    def ratios_at(self, sigmas: Sequence[float], branch: str) -> tuple[float, ...]:
        """γ of `branch` between neighbours of `sigmas` (falling, one a step); the first is 1.

        Neighbours that are also neighbours in the measured run get exactly the measured ratio.
        """
        own = self._usable(branch)
        levels = tuple(accumulate((math.log(ratio) for ratio in own[1:]), initial=0.0))
        places = [self._measured_step(sigma) for sigma in sigmas]
        ratios = [1.0]
        for before, after, here, there in zip(sigmas, sigmas[1:], places, places[1:], strict=False):
            if here is not None and there == here + 1:
                ratios.append(own[here + 1])
            else:
                rise = self._level(levels, after) - self._level(levels, before)
                ratios.append(math.exp(min(max(rise, -_LARGEST_LOG), _LARGEST_LOG)))
        return tuple(ratios[: len(sigmas)])

    def levels_at(self, sigmas: Sequence[float]) -> tuple[float, ...]:
        """Magnitude of the residual at each of `sigmas` (falling) relative to the first: the geometric mean over the branches."""
        rows = [accumulate(self.ratios_at(sigmas, branch), _scaled) for branch in self.ratios]
        return _geometric_means(rows)

    def mean_ratios_at(self, sigmas: Sequence[float]) -> tuple[float, ...]:
        """γ between neighbours of `sigmas` (falling, one a step), the geometric mean over the branches; the first is 1."""
        return _geometric_means([self.ratios_at(sigmas, branch) for branch in self.ratios])

    def products_at(self, sigmas: Sequence[float], guidance: float, stream: str = "") -> Matrix | None:
        """Inner products (steps × steps) of the residuals at `sigmas`, guided with the CFG scale `guidance`; None if none were recorded.

        `stream` is one of `streams`; the model's first stream has no name.
        """
        if not self.products:
            return None
        own = {pair: matrix for pair, matrix in self.products.items() if stream_of(pair[0]) == stream}
        blocks: Blocks = {(one.rpartition(":")[2], other.rpartition(":")[2]): np.asarray(matrix) for (one, other), matrix in own.items()}
        return resample(compose(blocks, guidance), self.sigmas, sigmas)

    def coverage(self, sigmas: Sequence[float]) -> float:
        """The fraction of `sigmas` that lies within the measured range."""
        high, low = self.sigmas[0] * (1 + SAME_SIGMA), self.sigmas[-1] * (1 - SAME_SIGMA)
        return sum(low <= sigma <= high for sigma in sigmas) / max(len(sigmas), 1)

    def sigmas_for(self, steps: int) -> tuple[float, ...]:
        """The measured schedule resampled to `steps` steps: sigmas at the same fractions of the way from its first sigma to 0."""
        if steps == self.steps:
            return self.sigmas
        whole = (*self.sigmas, 0.0)
        sigmas: list[float] = []
        for step in range(steps):
            place = step * self.steps / steps
            before = int(place)
            sigmas.append(whole[before] + (place - before) * (whole[before + 1] - whole[before]))
        return tuple(sigmas)

    def _usable(self, branch: str) -> tuple[float, ...]:
        """The ratios of `branch`; masked ones are replaced by the geometric mean of their neighbours."""
        own = list(self.ratios[branch])
        for step in self.masked:
            beside = [own[near] for near in (step - 1, step + 1) if 0 < near < len(own) and near not in self.masked]
            own[step] = math.exp(sum(map(math.log, beside)) / len(beside)) if beside else 1.0
        return tuple(own)

    def _measured_step(self, sigma: float) -> int | None:
        step = bisect_left(self.sigmas, -sigma, key=lambda value: -value)
        for near in (step - 1, step):
            if 0 <= near < self.steps and same_sigma(self.sigmas[near], sigma):
                return near
        return None

    def _level(self, levels: Sequence[float], sigma: float) -> float:
        """Cumulative log-magnitude at `sigma`: constant above the measured sigmas, continued with the last slope below them."""
        after = min(max(bisect_left(self.sigmas, -sigma, key=lambda value: -value), 1), self.steps - 1)
        high, low = self.sigmas[after - 1], self.sigmas[after]
        if sigma > self.sigmas[0]:
            return levels[0]
        part = (high - sigma) / (high - low)
        return levels[after - 1] + part * (levels[after] - levels[after - 1])

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads back to an equal curve."""
        return document_of(self)

    @classmethod
    def from_json(cls, document: object, source: str = "curve") -> MagnitudeCurve:
        """Read the JSON object `document`. `source` names it in errors. Raises `CurveError`."""
        return cls(**fields_of(document, source))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> MagnitudeCurve:
        """Read the curve file at `path`. Raises `CurveError` if it cannot be read or understood."""
        try:
            document = json.loads(read_text(path, MAX_BYTES))
        except (OSError, ValueError, RecursionError) as error:
            raise CurveError(Text("{path} cannot be read as a curve: {error}", path=path, error=error)) from None
        return cls.from_json(document, source=str(path))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the curve file at `path` in one piece: a reader finds the old file or the new one, never half of it. Raises `OSError`."""
        write_text(path, json.dumps(self.to_json(), indent=1) + "\n")


def same_sigma(one: float, other: float) -> bool:
    """Whether two sigmas are the same noise level, give or take rounding."""
    return math.isclose(one, other, rel_tol=SAME_SIGMA, abs_tol=SAME_SIGMA * 1e-9)


def _scaled(level: float, ratio: float) -> float:
    """Their product, within limits."""
    return min(max(level * ratio, math.exp(-_LARGEST_LOG)), math.exp(_LARGEST_LOG))


def _geometric_means(rows: Sequence[Iterable[float]]) -> tuple[float, ...]:
    """The geometric mean of the numbers at each place of all rows."""
    return tuple(math.exp(sum(map(math.log, column)) / len(column)) for column in zip(*rows, strict=True))


def _check_numbers(values: Sequence[float], where: str, low: float, high: float = math.inf) -> None:
    for step, value in enumerate(values):
        _check_number(value, where, low, high, f" at step {step}")


def _check_number(value: float, where: str, low: float, high: float = math.inf, place: str = "") -> None:
    if not math.isfinite(value) or not low <= value <= high:
        raise CurveError(f"{where} is {value}{place}; expected a number from {low} to {high}. Correct it or calibrate again.")


def _check_products(matrix: Sequence[Sequence[float]], steps: int, where: str) -> None:
    if len(matrix) != steps or any(len(row) != steps for row in matrix):
        raise CurveError(f"{where} must have {steps} rows of {steps} numbers, one for each pair of steps.")
    for row in matrix:
        _check_numbers(row, where, -_LARGEST_PRODUCT, _LARGEST_PRODUCT)


def _is_deeper(value: object, depth: int) -> bool:
    """Whether lists and objects are nested more than `depth` deep. Level by level, so that any depth can be examined."""
    level = [value]
    for _ in range(depth + 1):
        held = {id(inner): inner for outer in level for inner in _children(outer)}
        level = list(held.values())
    return bool(level)


def _children(value: object) -> Sequence[object]:
    if isinstance(value, Mapping):
        return list(cast("Mapping[str, object]", value).values())
    return cast("Sequence[object]", value) if isinstance(value, list | tuple) else ()
