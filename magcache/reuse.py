"""How stored residuals are put back: as a weighted sum of those of one or two computed steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Stored:
    """Rows `start` to `start + rows` of a residual (rows, tokens, …, channels) that was recorded in one forward."""

    whole: torch.Tensor
    start: int
    rows: int

    @property
    def rows_only(self) -> torch.Tensor:
        return self.whole[self.start : self.start + self.rows]


def assemble(parts: Sequence[Stored], device: torch.device) -> torch.Tensor:
    """One residual on `device` out of the parts of a batch, in their order. Not copied when the parts are all of one recording."""
    whole, place = parts[0].whole, 0
    soon = device.type == "cuda"  # Elsewhere what is copied without waiting may be read too early.
    for part in parts:
        if part.whole is not whole or part.start != place:
            return torch.cat([each.rows_only.to(device, non_blocking=soon) for each in parts])
        place += part.rows
    return (whole if place == whole.shape[0] else whole[:place]).to(device, non_blocking=soon)


def offloaded(residual: torch.Tensor) -> torch.Tensor:
    """`residual` in the memory of the CPU.

    From CUDA it goes into pinned memory without waiting; `assemble` copies it back in the same stream, which keeps the order.
    """
    if residual.device.type != "cuda":
        return residual.to("cpu")
    kept = torch.empty_like(residual, device="cpu", pin_memory=True)
    return kept.copy_(residual, non_blocking=True)


def combine(residuals: Sequence[tuple[torch.Tensor, float]]) -> torch.Tensor:
    """The weighted sum of residuals. A single one of weight 1 is not touched, so that held reuse is exact."""
    (first, weight), *rest = residuals
    total = first if weight == 1 else first * weight
    for residual, share in rest:
        total = torch.add(total, residual, alpha=share)
    return total
