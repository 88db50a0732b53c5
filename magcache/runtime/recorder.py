"""From the residuals of one ordinary run to a magnitude curve."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch

from ..curves.curve import MagnitudeCurve, same_sigma
from ..errors import CalibrationError
from .residuals import Residual

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
    samples: list[torch.Tensor]


class Recorder:
    """Compares each residual with the one before, token by token, in fp32 (arXiv:2506.09045, Sec. 3.1).

    It keeps, on the device and for each member of the batch, the token norms of the last residual and a sample of at most 0.25 MB a
    step. Tokens of all streams count alike. Nothing waits for the device before `curve`.
    """

    def __init__(self) -> None:
        self._series: dict[tuple[str, Hashable], _Series] = {}

    def observe(self, sigma: float, branch: str, member: Hashable, residual: Residual) -> None:
        """Take in the residual of `member` at `sigma`. A sigma that does not fall is ignored."""
        series = self._series.get((branch, member))
        if series is not None and (sigma >= series.sigmas[-1] or same_sigma(sigma, series.sigmas[-1])):
            return
        sizes, sample = _sizes(residual), torch.cat([_sample(stream) for stream in residual])
        if series is None:
            self._series[branch, member] = _Series(sizes, [sigma], [sizes.new_ones(())], [sample])
            return
        series.ratios.append((sizes / (series.sizes + _TINY)).mean())
        series.sigmas.append(sigma)
        series.sizes = sizes
        series.samples.append(sample)

    def curve(self, name: str, family: str, provenance: Mapping[str, Any]) -> MagnitudeCurve:
        """The curve of the run, the mean over the members of each branch. Waits for the device.

        Members that did not take part in every step (other conditionings for a part of the run) are left out.
        Raises `CalibrationError` if fewer than three steps were seen.
        """
        longest = self.sigmas
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
            ratios={branch: _mean_ratios(group) for branch, group in branches.items()},
            products=_products({branch: group[0].samples for branch, group in branches.items()}),
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


def _products(samples: Mapping[str, list[torch.Tensor]]) -> dict[tuple[str, str], tuple[tuple[float, ...], ...]]:
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
