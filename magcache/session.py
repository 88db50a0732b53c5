"""One sampling run: it owns the residuals, answers compute-or-reuse, and ends with the run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch

from .calibration import Recorder
from .plan import Plan, Recipe
from .report import Event, RunReport
from .reuse import Stored, assemble, combine, offloaded
from .timing import Stopwatch

CacheDevice = Literal["auto", "device", "cpu"]
_FREE_MEMORY_SHARE = 0.25
"""`auto` moves residuals to the CPU when they would take more of the free device memory than this."""


class StaleResidualError(RuntimeError):
    """A residual that was promised cannot be used. The host catches it and computes the whole evaluation."""


@dataclass(slots=True)
class _Record:
    """The residuals of the last evaluation that was computed in a step with one composition of conditionings."""

    sigma: float
    step: int
    residuals: dict[Hashable, Stored] = field(default_factory=dict[Hashable, Stored])
    complete: bool = False


Draws = tuple[tuple[_Record, float], ...]
"""Records and the weight of each one's residual."""


@dataclass(slots=True)
class Evaluation:
    """One evaluation of the model; all its forwards follow one decision."""

    session: Session
    record: _Record | None = None
    """Where its residuals go if it is computed; None if no step will need them."""
    sources: Draws = ()
    """Whose residuals it reuses, and how much of each; empty if it is computed."""
    watched: bool = False
    """Whether it is computed with its residuals noted."""
    recorder: Recorder | None = None
    expected: Draws = ()
    """What its residual was expected to be, if it is computed and corrects the gap before it; else empty."""
    gain: float = 0.0
    """How much it adds to what it finds of what it finds beyond the expected."""
    _seen: dict[Hashable, int] = field(default_factory=dict[Hashable, int])
    _missed: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def reuse(self) -> bool:
        return bool(self.sources)

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
        return _drawn(self.sources, keys, device)

    def expect(self, keys: Sequence[Hashable], device: torch.device) -> torch.Tensor:
        """The residual that the gap before led to expect of a batch. Raises `StaleResidualError` when that is not known.

        What no later step will need of it is let go.
        """
        residual = _drawn(self.expected, keys, device)
        for record, _ in self.expected:
            if not self.session.outlives(record.step):
                for key in keys:
                    del record.residuals[key]
        return residual

    def store(self, keys: Sequence[Hashable], branches: Sequence[str], residual: torch.Tensor | None) -> None:
        """Keep the residual (rows, …) of a batch whose rows divide evenly among `keys`. None: it could not be seen."""
        if self.record is None:
            return
        if residual is None or residual.shape[0] % len(keys):
            self._missed = True
            return
        rows = residual.shape[0] // len(keys)
        if self.recorder:
            for key, branch, part in zip(keys, branches, torch.split(residual, rows), strict=True):
                self.recorder.observe(self.record.sigma, branch, key, part)
            return
        kept = self.session.keep(residual)
        with self._lock:
            for index, key in enumerate(keys):
                self.record.residuals[key] = Stored(kept, index * rows, rows)

    def finish(self) -> None:
        """The evaluation ran to its end: what it recorded may be reused."""
        if self.record:
            self.record.complete = bool(self.record.residuals) and not self._missed
            self.session.measure()


def _found(recipe: Recipe, usable: dict[int, _Record]) -> Draws:
    """The records of a recipe; none if one is missing."""
    return tuple((usable[source], weight) for source, weight in recipe) if all(source in usable for source, _ in recipe) else ()


