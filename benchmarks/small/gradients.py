"""The gradients of one batch of rectified flow, kernel by kernel or replayed as one CUDA graph."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from benchmarks.small.models import flux_velocity


class Task(NamedTuple):
    """What a batch asks of the model."""

    noisy: torch.Tensor
    sigma: torch.Tensor
    tokens: torch.Tensor
    pooled: torch.Tensor
    velocity: torch.Tensor
    """The right answer: noise minus picture."""


def learn(model: nn.Module, task: Task) -> torch.Tensor:
    """Gradients of one batch; returns the loss."""
    with torch.autocast(task.sigma.device.type, torch.bfloat16, enabled=task.sigma.is_cuda):
        answer = flux_velocity(model, task.noisy, task.sigma, {"tokens": task.tokens, "pooled": task.pooled})
    loss = nn.functional.mse_loss(answer.float(), task.velocity)
    model.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    return loss.detach()


class GraphedLearn:
    """`learn` as one CUDA graph: a processor takes several times as long to start the kernels as the GPU to run them."""

    def __init__(self) -> None:
        self._graph = torch.cuda.CUDAGraph()
        self._task: Task | None = None
        self._loss = torch.empty(0)

    def __call__(self, model: nn.Module, task: Task) -> torch.Tensor:
        if self._task is None:
            self._capture(model, task)
        torch._foreach_copy_(list(self._task), list(task))  # type: ignore[arg-type]
        self._graph.replay()
        return self._loss

    def _capture(self, model: nn.Module, task: Task) -> None:
        """Records the kernels after three runs aside, in which everything is compiled and allocated."""
        self._task = Task(*(part.clone() for part in task))
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(3):
                learn(model, self._task)
        torch.cuda.current_stream().wait_stream(aside)
        model.zero_grad(set_to_none=True)
        with torch.cuda.graph(self._graph):
            self._loss = learn(model, self._task)
