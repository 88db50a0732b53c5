"""From the residuals of one ordinary run to a magnitude curve."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from .curve import MagnitudeCurve, same_sigma
from .errors import CalibrationError
from .json_values import shown

_TINY = 1e-8
_SAMPLE_TOKENS, _SAMPLE_VALUES = 1024, 65_536
"""Of every residual a fixed, even sample is kept for the errors of reuse: at most so many tokens and numbers (0.25 MB)."""
_MOST_RUNS = 1_000_000


@dataclass(slots=True)
class _Series:
    """What one member of the batch has shown so far: its last residual and the steps seen."""

    residual: torch.Tensor
    sigmas: list[float]
    ratios: list[float]
    spread: list[float]
    distance: list[float]
    samples: list[torch.Tensor]


class Recorder:
    """Compares each residual with the one before, token by token, in fp32 (arXiv:2506.09045, Sec. 3.1).

    It keeps one residual for each member of the batch, as reusing does, and on the CPU a sample of at most 0.25 MB a step.
    """

    def __init__(self) -> None:
        self._series: dict[tuple[str, Hashable], _Series] = {}

    def observe(self, sigma: float, branch: str, member: Hashable, residual: torch.Tensor) -> None:
        """Take in the residual (rows, tokens…, channels) of `member` at `sigma`. A sigma that does not fall is passed over."""
        series = self._series.get((branch, member))
        if series is None:
            self._series[branch, member] = _Series(residual, [sigma], [1.0], [0.0], [0.0], [_sample(residual)])
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
        series.samples.append(_sample(residual))

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
            products=_products({branch: group[0].samples for branch, group in branches.items()}),
            provenance=provenance,
        )


def averaged(earlier: MagnitudeCurve, new: MagnitudeCurve) -> MagnitudeCurve:
    """Both measurements in one curve; every run counts the same. `provenance["runs"]` keeps their number.

    Raises `CalibrationError` when they were not measured at the same sigmas or not with the same branches, or when that number is none.
    """
    same = len(earlier.sigmas) == len(new.sigmas) and all(map(same_sigma, earlier.sigmas, new.sigmas))
    if not same or set(earlier.ratios) != set(new.ratios) or set(earlier.products) != set(new.products):
        raise CalibrationError(
            f"The curve {earlier.name!r} was measured at {earlier.steps} other sigmas or other branches ({', '.join(earlier.ratios)}) than "
            f"this run ({new.steps} sigmas; {', '.join(new.ratios)}), so they cannot be averaged. Calibrate with the same steps, "
            "sampler, scheduler, shift and CFG, or under another name."
        )
    runs = earlier.provenance.get("runs", 1)
    if not isinstance(runs, int) or not 1 <= runs <= _MOST_RUNS:
        raise CalibrationError(
            f"The curve {earlier.name!r} says that it is the mean of {shown(runs)} runs; expected a whole number from 1 to {_MOST_RUNS:,}. "
            "Correct its provenance, or calibrate under another name."
        )

    def mean(row: Sequence[float], other: Sequence[float]) -> tuple[float, ...]:
        return tuple((runs * one + two) / (runs + 1) for one, two in zip(row, other, strict=True))

    return replace(
        new,
        ratios={branch: mean(earlier.ratios[branch], values) for branch, values in new.ratios.items()},
        spread={branch: mean(earlier.spread[branch], values) for branch, values in new.spread.items() if branch in earlier.spread},
        distance={branch: mean(earlier.distance[branch], values) for branch, values in new.distance.items() if branch in earlier.distance},
        products={pair: tuple(map(mean, earlier.products[pair], matrix)) for pair, matrix in new.products.items()},
        provenance={**new.provenance, "runs": runs + 1},
    )


def _size(tokens: torch.Tensor) -> torch.Tensor:
    return tokens.square().sum(dim=-1).sqrt()


def _mean(rows: list[list[float]]) -> tuple[float, ...]:
    return tuple(sum(column) / len(column) for column in zip(*rows, strict=True))


def _sample(residual: torch.Tensor) -> torch.Tensor:
    """An even choice of tokens and channels in fp32 on the CPU, the same one at every step."""
    tokens = residual.reshape(-1, residual.shape[-1])
    rows = min(tokens.shape[0], _SAMPLE_TOKENS)
    columns = min(tokens.shape[1], max(1, _SAMPLE_VALUES // rows))
    chosen = tokens[_even(tokens.shape[0], rows)][:, _even(tokens.shape[1], columns)]
    return chosen.float().cpu().flatten()


def _even(count: int, chosen: int) -> torch.Tensor:
    return torch.linspace(0, count - 1, chosen).round().long()


def _products(samples: Mapping[str, list[torch.Tensor]]) -> dict[tuple[str, str], tuple[tuple[float, ...], ...]]:
    """Inner products between the residuals of all steps, for the branches that guidance composes. In units of the first's mean square."""
    stacked = {branch: torch.stack(parts).double() for branch, parts in samples.items() if branch in ("cond", "uncond")}
    if "cond" not in stacked or len({tensor.shape for tensor in stacked.values()}) > 1:
        stacked.pop("uncond", None)
    unit = max((tensor.square().sum(dim=1).mean().item() for tensor in stacked.values()), default=1.0) or 1.0
    pairs = [(one, other) for one in sorted(stacked) for other in sorted(stacked) if one <= other]
    return {(one, other): _rows(stacked[one] @ stacked[other].T / unit) for one, other in pairs}


def _rows(matrix: torch.Tensor) -> tuple[tuple[float, ...], ...]:
    steps = range(matrix.shape[0])
    return tuple(tuple(float(f"{matrix[row, column].item():.10g}") for column in steps) for row in steps)
