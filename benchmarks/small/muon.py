"""Muon with matrices of one shape treated as one batch: a small model on a GPU would else wait for thousands of tiny kernels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of the quintic iteration (Jordan et al., https://kellerjordan.github.io/posts/muon)."""


class Muon:
    """Momentum whose update is made orthogonal, at AdamW's usual size of an update (Moonshot, arXiv:2502.16982)."""

    def __init__(self, matrices: Iterable[torch.Tensor], momentum: float = 0.95, weight_decay: float = 0.01) -> None:
        shapes: dict[tuple[int, ...], list[torch.Tensor]] = defaultdict(list)
        for matrix in matrices:
            shapes[tuple(matrix.shape)].append(matrix)
        self._groups = [(group, torch.zeros_like(torch.stack([matrix.detach() for matrix in group]))) for group in shapes.values()]
        self._momentum, self._weight_decay = momentum, weight_decay

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """One update from the matrices' gradients at this learning rate."""
        for group, momenta in self._groups:
            gradients = torch.stack([matrix.grad for matrix in group])  # type: ignore[misc]
            momenta.lerp_(gradients, 1 - self._momentum)
            update = orthogonalise(gradients.lerp(momenta, self._momentum))
            size = 0.2 * max(update.shape[-2:]) ** 0.5
            torch._foreach_mul_(group, 1 - rate * self._weight_decay)
            torch._foreach_add_(group, list(update.unbind()), alpha=-rate * size)


def orthogonalise(batch: torch.Tensor, iterations: int = 5) -> torch.Tensor:
    """The nearest orthogonal matrices of a batch (n, rows, columns), roughly: singular values end up near 1. In bfloat16 on a GPU."""
    a, b, c = NEWTON_SCHULZ
    tall = batch.shape[-2] > batch.shape[-1]
    x = (batch.mT if tall else batch).to(torch.bfloat16 if batch.is_cuda else torch.float32)
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(iterations):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.mT if tall else x).to(batch.dtype)