def _drawn(draws: Draws, keys: Sequence[Hashable], device: torch.device) -> torch.Tensor:
    """The residual of a batch out of records. Raises `StaleResidualError` when a part of it was never recorded."""
    if not draws or any(key not in record.residuals for record, _ in draws for key in keys):
        raise StaleResidualError("a forward of this evaluation was not recorded")
    return combine([(assemble([record.residuals[key] for key in keys], device), weight) for record, weight in draws])


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
        self._last_uses = plan.last_uses()
        self._curve = curve
        self._cache_device = cache_device
        self._free_memory = free_memory
        self._recorder = recorder
        self._offload: bool | None = None
        self._records: dict[Hashable, dict[int, _Record]] = {}
        self._events: list[Event] = []
        self._stopwatch: Stopwatch | None = None
        self._peak_bytes = 0
        self._gaps: dict[Hashable, list[int]] = {}
        """Steps that were reused since the last computed one."""

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
            self._forget_before(step)
        sources = self._sources(call, step, sigma) if step is not None and planned else ()
        self._events.append(Event(sigma, step, planned, bool(sources)))
        if step is None or not sources:
            return self._computed(call, sigma, step)
        self._gaps.setdefault(call, []).append(step)
        return Evaluation(self, sources=sources)

    def _usable(self, call: Hashable, sigma: float) -> dict[int, _Record]:
        """What was recorded in full for `call` and not at a lower sigma, by step."""
        return {record.step: record for record in self._records.get(call, {}).values() if record.complete and sigma <= record.sigma}

    def _sources(self, call: Hashable, step: int, sigma: float) -> Draws:
        """The records that a reused step draws on, as planned or fresher; none if that would not be safe."""
        usable = self._usable(call, sigma)
        newest = max(usable, default=-1)
        if newest > self.plan.source(step):  # Computed though it was to be reused: the residual is fresher than planned.
            return ((usable[newest], 1.0),)
        return _found(self.plan.recipe(step), usable)

    def _correction(self, call: Hashable, step: int | None, sigma: float) -> tuple[Draws, float]:
        """What a computed step is measured against to correct the gap before it, and the gain; nothing unless that went as planned."""
        gap = self._gaps.pop(call, [])
        correction = None if step is None else self.plan.correction(step)
        if step is None or correction is None or gap != list(range(self.plan.source(step - 1) + 1, step)):
            return (), 0.0
        return _found(correction.expected, self._usable(call, sigma)), correction.gain

    def recompute(self, call: Hashable) -> Evaluation:
        """The evaluation just begun cannot reuse after all: compute it."""
        last = self._events[-1]
        self._events[-1] = Event(last.sigma, last.step, last.planned, False)
        return self._computed(call, last.sigma, last.step)

    def _forget_before(self, step: int) -> None:
        """Drop what neither this step nor a later one can use, such as windows that have moved on."""
        for call, records in list(self._records.items()):
            for old in [old for old in records if old < step and (old < 0 or self._last_uses[old] < step)]:
                del records[old]
            if not records:
                del self._records[call]

    def _computed(self, call: Hashable, sigma: float, step: int | None) -> Evaluation:
        expected, gain = self._correction(call, step, sigma)
        evaluation = Evaluation(self, recorder=self._recorder, expected=expected, gain=gain)
        if self._recorder is None and (step is None or not self.plan.needs(step)):
            # Watched all the same: a compiled model then has two forms, not a third for steps that nobody draws on.
            evaluation.watched = any(self.plan.reused)
            return evaluation
        record = _Record(sigma, -1 if step is None else step)
        self._records.setdefault(call, {})[record.step] = record
        evaluation.record, evaluation.watched = record, True
        return evaluation

    def outlives(self, step: int) -> bool:
        """Whether a step after the present one may draw on the residual of `step`."""
        present = self._events[-1].step
        return present is None or self._last_uses[step] > present

    def note_correction(self) -> None:
        """The present evaluation corrected the gap before it."""
        self._events[-1] = replace(self._events[-1], corrected=True)

    def keep(self, residual: torch.Tensor) -> torch.Tensor:
        """`residual` where this run keeps residuals."""
        if self._offload is None:
            self._offload = self._cache_device == "cpu" or (self._cache_device == "auto" and self._crowds(residual))
        return offloaded(residual) if self._offload else residual

    def _crowds(self, residual: torch.Tensor) -> bool:
        if residual.device.type == "cpu" or self._free_memory is None:
            return False
        return residual.nbytes > _FREE_MEMORY_SHARE * self._free_memory(residual.device)

    def measure(self) -> None:
        """Take note of the memory that residuals take now."""
        records = (record for records in self._records.values() for record in records.values())
        wholes = {id(part.whole): part.whole.nbytes for record in records for part in record.residuals.values()}
        self._peak_bytes = max(self._peak_bytes, sum(wholes.values()))

    def so_far(self) -> RunReport:
        """What has happened until now, with the times that are known without waiting for the device."""
        seconds = self._stopwatch.seconds_so_far() if self._stopwatch else []
        return RunReport.of(self._curve, self.plan, self._events, seconds, self._peak_bytes)

    def close(self) -> RunReport:
        """Free every residual and tell what happened."""
        self._records.clear()
        seconds: list[float] = []
        if self._stopwatch:
            self._stopwatch.mark()
            seconds = self._stopwatch.seconds()
        return RunReport.of(self._curve, self.plan, self._events, seconds, self._peak_bytes)
