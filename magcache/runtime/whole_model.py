"""Reuse of a model's prediction as a whole, for models without a stack of blocks, such as U-Nets."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from ..reports.run_report import Reused
from .family import Family, children
from .outputs import tensors_of
from .residuals import Residual, StaleResidualError
from .stand_ins import StandIn


class PredictionCapture:
    """What one watched forward of a whole model has shown."""

    skipped = False

    def __init__(self) -> None:
        self.residual: Residual | None = None
        """The prediction, channels last; None unless the model was called once and returned tensors."""
        self.form: pytree.TreeSpec | None = None
        """How the model puts them together."""
        self._calls = 0

    def note(self, output: object) -> None:
        self._calls += 1
        tensors = [tensor for tensor in tensors_of(output) if tensor.ndim > 1]
        # A copy of what a model returns: the host may change that in place.
        whole = self._calls == 1 and len(tensors) == len(pytree.tree_leaves(output))
        self.residual = tuple(tensor.movedim(1, -1).clone() for tensor in tensors) if whole and tensors else None
        self.form = pytree.tree_structure(output)


class WholeModel:
    """A model that is `name` of `owner`, for the time of one run. Its prediction takes the place of the residual."""

    reuses: Reused = "prediction"
    """What is reused."""

    def __init__(self, owner: nn.Module, name: str, model: nn.Module, family: Family, form: pytree.TreeSpec | None = None) -> None:
        self.model = model
        self.family = family
        self._owner = owner
        self._name = name
        self._form = form
        """How the model puts together what it predicts."""

    @contextmanager
    def watched(self) -> Generator[PredictionCapture, None, None]:
        """Within: the model runs, and the capture notes what it predicts."""
        capture = PredictionCapture()
        with exchanged(self._owner, self._name, _Watching(self._present, capture)):
            yield capture
        self._form = capture.form or self._form

    @contextmanager
    def skipped(self, residual: Residual) -> Generator[None, None, None]:
        """Within: the model does not run, and returns `residual`."""
        with exchanged(self._owner, self._name, _Answering(self._present, residual, self._form)):
            yield

    @property
    def _present(self) -> nn.Module:
        """The model, or what somebody compiled of it for this forward."""
        found = children(self._owner)[self._name]
        assert found is not None
        return found


@contextmanager
def exchanged(owner: nn.Module, name: str, stand_in: nn.Module) -> Generator[None, None, None]:
    """Within: `stand_in` is the module `name` of `owner`."""
    entries = children(owner)
    before = entries[name]
    entries[name] = stand_in
    try:
        yield
    finally:
        entries[name] = before


class _Watching(StandIn):
    def __init__(self, real: nn.Module, capture: PredictionCapture) -> None:
        super().__init__(real)
        self.capture = capture

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        output = self.real(*args, **kwargs)
        self.capture.note(output)
        return output


class _Answering(StandIn):
    def __init__(self, real: nn.Module, residual: Residual, form: pytree.TreeSpec | None) -> None:
        super().__init__(real)
        self.residual = residual
        self.form = form

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        parts = [part.movedim(-1, 1).clone(memory_format=torch.contiguous_format) for part in self.residual]
        if self.form is None or self.form.num_leaves != len(parts):
            raise StaleResidualError("the model returned something else when it was recorded")
        return pytree.tree_unflatten(parts, self.form)
