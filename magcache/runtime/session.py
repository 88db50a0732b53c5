"""One sampling run: it owns the residuals, answers compute or reuse, and ends with the run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace

import torch

from ..planning.plan import Plan
from ..reports.run_report import Disturbance, Event, Reused, RunLabel, RunReport
from ..settings import CacheDevice
from .recorder import Recorder
from .records import Members, Record, Sources, drawn, sources_of
from .residuals import Residual, StaleResidualError, Stored, bytes_of, offloaded, rows_of, split
from .self_check import Verdict
from .stopwatch import Stopwatch

_FREE_MEMORY_SHARE = 0.25
"""`auto` moves residuals to the CPU if one takes more of the free device memory than this."""
_FORBIDDING = frozenset({Disturbance.OTHER_CACHE, Disturbance.NOT_REPRODUCED})
"""What forbids any reuse in a run."""


@dataclass(slots=True)
class ReusedEvaluation:
    """One evaluation of the model whose forwards all skip the block stack."""

    index: int
    """Its place among the run's evaluations."""
    sources: Sources
    _members: Members = field(default_factory=Members)

    def recall(self, keys: Sequence[Hashable], device: torch.device) -> Residual:
        """The residual of a batch with these members. Raises `StaleResidualError` if a part of it was never recorded."""
        if not self._members.claim(keys):
            raise StaleResidualError("a member of the batch came twice in this evaluation")
        return drawn(self.sources, keys, device)


@dataclass(slots=True)
class ComputedEvaluation:
    """One evaluation of the model whose forwards all run the block stack."""

    session: Session
    index: int
    """Its place among the run's evaluations."""
    sigma: float
    watched: bool
    """Whether its residuals are noted."""
    record: Record | None = None
    """Where its residuals go; None if no step needs them."""
    expected: Sources = ()
    """What predicts its residual if it corrects the gap before it; else empty."""
    gain: float = 0.0
    """Correction gain: output = result + gain · (result − expected)."""
    missed: bool = False
    """Whether a forward's residual could not be seen, so that none of this evaluation may be reused."""
    _members: Members = field(default_factory=Members)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def expect(self, keys: Sequence[Hashable], device: torch.device) -> Residual:
        """Predicted residual of a batch, as if this step had been reused as well. Frees the residuals that no later step uses.

        Raises `StaleResidualError` if a part of it was never recorded.
        """
        residual = drawn(self.expected, keys, device)
        for record, _ in self.expected:
            if not self.session.outlives(record.step):
                with self._lock:
                    for key in keys:
                        del record.residuals[key]
        return residual

    def store(self, keys: Sequence[Hashable], branches: Sequence[str], residual: Residual | None) -> None:
        """Keep the residual of a batch whose rows divide evenly among `keys`; None if it could not be seen."""
        if self.missed or residual is None or rows_of(residual) % len(keys) or not self._members.claim(keys):
            self.missed = True
            return
        rows = rows_of(residual) // len(keys)
        with self._lock:
            if self.session.recorder:
                for key, branch, part in zip(keys, branches, split(residual, rows), strict=True):
                    self.session.recorder.observe(self.sigma, branch, key, part)
            if self.record:
                kept = self.session.keep(residual)
                for place, key in enumerate(keys):
                    self.record.residuals[key] = Stored(kept, place * rows, rows)

    def finish(self) -> None:
        """The evaluation ran to its end: what it recorded may be reused."""
        if self.record:
            self.record.complete = bool(self.record.residuals) and not self.missed
            self.session.measure_memory()


Evaluation = ReusedEvaluation | ComputedEvaluation


