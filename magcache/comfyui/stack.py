"""Run a model's own forward with its block stack watched or left out.

Only entries of `_modules` are exchanged, for the time of one forward: that is what the forward looks up, and what torch.compile's
guards honour.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from ..session import StaleResidualError
from .families import Family


class _Capture:
    """What one watched forward has shown."""

    def __init__(self) -> None:
        self.first: torch.Tensor | None = None
        self.residual: torch.Tensor | None = None
        self.count = 0

    def clear(self) -> None:
        self.first, self.residual, self.count = None, None, 0


class _Stand(nn.Module):
    """Stands in for `real` without owning it: parameters, hooks and state dict stay where they are."""

    def __init__(self, real: nn.Module) -> None:
        super().__init__()
        self.__dict__["real"] = real


class _FirstBlock(_Stand):
    """Notes the image tokens that enter the stack. A copy: several models go on to change them in place."""

    def __init__(self, real: nn.Module, capture: _Capture, name: str, position: int) -> None:
        super().__init__(real)
        self.capture, self.name, self.position = capture, name, position

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        tokens = kwargs[self.name] if self.name in kwargs else args[self.position]
        self.capture.first = tokens.clone()
        return self.real(*args, **kwargs)


class _Tail(_Stand):
    """Notes how the stack changed the image tokens. Tokens that were dropped on the way stood in front."""

    def __init__(self, real: nn.Module, capture: _Capture) -> None:
        super().__init__(real)
        self.capture = capture

    def forward(self, tokens: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        first = self.capture.first
        self.capture.count += 1
        if first is not None and first.shape[2:] == tokens.shape[2:] and first.shape[1] >= tokens.shape[1]:
            self.capture.residual = tokens - first[:, first.shape[1] - tokens.shape[1] :]
        return self.real(tokens, *args, **kwargs)


class _AddingTail(_Stand):
    """Puts the residual of an earlier step in place of the stack."""

    def __init__(self, real: nn.Module) -> None:
        super().__init__(real)
        self.residual: torch.Tensor | None = None

    def forward(self, tokens: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if self.residual is None or self.residual.shape != tokens.shape or self.residual.dtype != tokens.dtype:
            raise StaleResidualError("the residual does not fit the tokens of this step")
        return self.real(tokens + self.residual, *args, **kwargs)


class BlockStack:
    """The block stack of one diffusion model, for the time of one run."""

    def __init__(self, model: nn.Module, family: Family) -> None:
        self._model = model
        self._first_list = next(name for name in family.blocks if len(_child(model, name)))
        self._capture = _Capture()
        self._first_block = _FirstBlock(_child(_child(model, self._first_list), "0"), self._capture, family.hidden, family.position)
        tails = [name for name in family.tails if name in model._modules]
        self._watching = {name: _Tail(_child(model, name), self._capture) for name in tails}
        self._adding = {name: _AddingTail(_child(model, name)) for name in tails}
        self._empty = {name: nn.ModuleList() for name in family.blocks}

    @contextmanager
    def watched(self) -> Iterator[_Capture]:
        """Within: the forward runs in full and its residual is noted."""
        capture = self._capture
        capture.clear()
        blocks = _child(self._model, self._first_list)
        # Whatever stands there now, such as a block that was compiled on its own for this forward.
        self._first_block.__dict__["real"] = _child(blocks, "0")
        try:
            with _swapped(blocks, {"0": self._first_block}), _swapped(self._model, self._watching):
                yield capture
        finally:
            capture.first = None

    @contextmanager
    def skipped(self, residual: torch.Tensor) -> Iterator[None]:
        """Within: the forward runs without its blocks, `residual` in their place. It may raise `StaleResidualError`."""
        for tail in self._adding.values():
            tail.residual = residual
        try:
            with _swapped(self._model, {**self._empty, **self._adding}):
                yield
        finally:
            for tail in self._adding.values():
                tail.residual = None


def _child(module: nn.Module, name: str) -> Any:
    return module._modules[name]


@contextmanager
def _swapped(module: nn.Module, stand_ins: dict[str, Any]) -> Iterator[None]:
    before = {name: module._modules[name] for name in stand_ins}
    module._modules.update(stand_ins)
    try:
        yield
    finally:
        module._modules.update(before)
