"""How tiny random models of diffusers are built and called. The files `zoo_….py` have them; `zoo.EVERY` has them all."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import diffusers
import pytest
import torch
from torch import nn
from torch.utils._pytree import tree_leaves, tree_map


@dataclass(frozen=True)
class Case:
    """A model and what its pipeline calls it with."""

    build: Callable[[], nn.Module]
    """Makes the model, with whatever weights."""
    call: Callable[[int], dict[str, Any]]
    """Arguments of a forward, by name, for a seed."""
    dtype: torch.dtype = torch.float32
    """Type of the weights and of the arguments that are of type float32."""
    size: float = 0.15
    """Standard deviation of the weights: large enough that the blocks are seen in the output."""
    found: bool = True
    """Whether watching one forward must suffice to describe the model, without its family."""

    @cached_property
    def model(self) -> nn.Module:
        """The model with random weights, made once."""
        model = randomised(self.build(), self.size)
        return model if self.dtype == torch.float32 else model.to(self.dtype)

    @cached_property
    def plain(self) -> list[torch.Tensor]:
        """What the model returns for seed 0, computed once."""
        return self()

    def arguments(self, seed: int = 0) -> dict[str, Any]:
        """Arguments of a forward of `model`."""
        given = tree_map(self._typed, self.call(seed))
        known = inspect.signature(self.model.forward).parameters
        return {"return_dict": False, **given} if "return_dict" in known else given

    def __call__(self, seed: int = 0, **more: Any) -> list[torch.Tensor]:
        """What a forward returns."""
        with torch.no_grad():
            return outputs(self.model(**{**self.arguments(seed), **more}))

    def _typed(self, value: Any) -> Any:
        return value.to(self.dtype) if isinstance(value, torch.Tensor) and value.dtype == torch.float32 else value


def built(name: str, **config: Any) -> nn.Module:
    """A model of the class `name` of diffusers. Skips the test if this release lacks it."""
    kind = getattr(diffusers, name, None) or getattr(diffusers.models.transformers, name, None)
    if kind is None:
        pytest.skip(f"diffusers {diffusers.__version__} has no {name}")
    return kind(**config)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1000 * seed + sum(shape)))


def randomised(model: nn.Module, size: float = 0.15, seed: int = 1) -> nn.Module:
    """`model` with random weights, for evaluation."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        if parameter.is_floating_point():
            parameter.data = torch.randn(parameter.shape, generator=generator) * size
        parameter.requires_grad_(False)
    return model.eval()


def outputs(result: Any) -> list[torch.Tensor]:
    """All tensors that a forward returns, whatever holds them."""
    return [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
