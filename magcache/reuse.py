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
    whole = parts[0].whole
    place = 0
    for part in parts:
        if part.whole is not whole or part.start != place:
            return torch.cat([each.rows_only.to(device) for each in parts])
        place += part.rows
    return (whole if place == whole.shape[0] else whole[:place]).to(device)


def combine(residuals: Sequence[tuple[torch.Tensor, float]]) -> torch.Tensor:
    """The weighted sum of residuals. A single one of weight 1 is not touched, so that held reuse is exact."""
    (first, weight), *rest = residuals
    total = first if weight == 1 else first * weight
    for residual, share in rest:
        total = torch.add(total, residual, alpha=share)
    return total
