"""Residuals of the block stack: how they are kept, and put back as a weighted sum of those of one or two computed steps.

Nothing outside this file and the block stack depends on how many streams a residual has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

Residual = tuple[torch.Tensor, ...]
"""What the block stack added to its tokens: one tensor (rows, tokens, …, channels) a stream of the family. Rows are those of the batch."""


class StaleResidualError(RuntimeError):
    """A residual that was to be reused is missing or does not fit. The host catches this and computes the whole evaluation."""


@dataclass(frozen=True, slots=True)
class Stored:
    """Rows `start` to `start + rows` of a residual that was recorded in one forward."""

    whole: Residual
    start: int
    rows: int

    @property
    def own_rows(self) -> Residual:
        return tuple(stream[self.start : self.start + self.rows] for stream in self.whole)


def rows_of(residual: Residual) -> int:
    """Number of rows of its batch."""
    return residual[0].shape[0]


def bytes_of(residual: Residual) -> int:
    """Memory it takes."""
    return sum(stream.nbytes for stream in residual)


def split(residual: Residual, rows: int) -> list[Residual]:
    """Parts of `rows` rows each, in order."""
    return list(zip(*(torch.split(stream, rows) for stream in residual), strict=True))


def assemble(parts: Sequence[Stored], device: torch.device) -> Residual:
    """One residual on `device` out of the parts of a batch, in their order. Not copied if they are all of one recording, in its order."""
    whole, place = parts[0].whole, 0
    soon = device.type == "cuda"  # Elsewhere what is copied without waiting may be read too early.
    for part in parts:
        if part.whole is not whole or part.start != place:
            columns = zip(*(each.own_rows for each in parts), strict=True)
            return tuple(torch.cat([each.to(device, non_blocking=soon) for each in column]) for column in columns)
        place += part.rows
    return tuple((stream if place == stream.shape[0] else stream[:place]).to(device, non_blocking=soon) for stream in whole)


def offloaded(residual: Residual) -> Residual:
    """`residual` in the memory of the CPU.

    From CUDA it goes into pinned memory without waiting; `assemble` copies it back in the same stream, which keeps the order.
    """
    return tuple(_offloaded(stream) for stream in residual)


def combine(residuals: Sequence[tuple[Residual, tuple[float, ...]]]) -> Residual:
    """The weighted sum of residuals. The weights of one are those of its streams, or a single one for all of them."""
    streams = zip(*(residual for residual, _ in residuals), strict=True)
    return tuple(_sum(parts, [_weight(weights, place) for _, weights in residuals]) for place, parts in enumerate(streams))


def _weight(weights: tuple[float, ...], place: int) -> float:
    """That of the stream at `place`. A stream that was not planned for goes by the first one."""
    return weights[place] if place < len(weights) else weights[0]


def _sum(parts: Sequence[torch.Tensor], weights: Sequence[float]) -> torch.Tensor:
    """A single part of weight 1 is not touched, so that held reuse is exact."""
    (first, weight), *rest = [(part, weight) for part, weight in zip(parts, weights, strict=True) if weight] or [(parts[0], 0.0)]
    total = first if weight == 1 else first * weight
    for part, share in rest:
        total = torch.add(total, part, alpha=share)
    return total


def _offloaded(stream: torch.Tensor) -> torch.Tensor:
    if stream.device.type != "cuda":
        return stream.to("cpu")
    kept = torch.empty_like(stream, device="cpu", pin_memory=True)
    return kept.copy_(stream, non_blocking=True)
