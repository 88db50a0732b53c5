"""The magnitude law of one model: how the size of its residual changes over sigma."""

from __future__ import annotations

import json
import math
import os
import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from types import MappingProxyType
from typing import Any, cast

import numpy as np

from .errors import CurveError
from .files import read_text, write_text
from .gram import Blocks, Matrix, compose, resample
from .json_values import floats, items, mapping, number, rows, shown, table, text, whole

FORMAT, VERSION = "magcache.curve", 2
SAME_SIGMA = 1e-4
"""Two sigmas closer than this (relative to the larger) are one: schedules are computed in fp32 and stored rounded."""
MAX_BYTES = 64 * 2**20
"""Curve files are some hundred kilobytes; all products of a thousand steps would still fit."""
_NAME = re.compile(r"(?!auto$)(?!(?i:con|prn|aux|nul|com\d|lpt\d)(?:\.|$))[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_RATIO_RANGE = (1e-3, 1e3)
_LARGEST_PRODUCT = 1e12
"""Products are in units of a residual's mean square; what is far larger was not measured, and its sums would overflow."""
_DEEPEST = 50
"""Provenance is nested at most so deep: what Python can still hold it may not be able to write."""
_LARGEST_LOG = 100.0
"""A steep end of a curve, carried on to a far sigma, shall not overflow."""


@dataclass(frozen=True, slots=True)
class Preset:
    """Settings recommended for a model; the names are those of `magcache.schedule.Settings`."""

    threshold: float
    retention: float
    max_skip: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MagnitudeCurve:
    """Magnitude ratios γ_i = mean over tokens of ‖r_i‖ / ‖r_{i-1}‖ (arXiv:2506.09045, Eq. 4) and the sigmas they belong to.

    The ratio between any two sigmas follows from the cumulative log-magnitude, which is linear in sigma between the measured
    points; so a curve serves every step count, scheduler, shift and part of a schedule.

    Raises `CurveError` when the numbers cannot be a curve.
    """

    name: str
    family: str
    """The architecture it belongs to, as named in `magcache.comfyui.families`."""
    sigmas: tuple[float, ...]
    """Noise levels of the measured run, falling, one a step."""
    ratios: Mapping[str, tuple[float, ...]]
    """γ for each branch (`cond`, `uncond`, …), one a step; the first of each is 1."""
    spread: Mapping[str, tuple[float, ...]] = field(default_factory=dict[str, tuple[float, ...]])
    """Standard deviation of γ over the tokens, where it was recorded."""
    distance: Mapping[str, tuple[float, ...]] = field(default_factory=dict[str, tuple[float, ...]])
    """Mean over tokens of 1 − cos(r_i, r_{i-1}), where it was recorded."""
    products: Mapping[tuple[str, str], tuple[tuple[float, ...], ...]] = field(
        default_factory=dict[tuple[str, str], tuple[tuple[float, ...], ...]]
    )
    """Inner products ⟨r_i, r_j⟩ of residuals for pairs of branches, where they were recorded: the errors of every reuse follow."""
    masked: tuple[int, ...] = ()
    """Steps whose ratio compares two different models (an expert switch) and is passed over."""
    vetoes: tuple[float, ...] = ()
    """Sigmas at which the residual turns without changing its size: the step there is always computed."""
    gate: float | None = None
    """A single step whose |γ − 1| is larger than this is always computed."""
    preset: Preset | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Where the numbers come from: source, sampler, shift, resolution, …"""

    def __post_init__(self) -> None:
        where = f"curve {self.name!r}"
        check_name(self.name)
        _check_numbers(self.sigmas, f"{where}: sigmas", low=0.0)
        if len(self.sigmas) < 2:
            raise CurveError(f"{where} has {len(self.sigmas)} steps; at least 2 are needed. Calibrate with an ordinary number of steps.")
        if any(after >= before or same_sigma(before, after) for before, after in pairwise(self.sigmas)):
            raise CurveError(f"{where}: sigmas must fall from step to step, by more than {SAME_SIGMA} of their size, but they do not.")
        if not self.ratios:
            raise CurveError(f"{where} has no branch. Expected ratios such as {{'cond': [1.0, …]}}.")
        steps = len(self.sigmas)
        for title, series in (("ratios", self.ratios), ("spread", self.spread), ("distance", self.distance)):
            for branch, values in series.items():
                low, high = _RATIO_RANGE if title == "ratios" else (-1e-6, _RATIO_RANGE[1])
                _check_numbers(values, f"{where}: {title}[{branch!r:.60}]", low, high)
                if len(values) != steps:
                    raise CurveError(f"{where}: {title}[{branch!r:.60}] has {len(values)} values for {steps} sigmas; one a step is needed.")
        if any(not 0 < step < len(self.sigmas) for step in self.masked):
            raise CurveError(f"{where}: masked steps {self.masked!s:.60} must lie between 1 and {len(self.sigmas) - 1}.")
        _check_numbers(self.vetoes, f"{where}: vetoes", low=0.0)
        if self.gate is not None:
            _check_number(self.gate, f"{where}: gate", low=0.0)
        if self.preset:
            _check_number(self.preset.threshold, f"{where}: the preset's threshold", low=0.0)
            _check_number(self.preset.retention, f"{where}: the preset's retention", low=0.0, high=1.0)
            _check_number(self.preset.max_skip, f"{where}: the preset's max_skip", low=0.0)
        for (one, other), matrix in self.products.items():
            _check_products(matrix, len(self.sigmas), f"{where}: products[{one + ',' + other!r:.60}]")
        lone = ("uncond", "uncond") in self.products and ("cond", "uncond") not in self.products
        if self.products and (lone or ("cond", "cond") not in self.products):
            raise CurveError(
                f"{where}: products of {list(self.products)!s:.120} lack those of 'cond' with itself or with 'uncond'. "
                "Calibrate again, or leave products out."
            )
        if _deeper(self.provenance, _DEEPEST):
            raise CurveError(f"{where}: provenance is nested more than {_DEEPEST} deep. Shorten it.")
        for name in ("ratios", "spread", "distance", "products", "provenance"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    @property
    def steps(self) -> int:
        """Steps of the measured run."""
        return len(self.sigmas)

    def ratios_at(self, sigmas: Sequence[float], branch: str) -> tuple[float, ...]:
        """γ between neighbours of `sigmas` (falling, one a step); the first is 1.

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

    def mean_ratios_at(self, sigmas: Sequence[float]) -> tuple[float, ...]:
        """As `ratios_at`, the mean over the branches in the logarithm."""
        rows = [self.ratios_at(sigmas, branch) for branch in self.ratios]
        return tuple(math.exp(sum(map(math.log, column)) / len(column)) for column in zip(*rows, strict=True))

    def products_at(self, sigmas: Sequence[float], guidance: float) -> Matrix | None:
        """Inner products of the residuals at `sigmas`, of the two branches composed with `guidance`; None if none were recorded."""
        if not self.products:
            return None
        blocks: Blocks = {pair: np.asarray(matrix) for pair, matrix in self.products.items()}
        return resample(compose(blocks, guidance), self.sigmas, sigmas)

    def coverage(self, sigmas: Sequence[float]) -> float:
        """The part of a run's steps whose sigmas lie within the measured ones."""
        high, low = self.sigmas[0] * (1 + SAME_SIGMA), self.sigmas[-1] * (1 - SAME_SIGMA)
        return sum(low <= sigma <= high for sigma in sigmas) / max(len(sigmas), 1)

    def sigmas_for(self, steps: int) -> tuple[float, ...]:
        """The measured schedule stretched to `steps` steps: the sigmas at the same parts of the way from its first to 0."""
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
        """The branch's ratios, the masked ones replaced by the mean of their neighbours in the logarithm."""
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
        """Cumulative log-magnitude at `sigma`; above the measured sigmas it stays, below them the last slope goes on."""
        after = min(max(bisect_left(self.sigmas, -sigma, key=lambda value: -value), 1), self.steps - 1)
        high, low = self.sigmas[after - 1], self.sigmas[after]
        if sigma > self.sigmas[0]:
            return levels[0]
        part = (high - sigma) / (high - low)
        return levels[after - 1] + part * (levels[after] - levels[after - 1])

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads back to an equal curve."""
        document: dict[str, Any] = {"format": FORMAT, "version": VERSION, "name": self.name, "family": self.family}
        document["sigmas"] = list(self.sigmas)
        document["ratios"] = {branch: list(values) for branch, values in self.ratios.items()}
        for title in ("spread", "distance"):
            if series := getattr(self, title):
                document[title] = {branch: list(values) for branch, values in series.items()}
        if self.products:
            document["products"] = {",".join(pair): [list(row) for row in matrix] for pair, matrix in self.products.items()}
        for title in ("masked", "vetoes"):
            if values := getattr(self, title):
                document[title] = list(values)
        if self.gate is not None:
            document["gate"] = self.gate
        if self.preset:
            document["preset"] = {
                "threshold": self.preset.threshold,
                "retention": self.preset.retention,
                "max_skip": self.preset.max_skip,
            }
        document["provenance"] = dict(self.provenance)
        return document

    @classmethod
    def from_json(cls, document: object, source: str = "curve") -> MagnitudeCurve:
        """Read a JSON object. `source` names it in errors. Raises `CurveError`."""
        fields = cast("dict[str, Any]", document) if isinstance(document, dict) else {}
        if fields.get("format") != FORMAT:
            raise CurveError(f'{source} is not a MagCache curve: expected a JSON object with "format": "{FORMAT}".')
        version = fields.get("version")
        if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version <= VERSION:
            raise CurveError(
                f"{source} has version {shown(version)}; this MagCache reads up to {VERSION}. Update MagCache or calibrate again."
            )
        try:
            preset = fields.get("preset")
            return cls(
                name=text(fields["name"]),
                family=text(fields["family"]),
                sigmas=floats(fields["sigmas"]),
                ratios=table(fields["ratios"]),
                spread=table(fields.get("spread", {})),
                distance=table(fields.get("distance", {})),
                products=_products(fields.get("products", {})),
                masked=tuple(whole(step) for step in items(fields.get("masked", ()))),
                vetoes=floats(fields.get("vetoes", ())),
                gate=None if fields.get("gate") is None else number(fields["gate"]),
                preset=None if preset is None else _preset(preset),
                provenance=mapping(fields.get("provenance", {})),
            )
        except KeyError as missing:
            raise CurveError(f"{source} lacks {missing}. Calibrate again to make a complete file.") from None
        except TypeError as wrong:
            raise CurveError(f"{source} holds a value of the wrong kind: {wrong}.") from None

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> MagnitudeCurve:
        """Read a curve file. Raises `CurveError` when it cannot be read or understood."""
        try:
            document = json.loads(read_text(path, MAX_BYTES))
        except (OSError, ValueError, RecursionError) as error:
            raise CurveError(f"{path} cannot be read as a curve: {error}") from None
        return cls.from_json(document, source=str(path))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a curve file in one piece: a reader finds the old file or the new one, never half of it. Raises `OSError`."""
        write_text(path, json.dumps(self.to_json(), indent=1) + "\n")


def check_name(name: str) -> str:
    """`name` if it can name a curve and its file. Raises `CurveError`."""
    if not _NAME.fullmatch(name):
        raise CurveError(
            f"{name!r:.120} cannot name a curve: use letters, digits, '.', '_' and '-', beginning with a letter or digit, "
            "at most 100 of them; 'auto' is taken, and so are Windows' names of devices (con, nul, com1, …)."
        )
    return name


def same_sigma(one: float, other: float) -> bool:
    """Whether two sigmas are the same noise level, give or take rounding."""
    return math.isclose(one, other, rel_tol=SAME_SIGMA, abs_tol=SAME_SIGMA * 1e-9)


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


def _deeper(value: object, depth: int) -> bool:
    """Whether lists and objects are nested more than `depth` deep; level by level, so that no depth is too much to ask."""
    level = [value]
    for _ in range(depth + 1):
        held = {id(inner): inner for outer in level for inner in _held(outer)}
        level = list(held.values())
    return bool(level)


def _held(value: object) -> Sequence[object]:
    if isinstance(value, Mapping):
        return list(cast("Mapping[str, object]", value).values())
    return cast("Sequence[object]", value) if isinstance(value, list | tuple) else ()


def _products(value: object) -> dict[tuple[str, str], tuple[tuple[float, ...], ...]]:
    products: dict[tuple[str, str], tuple[tuple[float, ...], ...]] = {}
    for pair, matrix in mapping(value).items():
        one, _, other = pair.partition(",")
        products[one, other] = rows(matrix)
    return products


def _preset(value: object) -> Preset:
    fields = mapping(value)
    return Preset(number(fields["threshold"]), number(fields["retention"]), whole(fields["max_skip"]))
