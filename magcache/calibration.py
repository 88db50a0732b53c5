"""From the residuals of one ordinary run to a magnitude curve."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from .curve import MagnitudeCurve, same_sigma
from .errors import CalibrationError

_TINY = 1e-8


@dataclass(slots=True)
class _Series:
    """What one member of the batch has shown so far: its last residual and the steps seen."""

    residual: torch.Tensor
    sigmas: list[float]
    ratios: list[float]
    spread: list[float]
    distance: list[float]


class Recorder:
    """Compares each residual with the one before, token by token, in fp32 (arXiv:2506.09045, Sec. 3.1).

    It keeps one residual for each member of the batch, so calibrating takes no more memory than reusing.
    """

    def __init__(self) -> None:
        self._series: dict[tuple[str, Hashable], _Series] = {}

    def observe(self, sigma: float, branch: str, member: Hashable, residual: torch.Tensor) -> None:
        """Take in the residual (rows, tokens…, channels) of `member` at `sigma`. A sigma that does not fall is passed over."""
        series = self._series.get((branch, member))
        if series is None:
            self._series[branch, member] = _Series(residual, [sigma], [1.0], [0.0], [0.0])
            return
        if sigma >= series.sigmas[-1] or same_sigma(sigma, series.sigmas[-1]):
            return
        now, before = residual.float(), series.residual.float()
        size, size_before = _size(now), _size(before)
        ratio = size / (size_before + _TINY)
        cosine = (now * before).sum(dim=-1) / (size * size_before).clamp(min=_TINY**2)
        spread, mean = torch.std_mean(ratio, correction=0)
        series.sigmas.append(sigma)
        series.ratios.append(mean.item())
        series.spread.append(spread.item())
        series.distance.append(1 - cosine.mean().item())
        series.residual = residual

    def curve(self, name: str, family: str, provenance: Mapping[str, Any]) -> MagnitudeCurve:
        """The curve of the run, the mean over the members of each branch.

        Members that did not take part in every step (other conditionings for a part of the run) are left out.
        Raises `CalibrationError` when fewer than three steps were seen.
        """
        longest = max((series.sigmas for series in self._series.values()), key=len, default=list[float]())
        if len(longest) < 3:
            raise CalibrationError(
                f"Calibration saw {len(longest)} steps of the model; it needs at least 3. Run it with the sampler and about the number "
                "of steps you use, without another cache node on the model."
            )
        branches: dict[str, list[_Series]] = defaultdict(list)
        for (branch, _), series in self._series.items():
            if series.sigmas == longest:
                branches[branch].append(series)
        return MagnitudeCurve(
            name=name,
            family=family,
            sigmas=tuple(longest),
            ratios={branch: _mean([series.ratios for series in group]) for branch, group in branches.items()},
            spread={branch: _mean([series.spread for series in group]) for branch, group in branches.items()},
            distance={branch: _mean([series.distance for series in group]) for branch, group in branches.items()},
            provenance=provenance,
        )


def _size(tokens: torch.Tensor) -> torch.Tensor:
    return tokens.square().sum(dim=-1).sqrt()


def _mean(rows: list[list[float]]) -> tuple[float, ...]:
    return tuple(sum(column) / len(column) for column in zip(*rows, strict=True))
