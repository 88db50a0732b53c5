"""MagCache on the models of one pipeline: it begins a run when the scheduler does, and ends it with the pipeline's call."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any

import torch
from torch import nn

from ..curves.store import CurveStore
from ..errors import MagCacheError
from ..reports.merging import merged
from ..reports.run_report import Disturbance, RunReport
from ..runtime.run_setup import Conclusion, Mode
from ..runtime.session import Session
from ..settings import CacheDevice
from .arguments import named
from .dry_run import SchedulerTraits, traits_of
from .experts import steps_of
from .facts import guidance_of, known_family, run_facts
from .notify import advice
from .other_caches import other_cache_on
from .parallel import Processes
from .run import Run
from .schedule import Schedule, schedule_of
from .seat import bare, leave_seat, seat_of, take_seat
from .steps import step_of

log = logging.getLogger("magcache")


class StepCache:
    """MagCache on the models of a pipeline, as `apply` has put it there. Within a `with` statement it is removed at its end."""

    def __init__(
        self,
        pipe: Any,
        models: Mapping[str, nn.Module],
        scheduler: Any,
        mode: Mode | None,
        store: CurveStore,
        cache_device: CacheDevice = "auto",
        guidance: float | None = None,
    ) -> None:
        """`mode` is None where nothing shall be skipped; `scheduler` is used where the pipeline has none.

        `guidance` is the CFG scale where the pipeline does not tell it.
        """
        self.mode = mode
        self._pipe = pipe
        self._models = dict(models)
        self._own_scheduler = scheduler
        self._store = store
        self._cache_device: CacheDevice = cache_device
        self._given_guidance = guidance
        self._schedule: Schedule | None = None
        self._first: int | None = None
        """The first step of the present schedule that was run: a picture may begin later than at noise."""
        self._warned = False
        """Whether it was said that another scheduler is at work."""
        self._context: str | None = None
        self._runs: dict[str, Run] = {}
        self._ended: list[RunReport] = []
        """Reports of the runs of the present call."""
        self._last: RunReport | None = None
        self._traits: dict[Hashable, SchedulerTraits] = {}
        for model in self._models.values():
            leave_seat(model)
            take_seat(model, self)

    def __enter__(self) -> StepCache:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.remove()

    def remove(self) -> None:
        """Take MagCache off the models. What they were before, such as compiled, they still are."""
        self._end_runs()
        for model in self._models.values():
            seat = seat_of(model)
            if seat is not None and seat.listener is self:
                leave_seat(model)

    def report(self) -> RunReport:
        """What happened in the last call of the pipeline, all of its runs together. Raises `MagCacheError` if there was none."""
        if self._runs and all(run.complete for run in self._runs.values()):
            self.end_call()
        for name, model in self._models.items():
            if bare(getattr(self._pipe, name, model)) is not bare(model):
                raise MagCacheError(f"The pipeline's {name} was exchanged after apply(), so MagCache is not on it. Call apply() again.")
        if self._last is None:
            why = "MagCache is switched off (speedup=1)" if self.mode is None else "no picture was finished since apply()"
            raise MagCacheError(f"There is nothing to report: {why}.")
        return self._last

    def forward(self, model: nn.Module, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """See `seat.Listener`."""
        if self.mode is None:
            return call(*args, **kwargs)
        arguments = named(bare(model), args, kwargs)
        name = next(name for name, own in self._models.items() if own is model)
        schedule = self._present_schedule()
        step = schedule and step_of(self._pipe, self._scheduler, schedule, arguments)
        if schedule is None or step is None:
            log.debug("MagCache cannot tell the step of a forward, which runs in full.")
            return call(*args, **kwargs)
        run = self._runs.get(name)
        if run is None:
            run = self._runs[name] = self._begin(self.mode, name, model, schedule, step, arguments)
        if step not in run.steps:
            return call(*args, **kwargs)
        return run.forward(step, self._context, self._guidance(name) != 1, call, arguments, args, kwargs)

    def enter_context(self, name: str | None) -> None:
        """See `seat.Listener`."""
        self._context = name

    def end_call(self) -> None:
        """See `seat.Listener`."""
        self._end_runs()
        self._schedule = None
        if self._ended:
            self._last = merged(self._ended)
            self._ended = []

    @property
    def _scheduler(self) -> Any:
        return getattr(self._pipe, "scheduler", None) or self._own_scheduler

    def _guidance(self, name: str) -> float:
        return guidance_of(self._pipe, name) if self._given_guidance is None else self._given_guidance

    def _present_schedule(self) -> Schedule | None:
        """The schedule that is set. If it is another one than before, a run has begun."""
        scheduler = self._scheduler
        timesteps = getattr(scheduler, "timesteps", None)
        unset = getattr(scheduler, "config", {}).get("num_train_timesteps") or math.inf  # As many as a scheduler has before it is set.
        if not isinstance(timesteps, torch.Tensor) or not 0 < len(timesteps) < unset:
            if not self._warned:
                log.warning("MagCache: another scheduler than the one given to apply() runs the model, so every step is computed.")
            self._warned = True
            return None
        if self._schedule is None or timesteps is not self._schedule.timesteps:
            self._end_runs()
            self._schedule, self._first = schedule_of(self._scheduler), None
        return self._schedule

    def _begin(self, mode: Mode, name: str, model: nn.Module, schedule: Schedule, step: int, arguments: Mapping[str, Any]) -> Run:
        """The run of a model that begins at `step`."""
        if getattr(self._pipe, name, model) is not model:
            log.warning("MagCache: the %s was wrapped after apply() and runs uncompiled. Use %s.compile(), or compile first.", name, name)
        steps = steps_of(self._pipe, name, schedule, step)
        self._first = step if self._first is None else self._first
        facts = run_facts(model, schedule, steps, self._traits_of(schedule, self._first), self._guidance(name), arguments, self._models)
        processes = Processes(bare(model))
        setup = processes.decide(lambda: mode.setup(facts, self._store))
        session = Session(
            setup.plan,
            setup.label,
            cache_device=self._cache_device,
            free_memory=_free_memory,
            recorder=setup.recorder,
            agree=processes.agree,
        )
        other = other_cache_on(bare(model))
        if other is not None:
            log.debug("MagCache sees %s on the %s.", other, name)
            session.disturb(Disturbance.OTHER_CACHE)
        return Run(model, schedule, steps, setup, session, known_family(model))

    def _traits_of(self, schedule: Schedule, first: int) -> SchedulerTraits:
        """What the scheduler does from step `first` on; tried out once for each of its schedules."""
        scheduler = self._scheduler
        key = type(scheduler), str(scheduler.config), schedule.values, schedule.sigmas, first
        if key not in self._traits:
            self._traits = {key: traits_of(scheduler, schedule, first)}
        return self._traits[key]

    def _end_runs(self) -> None:
        """End the runs over the present schedule. Nothing that goes wrong here may lose the picture."""
        runs, self._runs = self._runs, {}
        done = bool(runs) and all(run.complete for run in runs.values())
        if runs and not (done and self._call_goes_on):
            self._ended = []
        for run in runs.values():
            try:
                report = replace(run.close(), ratios=run.setup.ratios)
                if done and report.events:
                    self._ended.append(_concluded(run, report))
            except Exception:
                log.exception("MagCache could not report a run. Its picture is not affected.")

    @property
    def _call_goes_on(self) -> bool:
        """Whether the pipeline tells the end of its calls, so that all runs up to there belong to one."""
        return hasattr(self._pipe, "maybe_free_model_hooks")


def _concluded(run: Run, report: RunReport) -> RunReport:
    """Draw the conclusion of a complete run and tell it."""
    try:
        conclusion = run.setup.conclude(report)
    except MagCacheError as error:
        log.warning("%s", error)
        conclusion = Conclusion(str(error), report.ratios)
    log.info("%s", report.line(conclusion.text))
    if (found := advice(report)) is not None:
        log.warning("%s", found)
    return replace(report, ratios=conclusion.ratios)


def _free_memory(device: torch.device) -> int:
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 2**63
