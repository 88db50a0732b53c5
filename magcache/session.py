"""One sampling run: it owns the residuals, answers compute-or-reuse, and ends with the run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch

from .calibration import Recorder
from .report import Event, RunReport
from .reuse import Stored, assemble
from .schedule import Plan
from .timing import Stopwatch

CacheDevice = Literal["auto", "device", "cpu"]
_FREE_MEMORY_SHARE = 0.25
"""`auto` moves residuals to the CPU when they would take more of the free device memory than this."""


class StaleResidualError(RuntimeError):
    """A residual that was promised cannot be used. The host catches it and computes the whole evaluation."""


@dataclass(slots=True)
class _Record:
    """The residuals of the last computed evaluation with one composition of conditionings."""

    sigma: float
    step: int
    residuals: dict[Hashable, Stored] = field(default_factory=dict)
    complete: bool = False


@dataclass(slots=True)
class Evaluation:
    """One evaluation of the model; all its forwards follow one decision."""

    session: Session
    reuse: bool
    record: _Record | None
    """Where its residuals come from or go to; None if no step will need them."""
    recorder: Recorder | None = None
    _seen: dict[Hashable, int] = field(default_factory=dict)
    _missed: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def keys(self, members: Sequence[Hashable]) -> list[Hashable]:
        """A key for each member of a batch; a member that comes again in this evaluation gets another."""
        with self._lock:
            keys: list[Hashable] = []
            for member in members:
                count = self._seen.get(member, 0)
                self._seen[member] = count + 1
                keys.append((member, count))
            return keys

    def recall(self, keys: Sequence[Hashable], device: torch.device) -> torch.Tensor:
        """The residual of a batch. Raises `StaleResidualError` when a part of it was never recorded."""
        residuals = self.record.residuals if self.record else {}
        if any(key not in residuals for key in keys):
            raise StaleResidualError("a forward of this evaluation was not recorded")
        return assemble([residuals[key] for key in keys], device)

    def store(self, keys: Sequence[Hashable], branches: Sequence[str], residual: torch.Tensor | None) -> None:
        """Keep the residual (rows, …) of a batch whose rows divide evenly among `keys`. None: it could not be seen."""
        if self.record is None:
            return
        if residual is None or residual.shape[0] % len(keys):
            self._missed = True
            return
        rows = residual.shape[0] // len(keys)
        if self.recorder:
            for key, branch, part in zip(keys, branches, residual.split(rows), strict=True):
                self.recorder.observe(self.record.sigma, branch, key, part)
            return
        kept = self.session.keep(residual)
        with self._lock:
            for index, key in enumerate(keys):
                self.record.residuals[key] = Stored(kept, index * rows, rows)

    def finish(self) -> None:
        """The evaluation ran to its end: what it recorded may be reused."""
        if self.record and not self.reuse:
            self.record.complete = bool(self.record.residuals) and not self._missed
            self.session.measure()


class Session:
    """Residuals and decisions of one run over `plan`.

    `free_memory` tells the free bytes of a device; `auto` needs it to choose where residuals stay. With a `recorder` nothing is
    reused and every residual goes to it.
    """

    def __init__(
        self,
        plan: Plan,
        curve: str,
        *,
        cache_device: CacheDevice = "auto",
        free_memory: Callable[[torch.device], int] | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        self.plan = plan
        self._curve = curve
        self._cache_device = cache_device
        self._free_memory = free_memory
        self._recorder = recorder
        self._records: dict[Hashable, _Record] = {}
        self._events: list[Event] = []
        self._stopwatch: Stopwatch | None = None
        self._peak_bytes = 0

    def begin(self, call: Hashable, sigma: float, device: torch.device) -> Evaluation:
        """Decide an evaluation at `sigma`. `call` tells apart evaluations whose residuals must not be mixed.

        Reuse needs that the plan says so, and that this very composition was recorded in full no longer ago than the plan
        assumes and at a sigma that is not lower.
        """
        self._stopwatch = self._stopwatch or Stopwatch(device)
        self._stopwatch.mark()
        step = self.plan.step_at(sigma)
        planned = step is not None and self.plan.reused[step]
        if step is not None:
            self._forget_before(self.plan.source(step))
        record = self._records.get(call)
        safe = planned and record is not None and record.complete and sigma <= record.sigma
        self._events.append(Event(sigma, step, planned, safe))
        if safe:
            return Evaluation(self, True, record)
        return self._computed(call, sigma, step)

    def recompute(self, call: Hashable) -> Evaluation:
        """The evaluation just begun cannot reuse after all: compute it."""
        last = self._events[-1]
        self._events[-1] = Event(last.sigma, last.step, last.planned, False)
        return self._computed(call, last.sigma, last.step)

    def _forget_before(self, step: int) -> None:
        """Drop what no later step can use, such as windows that have moved on."""
        for call in [call for call, record in self._records.items() if record.step < step]:
            del self._records[call]

    def _computed(self, call: Hashable, sigma: float, step: int | None) -> Evaluation:
        self._records.pop(call, None)
        if self._recorder is None and (step is None or not self.plan.needs(step)):
            return Evaluation(self, False, None)
        record = self._records[call] = _Record(sigma, -1 if step is None else step)
        return Evaluation(self, False, record, self._recorder)

    def keep(self, residual: torch.Tensor) -> torch.Tensor:
        """`residual` where this run keeps residuals."""
        if self._cache_device == "cpu" or (self._cache_device == "auto" and self._crowds(residual)):
            return residual.to("cpu")
        return residual

    def _crowds(self, residual: torch.Tensor) -> bool:
        if residual.device.type == "cpu" or self._free_memory is None:
            return False
        return residual.nbytes > _FREE_MEMORY_SHARE * self._free_memory(residual.device)

    def measure(self) -> None:
        """Take note of the memory that residuals take now."""
        wholes = {id(part.whole): part.whole.nbytes for record in self._records.values() for part in record.residuals.values()}
        self._peak_bytes = max(self._peak_bytes, sum(wholes.values()))

    def close(self) -> RunReport:
        """Free every residual and tell what happened."""
        self._records.clear()
        seconds: list[float] = []
        if self._stopwatch:
            self._stopwatch.mark()
            seconds = self._stopwatch.seconds()
        return RunReport.of(self._curve, self.plan.steps, self._events, seconds, self._peak_bytes)
