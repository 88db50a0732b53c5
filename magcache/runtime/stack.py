"""What can be skipped of a model: its block stack, or its prediction as a whole. A host asks a stack for `watched` and `skipped`."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import nn

from ..reports.run_report import Reused
from .block_stack import BlockStack, Capture, Shard
from .discovery import described, unknown_family
from .family import Family
from .residuals import Residual, StaleResidualError
from .stand_ins import StandIn
from .whole_model import PredictionCapture, WholeModel, exchanged


class UnknownStack:
    """A model of an unknown class, `name` of `owner`, for the time of one run: its first watched forward shows what can be skipped."""

    compares_outputs = True
    """A description that is a guess must give the same output as well."""

    def __init__(self, owner: nn.Module, name: str, model: nn.Module, shard: Shard | None = None) -> None:
        self.model = model
        self._shard = shard
        self.family = unknown_family(model)
        self.found: BlockStack | WholeModel | None = None
        self.checked = False
        self._owner, self._name = owner, name

    @property
    def reuses(self) -> Reused:
        """What is reused."""
        return self.found.reuses if self.found else "blocks"

    @contextmanager
    def watched(self) -> Generator[Capture | PredictionCapture, None, None]:
        """Within: the model runs in full. The first time it is described, from what the capture shows as well."""
        if self.found is not None:
            with self.found.watched() as capture:
                yield capture
            return
        first = _FirstCapture(self)
        try:
            with exchanged(self._owner, self._name, _Describing(self._owner.get_submodule(self._name), first)):
                yield first
        finally:
            self._forget()

    def _forget(self) -> None:
        if isinstance(self.found, BlockStack):
            self.found.forget()

    def skipped(self, residual: Residual) -> AbstractContextManager[None]:
        """Within: the forward skips what was found. Raises `StaleResidualError` before anything was."""
        if self.found is None:
            raise StaleResidualError("the model was not watched yet")
        return self.found.skipped(residual)

    def met(self) -> list[tuple[torch.Tensor, torch.Tensor] | None]:
        """See `BlockStack.met`."""
        return self.found.met() if isinstance(self.found, BlockStack) else []

    def take(self, capture: PredictionCapture, forward: Callable[[], Any]) -> Any:
        """Run `forward` for the first time and find out what can be skipped."""
        output, description = described(self.model, forward)
        if description is None:
            capture.note(output)
            self.found, self.checked = WholeModel(self._owner, self._name, self.model, self.family, capture.form), True
        else:
            self.found = BlockStack(self.model, description.family, self._shard)
            capture.residual = self.found.take_in(description.first, description.last)
        return output


class _FirstCapture(PredictionCapture):
    """What the first forward of an unknown model has shown."""

    def __init__(self, stack: UnknownStack) -> None:
        super().__init__()
        self.stack = stack


class _Describing(StandIn):
    """Stands in for a model that is not described yet."""

    def __init__(self, real: nn.Module, capture: _FirstCapture) -> None:
        super().__init__(real)
        self.capture = capture

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if self.capture.stack.found is not None:  # Called again within one evaluation of the host.
            self.capture.residual = None
            return self.real(*args, **kwargs)
        return self.capture.stack.take(self.capture, lambda: self.real(*args, **kwargs))


Stack = BlockStack | WholeModel | UnknownStack


def stack_of(owner: nn.Module, name: str, model: nn.Module, family: Family | None, shard: Shard | None = None) -> Stack:
    """What can be skipped of `model`, which is `name` of `owner`, or was compiled to it. `family` is None if it is not known.

    `shard` is for a model whose first block divides the tokens among processes.
    """
    if family is None:
        return UnknownStack(owner, name, model, shard)
    return BlockStack(model, family, shard) if family.blocks else WholeModel(owner, name, model, family)
