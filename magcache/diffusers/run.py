"""One model's run over its part of a schedule: which step is being answered, and by which of its forwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from ..reports.run_report import RunReport
from ..runtime.family import Family
from ..runtime.forward import run_forward
from ..runtime.outputs import tensors_of
from ..runtime.residuals import StaleResidualError
from ..runtime.run_setup import RunSetup
from ..runtime.session import ComputedEvaluation, Evaluation, Session
from ..runtime.stack import Stack, stack_of
from ..runtime.stand_ins import StandIn
from .arguments import adapters_of, key_of, rows_of
from .parallel import is_divided, shard
from .schedule import Schedule
from .seat import bare

_MODEL = "model"
_CALL = "run"
"""All evaluations of a run may reuse each other's residuals, as far as their members are the same."""
_BRANCHES: Mapping[str | None, str] = {"pred_cond": "cond", "pred_uncond": "uncond"}
_BATCHED, _BATCHED_ROWS = "cond_uncond", ("uncond", "cond")
_IN_ORDER = ("cond", "uncond")


class Run:
    """The session of one model over `steps` of a schedule. A step is one evaluation, of one or several forwards."""

    def __init__(
        self, model: nn.Module, schedule: Schedule, steps: range, setup: RunSetup, session: Session, family: Family | None
    ) -> None:
        self.model = model
        self.schedule = schedule
        self.steps = steps
        self.setup = setup
        self.session = session
        self._root = nn.Module()
        self._call = _Call(model)
        self._root.add_module(_MODEL, self._call)
        found = bare(model)
        self.stack: Stack = stack_of(self._root, _MODEL, found, family, shard if is_divided(found) else None)
        self._step: int | None = None
        self._evaluation: Evaluation | None = None
        self._forwards: Counter[str | None] = Counter()

    @property
    def complete(self) -> bool:
        """Whether the last step was reached."""
        return self._step == self.steps[-1]

    def forward(
        self, step: int, context: str | None, guided: bool, call: Callable[..., Any], arguments: Mapping[str, Any],
        args: tuple[Any, ...], kwargs: Mapping[str, Any],
    ) -> Any:  # fmt: skip
        """Answer one forward of `step`. `arguments` are all of them by name, `context` what the pipeline says that it is for."""
        device = next(tensor.device for tensor in tensors_of([args, dict(kwargs)]))
        self._call.call = call
        evaluation = self._present(step, device)
        number = self._forwards[context]
        self._forwards[context] += 1
        branches = self._branches(context, number, guided)
        if rows_of(arguments) % len(branches):  # Guidance has ended on the way.
            branches = _IN_ORDER[:1]
        alike = context, number, adapters_of(self.stack.model)
        keys = [(*alike, branch, key_of(arguments, part, len(branches))) for part, branch in enumerate(branches)]

        def model(_: bool) -> Any:
            return getattr(self._root, _MODEL)(*map(_copied, args), **{name: _copied(value) for name, value in kwargs.items()})

        if refused := self.stack.family.refuses(arguments):
            self.session.note_withheld(evaluation)
        output = self._answer(evaluation, None if refused else keys, branches, device, model)
        if step == self.steps[-1]:
            self.session.mark_end()
        return output

    def _present(self, step: int, device: torch.device) -> Evaluation:
        """The evaluation of `step`, which begins with its first forward."""
        if step != self._step or self._evaluation is None:
            self._finish()
            self._step = step
            self._forwards.clear()
            self._evaluation = self.session.begin(_CALL, self.schedule.sigmas[step], device)
        return self._evaluation

    def _answer(
        self, evaluation: Evaluation, keys: Sequence[Hashable] | None, branches: Sequence[str], device: torch.device,
        model: Callable[[bool], Any],
    ) -> Any:  # fmt: skip
        """What the model answers. If it cannot follow the decision of this step, the rest of the step is computed."""
        try:
            return run_forward(evaluation, self.stack, keys, branches, device, model)
        except StaleResidualError:
            self._evaluation = self.session.recompute(evaluation, _CALL)
            return run_forward(self._evaluation, self.stack, keys, branches, device, model)

    def _branches(self, context: str | None, number: int, guided: bool) -> Sequence[str]:
        """The branches in the batch of a forward, in the order of its rows."""
        rows = self.stack.family.guided_rows
        if guided and (context == _BATCHED or (context is None and rows)):
            return rows or _BATCHED_ROWS
        if context == _BATCHED:
            return _IN_ORDER[:1]
        if context is None:
            return [_IN_ORDER[number] if number < len(_IN_ORDER) else f"branch{number}"]
        return [_BRANCHES.get(context, context)]

    def _finish(self) -> None:
        if isinstance(self._evaluation, ComputedEvaluation):
            self._evaluation.finish()
        self._evaluation = None

    def close(self) -> RunReport:
        """Free the residuals and return what happened. Waits for the device."""
        self._finish()
        return self.session.close()


class _Call(StandIn):
    """The model as a part of something, so that it can be exchanged like a block: calls what its seat would call."""

    call: Callable[..., Any]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.call(*args, **kwargs)


def _copied(value: Any) -> Any:
    """A copy of a dict or list: some models take out of them what they have used, and a step may run the model twice."""
    if isinstance(value, dict):
        return dict(value)
    return list(value) if isinstance(value, list) else value
