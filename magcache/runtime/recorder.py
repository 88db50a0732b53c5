"""From the residuals of one ordinary run to a magnitude curve."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch

from ..curves.curve import MagnitudeCurve, same_sigma
from ..curves.products import in_stream
from ..errors import CalibrationError
from ..texts import counted
from .residuals import Residual

Products = dict[tuple[str, str], tuple[tuple[float, ...], ...]]
_TINY = 1e-8
_SAMPLE_TOKENS, _SAMPLE_VALUES = 1024, 65_536
"""Of every residual a fixed, even sample is kept for the inner products: at most this many tokens and numbers (0.25 MB)."""


@dataclass(slots=True)
class _Series:
    """What one member of the batch has shown so far."""

    sizes: torch.Tensor
    """‖r‖ of each token of its last residual."""
    sigmas: list[float]
    ratios: list[torch.Tensor]
    """γ of each step, as tensors on the device: reading them would wait for it."""
    samples: dict[str, list[torch.Tensor]]
    """By stream: those of each step."""


class Recorder:
    """Compares each residual with the one before, token by token, in fp32 (arXiv:2506.09045, Sec. 3.1).

    It keeps, on the device and for each member of the batch, the token norms of the last residual and a sample of at most 0.25 MB a
    step and stream. Magnitudes are those of the tokens of all streams alike; inner products are taken for each stream by itself.
    Nothing waits for the device before `curve`. `streams` are the names of the model's streams.
    """

    def __init__(self, streams: Sequence[str] = ()) -> None:
        self._streams = streams
        self._series: dict[tuple[str, Hashable], _Series] = {}

    def observe(self, sigma: float, branch: str, member: Hashable, residual: Residual) -> None:
        """Take in the residual of `member` at `sigma`. A sigma that does not fall is ignored."""
        series = self._series.get((branch, member))
        if series is not None and (sigma >= series.sigmas[-1] or same_sigma(sigma, series.sigmas[-1])):
            return
        samples = self._samples(residual)
        sizes = _sizes(residual)
        if series is None:
            ones = [sizes.new_ones(())]
            self._series[branch, member] = _Series(sizes, [sigma], ones, {name: [sample] for name, sample in samples.items()})
            return
        series.ratios.append((sizes / (series.sizes + _TINY)).mean())
        series.sigmas.append(sigma)
        series.sizes = sizes
        for name, sample in samples.items():
            series.samples[name].append(sample)

    def _samples(self, residual: Residual) -> dict[str, torch.Tensor]:
        """A sample of each stream that has tokens. The first of them needs no name: it stands for the model."""
        names = [*self._streams, *(f"stream{place}" for place in range(len(self._streams), len(residual)))]
        found = [(name, _sample(stream)) for name, stream in zip(names, residual, strict=False) if stream.numel()]
        return {name if place else "": sample for place, (name, sample) in enumerate(found)}

    def curve(self, name: str, family: str, provenance: Mapping[str, Any]) -> MagnitudeCurve:
        """The curve of the run, the mean over the members of each branch. Waits for the device.

        Members that did not take part in every step (other conditionings for a part of the run) are left out.
        Raises `CalibrationError` if fewer than three steps were seen.
        """
        longest = self.sigmas
        if len(longest) < 3:
            raise CalibrationError(
                counted(
                    len(longest),
                    "Calibration saw {count} step of the model; it needs at least 3. Run it with the sampler and about the number of "
                    "steps you use, without another cache node on the model.",
                    "Calibration saw {count} steps of the model; it needs at least 3. Run it with the sampler and about the number of "
                    "steps you use, without another cache node on the model.",
                )
            )
        branches: dict[str, list[_Series]] = defaultdict(list)
        for (branch, _), series in self._series.items():
            if series.sigmas == longest:
                branches[branch].append(series)
        return MagnitudeCurve(
            name=name,
            family=family,
            sigmas=tuple(longest),
            ratios={branch: _mean_ratios(group) for branch, group in branches.items()},
            products=_all_products({branch: group[0].samples for branch, group in branches.items()}),
            provenance=provenance,
        )

    @property
    def sigmas(self) -> list[float]:
        """The sigmas that were observed so far, falling."""
        return max((series.sigmas for series in self._series.values()), key=len, default=list[float]())


def _sizes(residual: Residual) -> torch.Tensor:
    return torch.cat([stream.float().square().sum(dim=-1).sqrt().flatten() for stream in residual])


def _mean_ratios(group: list[_Series]) -> tuple[float, ...]:
    rows = [_numbers(torch.stack(series.ratios)) for series in group]
    return tuple(sum(column) / len(column) for column in zip(*rows, strict=True))


def _sample(stream: torch.Tensor) -> torch.Tensor:
    """An even choice of tokens and channels in fp32, the same one at every step."""
    tokens = stream.reshape(-1, stream.shape[-1])
    rows = min(tokens.shape[0], _SAMPLE_TOKENS)
    columns = min(tokens.shape[1], max(1, _SAMPLE_VALUES // rows))
    chosen = tokens[_even(tokens.shape[0], rows, stream.device)][:, _even(tokens.shape[1], columns, stream.device)]
    return chosen.float().flatten()


def _even(count: int, chosen: int, device: torch.device) -> torch.Tensor:
    return torch.linspace(0, count - 1, chosen, device=device).round().long()


def _all_products(samples: Mapping[str, Mapping[str, list[torch.Tensor]]]) -> Products:
    """Those of every stream; the names of further streams stand in front of their branches."""
    streams = dict.fromkeys(name for parts in samples.values() for name in parts)
    found: Products = {}
    for name in streams:
        own = _products({branch: parts[name] for branch, parts in samples.items() if name in parts})
        found.update({(in_stream(name, one), in_stream(name, other)): matrix for (one, other), matrix in own.items()})
    return found


def _products(samples: Mapping[str, list[torch.Tensor]]) -> Products:
    """Inner products between the residuals of all steps, for the branches that guidance composes.

    In units of the mean square of a residual, that of the larger branch.
    """
    stacked = {branch: torch.stack(parts).cpu().double() for branch, parts in samples.items() if branch in ("cond", "uncond")}
    if "cond" not in stacked or len({tensor.shape for tensor in stacked.values()}) > 1:
        stacked.pop("uncond", None)
    unit = max((tensor.square().sum(dim=1).mean().item() for tensor in stacked.values()), default=1.0) or 1.0
    pairs = [(one, other) for one in sorted(stacked) for other in sorted(stacked) if one <= other]
    return {(one, other): _rows(stacked[one] @ stacked[other].T / unit) for one, other in pairs}


def _rows(matrix: torch.Tensor) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(f"{value:.10g}") for value in _numbers(row)) for row in matrix)


def _numbers(vector: torch.Tensor) -> list[float]:
    return cast("list[float]", vector.tolist())  # pyright: ignore[reportUnknownMemberType]
