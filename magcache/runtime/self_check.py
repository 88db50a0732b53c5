"""Whether the description of a model holds, found out once a run by one forward without its blocks.

A skip with the residual just recorded must hand the tail what the blocks handed it. That is so if the tail, without the residual, gets
the very tokens that entered the first block. (Right descriptions of real models differ by at most 0.6 units of rounding, wrong ones by 5
or more.)
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

_UNITS_OF_ROUNDING = 2.0


class Verdict:
    """Whether a check held: a tensor with a truth value, which is read when it is needed. A GPU is not waited for until then."""

    def __init__(self, holds: torch.Tensor) -> None:
        self._done: torch.cuda.Event | None = None
        self._holds = holds
        if holds.device.type == "cuda":
            self._holds = torch.empty_like(holds, device="cpu", pin_memory=True).copy_(holds, non_blocking=True)
            self._done = torch.cuda.Event()
            self._done.record()

    def __bool__(self) -> bool:
        if self._done is not None:
            self._done.synchronize()  # pyright: ignore[reportUnknownMemberType]
        holds = self._holds if self._holds.device.type == "cpu" else self._holds.cpu()
        return bool(holds.numpy())


def same_tokens(pairs: Sequence[tuple[torch.Tensor, torch.Tensor] | None], device: torch.device) -> torch.Tensor:
    """Whether both tensors of each pair are equal but for rounding, as a tensor. None stands for a pair that does not fit together."""
    found = [pair for pair in pairs if pair is not None and pair[0].numel()]  # A video without sound has a stream without tokens.
    if None in pairs or not found:
        return torch.tensor(None not in pairs, device=device)
    eps = max(torch.finfo(tensor.dtype).eps for pair in found for tensor in pair)
    units = [(one - other).abs().max() / (one.abs().max() + other.abs().max()).clamp_min(1e-30) for one, other in found]
    return torch.stack([unit.float() for unit in units]).max() <= _UNITS_OF_ROUNDING * eps


def same_output(one: Sequence[torch.Tensor], other: Sequence[torch.Tensor], dtype: torch.dtype) -> torch.Tensor:
    """Whether two outputs of a model that computes in `dtype` are equal but for what rounding grows to on its way, as a tensor."""
    pairs = list(zip(one, other, strict=True))
    apart = torch.stack([(first - second).float().square().sum() for first, second in pairs]).sum()
    size = torch.stack([first.float().square().sum() for first, _ in pairs]).sum()
    return apart <= 0.25 * torch.finfo(dtype).eps * size
