"""Measure the curve of a pipeline's model by one call of the pipeline, and how errors spread in it by a few more."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from ..curves.curve import MagnitudeCurve
from ..curves.shipped import check_own_name
from ..curves.store import CurveStore, Saved
from ..errors import CalibrationError
from ..planning.plan import Plan, Reason, compute_all
from ..reports.run_report import RunLabel, RunReport
from ..runtime.calibration_mode import CalibrationMode
from ..runtime.outputs import tensors_of
from ..runtime.run_setup import AUTO, Conclusion, RunFacts, RunSetup, Trials
from .apply import apply, models_of
from .curves import store_in
from .facts import bare
from .parallel import Processes
from .seat import seat_of, take_seat


def calibrate(
    pipe: Any,
    *,
    thorough: bool = False,
    name: str = "",
    average: bool = False,
    folder: str | os.PathLike[str] | None = None,
    **call: Any,
) -> MagnitudeCurve:
    """Call `pipe(**call)` in full and return the curve of its model, which is saved for later runs of `apply`.

    Its sections, as of a long video, are averaged; `average` also takes in a curve of the same name that exists. Of two experts both
    curves are saved, and that of the first is returned. `thorough` runs the pipeline two or three times more, from the same noise, to
    measure how errors spread. Decoding is left out where the pipeline can return latents.

    Of the processes that run a model together all must call it; the first saves the curve.

    A curve that has a `name` is for whoever chooses it: `auto` goes by unnamed ones. One that cannot be written is returned all the same,
    with a warning in the log.

    Raises `CalibrationError` if the call did not show what a curve needs, and `CurveError` for a name that cannot be used. An earlier
    MagCache on the pipeline is there again afterwards.
    """
    name = name and check_own_name(name)
    earlier = [(model, seat.listener) for model in models_of(pipe).values() if (seat := seat_of(model)) is not None]
    cache = apply(pipe, folder=folder, guidance=call.get("true_cfg_scale"))
    mode = cache.mode = _Calibrating(name, average, thorough)
    processes = Processes(bare(next(iter(models_of(pipe).values()))))
    try:
        run_again = _repeatable(pipe, call)
        result = run_again()
        cache.end_call()
        if not processes.share(bool(mode.curves)):
            raise mode.error or CalibrationError("Nothing was calibrated: the call did not reach the last step. Let it run to its end.")
        for fingerprint, trials in mode.trials if result is not None else ():

            def error_of(plan: Plan, fingerprint: str = fingerprint) -> float:
                processes.share(True)
                cache.mode = _Trial(fingerprint, plan)
                return _apart(run_again(), result)

            trials.conclude(error_of)
            mode.spread(fingerprint, store_in(folder))
        while processes.share(False):  # What the first process runs as a trial the others run as well.
            run_again()
        measured = next(iter(mode.curves.values()), None)
        document = processes.share(measured and measured.to_json())
    finally:
        cache.remove()
        for model, listener in earlier:
            take_seat(model, listener)
    return measured or MagnitudeCurve.from_json(document)


@dataclass
class _Calibrating:
    """Calibrates every model that runs. Further runs of one of them, such as sections, are averaged with the first."""

    name: str
    average: bool
    thorough: bool
    curves: dict[str, MagnitudeCurve] = field(default_factory=dict[str, MagnitudeCurve])
    """What was measured and saved, by fingerprint of the model."""
    trials: list[tuple[str, Trials]] = field(default_factory=list[tuple[str, Trials]])
    error: CalibrationError | None = None
    """Why the last run gave no curve."""
    _averages: dict[str, MagnitudeCurve] = field(default_factory=dict[str, MagnitudeCurve])

    def setup(self, run: RunFacts, store: CurveStore) -> RunSetup:
        again = run.fingerprint in self.curves

        def keep(curve: MagnitudeCurve, _: Saved) -> None:
            self.curves[run.fingerprint] = curve

        setup = CalibrationMode(AUTO, self.name, self.average or again, self.thorough and not again, keep).setup(run, store)

        def conclude(report: RunReport) -> Conclusion:
            try:
                conclusion = setup.conclude(report)
            except CalibrationError as error:
                self.error = error
                raise
            self._averages[run.fingerprint] = self.curves[run.fingerprint]
            if conclusion.trials is not None:
                self.trials.append((run.fingerprint, conclusion.trials))
            return conclusion

        return replace(setup, conclude=conclude)

    def spread(self, fingerprint: str, store: CurveStore) -> None:
        """Trials were run with the first run's curve: what they showed belongs to the mean of all runs."""
        found = replace(self._averages[fingerprint], propagation=self.curves[fingerprint].propagation)
        store.save(found)
        self.curves[fingerprint] = found


@dataclass(frozen=True, slots=True)
class _Trial:
    """Runs one model by a plan, and others in full."""

    fingerprint: str
    plan: Plan

    def setup(self, run: RunFacts, store: CurveStore) -> RunSetup:
        fits = run.fingerprint == self.fingerprint and len(run.sigmas) == self.plan.steps
        return RunSetup(self.plan if fits else compute_all(run.sigmas, Reason.OFF), RunLabel("skipping"))


def _repeatable(pipe: Any, call: Mapping[str, Any]) -> Callable[[], torch.Tensor | None]:
    """A function that calls the pipeline, each time with the same noise, and returns what it made if that is a tensor."""
    accepted = inspect.signature(type(pipe).__call__).parameters
    arguments = dict(call)
    if "output_type" in accepted:
        arguments.setdefault("output_type", "latent")
    if "generator" in accepted and arguments.get("generator") is None:
        arguments["generator"] = torch.Generator().manual_seed(0)
    found = arguments.get("generator")
    generators: list[torch.Generator] = found if isinstance(found, list) else [] if found is None else [found]
    states = [generator.get_state() for generator in generators]

    def run_again() -> torch.Tensor | None:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)
        made = tensors_of(pipe(**arguments))
        return made[0] if made else None

    return run_again


def _apart(one: torch.Tensor | None, other: torch.Tensor | None) -> float:
    """‖one − other‖ / ‖other‖."""
    assert one is not None and other is not None
    return float(torch.linalg.vector_norm((one - other).float()) / torch.linalg.vector_norm(other.float()))