class Session:
    """Residuals and decisions of one run over `plan`.

    `free_memory` returns the free bytes of a device; `auto` needs it to choose where residuals are kept. With a `recorder` every
    residual goes to it. `agree` makes the processes that run one model together agree on a check.
    """

    def __init__(
        self,
        plan: Plan,
        label: RunLabel,
        *,
        cache_device: CacheDevice = "auto",
        free_memory: Callable[[torch.device], int] | None = None,
        recorder: Recorder | None = None,
        agree: Callable[[torch.Tensor], torch.Tensor] = lambda holds: holds,
    ) -> None:
        self.plan = plan
        self.recorder = recorder
        self.label = label
        self.agree = agree
        self._last_uses = plan.last_uses()
        self._reuses = any(plan.reused)
        self._cache_device = cache_device
        self._free_memory = free_memory
        self._offload: bool | None = None
        self._present = 0
        """The step of the plan that the run has reached."""
        self._records: dict[Hashable, dict[int, Record]] = {}
        self._events: list[Event] = []
        self._stopwatch: Stopwatch | None = None
        self._peak_bytes = 0
        self._gaps: dict[Hashable, list[int]] = {}
        """Steps that were reused since the last computed one."""
        self._disturbances: list[Disturbance] = []
        self._verdicts: list[Verdict] = []
        """Checks of this run whose result was not looked at."""
        self.reuses: Reused = "blocks"
        """What a skipped evaluation takes from an earlier one."""
        self.other_cache = ""
        """Name of another step cache on the model, as far as it is known."""

    def begin(self, call: Hashable, sigma: float, device: torch.device) -> Evaluation:
        """Decide an evaluation at `sigma`. `call` tells apart evaluations whose residuals must not be mixed; None: unknown.

        Reuse needs that the plan says so, and that this very composition was recorded in full, no longer ago than the plan
        assumes and at a sigma that is not lower.
        """
        self._stopwatch = self._stopwatch or Stopwatch(device)
        self._stopwatch.mark()
        step = self.plan.step_at(sigma, self._present)
        planned = step is not None and self.plan.reused[step]
        if step is not None:
            self._present = step
            self._forget_before(step)
        sources = self._sources(call, step, sigma) if step is not None and planned and call is not None else ()
        self._events.append(Event(sigma, step, planned, bool(sources)))
        if step is None or not sources:
            return self._computed(call, sigma, step)
        self._gaps.setdefault(call, []).append(step)
        return ReusedEvaluation(len(self._events) - 1, sources)

    def recompute(self, evaluation: Evaluation, call: Hashable) -> ComputedEvaluation:
        """The evaluation just begun cannot reuse or correct after all: compute it in full, uncorrected."""
        event = self._events[evaluation.index] = replace(self._events[evaluation.index], reused=False, corrected=False)
        self._gaps.pop(call, None)
        return self._computed(call, event.sigma, event.step, evaluation.index)

    def disturb(self, disturbance: Disturbance) -> None:
        """Something is not as it should be: nothing is corrected any more, and after some of them nothing is reused."""
        if disturbance not in self._disturbances:
            self._disturbances.append(disturbance)

    def expect(self, verdict: Verdict) -> None:
        """A check of the model's description was made. It is looked at before anything is reused."""
        self._verdicts.append(verdict)

    def _judge(self) -> None:
        while self._verdicts:
            if not self._verdicts.pop():
                self.disturb(Disturbance.NOT_REPRODUCED)

    @property
    def disturbed(self) -> bool:
        return bool(self._disturbances)

    @property
    def unsafe(self) -> bool:
        """Whether something in the run forbids any reuse."""
        return not _FORBIDDING.isdisjoint(self._disturbances)

    def note_correction(self, evaluation: ComputedEvaluation) -> None:
        """The evaluation corrected the gap before it."""
        self._events[evaluation.index] = replace(self._events[evaluation.index], corrected=True)

    def note_withheld(self, evaluation: Evaluation) -> None:
        """The model's own settings forbid to skip the evaluation."""
        self._events[evaluation.index] = replace(self._events[evaluation.index], withheld=True)

    def outlives(self, step: int) -> bool:
        """Whether a step after the present one may draw on the residual of `step`."""
        return self._last_uses[step] > self._present

    def keep(self, residual: Residual) -> Residual:
        """`residual` where this run keeps residuals."""
        if self._offload is None:
            self._offload = self._cache_device == "cpu" or (self._cache_device == "auto" and self._crowds(residual))
        return offloaded(residual) if self._offload else residual

    def measure_memory(self) -> None:
        """Note the memory that residuals take now."""
        records = (record for records in self._records.values() for record in records.values())
        wholes = {id(part.whole): bytes_of(part.whole) for record in records for part in record.residuals.values()}
        self._peak_bytes = max(self._peak_bytes, sum(wholes.values()))

    def mark_end(self) -> None:
        """The run may be over with what was just computed: what the host does from here on, such as decoding, is not counted."""
        if self._stopwatch:
            self._stopwatch.mark_end()

    def so_far(self) -> RunReport:
        """What has happened until now, with the times that are known without waiting for the device."""
        return self._report(self._stopwatch.seconds_so_far() if self._stopwatch else [])

    def close(self) -> RunReport:
        """Free every residual and return what happened. Waits for the device."""
        self._records.clear()
        self._judge()
        if self._stopwatch is None:
            return self._report([])
        if not self._stopwatch.ended:
            self._stopwatch.mark_end()
        return self._report(self._stopwatch.seconds())

    def _report(self, seconds: list[float]) -> RunReport:
        return RunReport(
            self.label,
            self.plan,
            tuple(self._events),
            tuple(seconds),
            self._peak_bytes,
            disturbances=tuple(self._disturbances),
            reuses=self.reuses,
            other_cache=self.other_cache,
        )

    def _usable(self, call: Hashable, sigma: float) -> dict[int, Record]:
        """What was recorded in full for `call` and not at a lower sigma, by step."""
        return {record.step: record for record in self._records.get(call, {}).values() if record.complete and sigma <= record.sigma}

    def _sources(self, call: Hashable, step: int, sigma: float) -> Sources:
        """The records that a reused step draws on, as planned or fresher; none if that would not be safe."""
        self._judge()
        if self.unsafe:
            return ()
        usable = self._usable(call, sigma)
        newest = max(usable, default=-1)
        if newest > self.plan.source(step):  # Computed though it was to be reused: the residual is fresher than planned.
            return ((usable[newest], (1.0,)),)
        return sources_of(self.plan.shares(step), usable)

    def _correction(self, call: Hashable, step: int | None, sigma: float) -> tuple[Sources, float]:
        """Prediction and gain for correcting the preceding gap; empty if the gap was not run exactly as planned."""
        gap = self._gaps.pop(call, [])
        correction = None if step is None else self.plan.correction(step)
        if step is None or correction is None or self._disturbances or gap != list(range(self.plan.source(step - 1) + 1, step)):
            return (), 0.0
        expected = tuple((source, (weight,)) for source, weight in correction.expected)
        return sources_of(expected, self._usable(call, sigma)), correction.gain

    def _computed(self, call: Hashable, sigma: float, step: int | None, index: int | None = None) -> ComputedEvaluation:
        """A computed evaluation. That of an `index` is computed once more, without a correction."""
        expected, gain = self._correction(call, step, sigma) if index is None else ((), 0.0)
        record = None
        if call is not None and step is not None and self._last_uses[step] >= 0:
            record = Record(sigma, step)
            self._records.setdefault(call, {})[step] = record
        # Watched even if no step draws on it: torch.compile then sees two variants (watched, skipped) instead of three.
        watched = record is not None or self._reuses or self.recorder is not None
        index = len(self._events) - 1 if index is None else index
        return ComputedEvaluation(self, index, sigma, watched, record, expected, gain, missed=call is None)

    def _forget_before(self, step: int) -> None:
        """Free what neither this step nor a later one can use, such as windows that have moved on."""
        for call, records in list(self._records.items()):
            for old in [old for old in records if old < step and self._last_uses[old] < step]:
                del records[old]
            if not records:
                del self._records[call]

    def _crowds(self, residual: Residual) -> bool:
        """Whether `residual` takes much of the free memory of its device."""
        device = residual[0].device
        if device.type == "cpu" or self._free_memory is None:
            return False
        return bytes_of(residual) > _FREE_MEMORY_SHARE * self._free_memory(device)
