"""The mode of a run that measures a curve."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ..curves.averaging import averaged
from ..curves.curve import MagnitudeCurve
from ..curves.names import MOST_CHARACTERS, is_automatic
from ..curves.propagation import CANDIDATES, Propagation
from ..curves.shipped import check_own_name, known_propagation
from ..curves.store import CurveStore, Saved
from ..errors import CalibrationError, CurveError
from ..planning.plan import Plan, Reason, compute_all
from ..planning.trials import measure_propagation, trial_evaluations, trial_plans
from ..reports.reasons import calibration_disturbed
from ..reports.run_report import RunLabel, RunReport
from ..reports.wording import BETWEEN
from ..settings import FEW_STEPS
from ..texts import Text, counted, joined
from .recorder import Recorder
from .run_setup import AUTO, Conclusion, RunFacts, RunSetup, Trials, serves

ALIASES = {
    "chroma_calibration": "chroma",
    "flux_calibration": "flux",
    "flux_kontext_calibration": "flux_kontext",
    "hunyuanvideo1.5": "hunyuan_video1.5",
}
"""Names that the published calibration node used."""

_WHOLE_BEGIN, _WHOLE_END = 0.9, 0.7
"""A run covers a whole schedule if it begins above, ends at 0 and is last evaluated below these parts of the model's largest sigma."""


@dataclass(frozen=True, slots=True)
class CalibrationMode:
    """Compute everything, record it, and save the curve under `name`, or under a name of the model's own.

    Raises `CurveError` if `name` cannot be the name of a user's own curve.
    """

    model_type: str
    name: str
    average: bool = False
    """Whether a curve that exists under this name is averaged with the new one."""
    thorough: bool = False
    """Whether trial runs follow that measure how errors propagate."""
    saved: Callable[[MagnitudeCurve, Saved], None] = lambda curve, saved: None
    """Is called with the curve and where it was saved."""

    def __post_init__(self) -> None:
        if self.name:
            object.__setattr__(self, "name", check_own_name(self.name))

    def setup(self, run: RunFacts, store: CurveStore) -> RunSetup:
        recorder = Recorder([stream.name for stream in run.family.streams])
        return RunSetup(
            compute_all(run.sigmas, Reason.NO_CURVE),
            RunLabel("calibrating"),
            announcement=_cost(run) if self.thorough else "",
            recorder=recorder,
            conclude=lambda report: self._conclude(report, recorder, run, store),
        )

    def _conclude(self, report: RunReport, recorder: Recorder, run: RunFacts, store: CurveStore) -> Conclusion:
        _check_measurable(report, recorder, run)
        kind = ALIASES.get(self.model_type, self.model_type)
        kind = run.kind if kind == AUTO else kind
        provenance = {
            "source": "calibration",
            "model": kind,
            "fingerprint": run.fingerprint,
            "named": bool(self.name),
            "steps": len(run.sigmas),
            "latent": list(run.model.latent),
            "cfg": run.guidance,
            "reuses": report.reuses,
        }
        part = _part(recorder.sigmas, run)
        name = (self.name or f"{kind}-{run.fingerprint[:8]}")[: MOST_CHARACTERS - len(part)] + part
        curve = recorder.curve(name, run.family.name, provenance)
        if (known := known_propagation(run.named, run.fingerprint)) is not None:
            curve = replace(curve, propagation=replace(known, trials=()))  # Its trials are of other runs.
        if self.average and (earlier := store.own(curve.name)) is not None:
            curve = averaged(earlier, curve)
        elif curve.steps < FEW_STEPS:
            _check_longest(curve, store)
        saved = store.save(curve)
        self.saved(curve, saved)
        trials = self._trials(curve, run, store) if self.thorough else None
        return Conclusion(_told(curve, saved, run, store), curve.mean_ratios_at(report.plan.sigmas), trials)

    def _trials(self, curve: MagnitudeCurve, run: RunFacts, store: CurveStore) -> Trials | None:
        """The runs that measure the propagation of `curve`, which is saved already; None in a run that is too short for them."""
        if len(run.sigmas) < FEW_STEPS:
            return None
        plans = trial_plans(curve, run.sigmas, guidance=run.guidance, influence=run.influence, correct=run.correctable)

        def conclude(error_of: Callable[[Plan], float]) -> str:
            found = measure_propagation(curve, plans, error_of)
            saved = store.save(found)
            self.saved(found, saved)
            return joined([_told(found, saved, run, store), told_propagation(found.propagation)], BETWEEN)

        return Trials(plans, conclude)


def _check_measurable(report: RunReport, recorder: Recorder, run: RunFacts) -> None:
    """Raise `CalibrationError` if the run does not show what the model does in an ordinary one."""
    if (disturbed := calibration_disturbed(report)) is not None:
        raise CalibrationError(disturbed)
    if run.adds_noise:
        raise CalibrationError(
            Text(
                "Nothing was calibrated, because this sampler adds noise (or cannot be tried out). Calibrate with a sampler such as euler; "
                "the curve then serves every sampler."
            )
        )
    evaluated = min((event.sigma for event in report.events), default=0.0)
    if recorder.sigmas and recorder.sigmas[-1] > evaluated * (1 + 1e-3):
        raise CalibrationError(
            Text(
                "Nothing was calibrated, because the model was last seen at sigma {seen:.4g} of a run that went down to {end:.4g}: "
                "something else changed its blocks or its batch, or skipped them. Calibrate without it.",
                seen=recorder.sigmas[-1],
                end=evaluated,
            )
        )


def _check_longest(curve: MagnitudeCurve, store: CurveStore) -> None:
    """Raise `CalibrationError` if a curve of few steps would replace a longer one."""
    try:
        earlier = store.own(curve.name)
    except CurveError:
        return  # What cannot be read is of no use.
    if earlier is not None and earlier.steps > curve.steps:
        path = store.own_files().get(curve.name)
        raise CalibrationError(
            joined(
                [
                    Text(
                        "Nothing was saved: the curve {name!r} of {earlier} steps is kept, because {steps} steps show less of the model.",
                        name=curve.name,
                        earlier=earlier.steps,
                        steps=curve.steps,
                    ),
                    Text("To replace it, calibrate with at least {least} steps, or delete {path} first.", least=FEW_STEPS, path=path)
                    if path
                    else Text("To replace it, calibrate with at least {least} steps, or restart.", least=FEW_STEPS),
                ]
            )
        )


def _cost(run: RunFacts) -> Text:
    """What a thorough calibration takes, before it begins."""
    steps = len(run.sigmas)
    if steps < FEW_STEPS:
        return Text("measures a curve; trial runs need at least {least} steps, so there will be none", least=FEW_STEPS)
    return Text(
        "measures a curve in {steps} steps, then up to {trials} trial runs: {most} steps more",
        steps=steps,
        trials=len(CANDIDATES),
        most=len(CANDIDATES) * trial_evaluations(run.sigmas),
    )


def told_propagation(propagation: Propagation) -> Text:
    """What was found out about how errors propagate, in one line."""
    kind = Text("early errors grow") if propagation.grows else Text("early errors shrink")
    if not propagation.trials:
        return Text("{kind} ({source})", kind=kind, source=propagation.source)
    return counted(
        len(propagation.trials),
        "{kind} (measured by trials of {count} run)",
        "{kind} (measured by trials of {count} runs)",
        kind=kind,
    )


def _part(measured: list[float], run: RunFacts) -> str:
    """What to add to a curve's name if the run was a part of a schedule; `measured` are the sigmas that were seen."""
    if not measured:
        return ""
    reaches_end = run.closing_sigma == 0 and measured[-1] < _WHOLE_END * run.sigma_max
    if reaches_end:
        return "" if measured[0] > _WHOLE_BEGIN * run.sigma_max else f"-below{measured[0]:.2f}"
    return f"-{measured[0]:.3f}-to-{measured[-1]:.3f}"


def _told(curve: MagnitudeCurve, saved: Saved, run: RunFacts, store: CurveStore) -> Text:
    """What to tell of a calibration: a promise only if the next run of this kind will find it."""
    runs = curve.provenance.get("runs", 1)
    measured = Text("calibrated on {steps} steps", steps=curve.steps)
    mean = Text("the mean of {runs} runs", runs=runs) if runs > 1 else ""
    parts = [joined([measured, mean, Text("nothing skipped yet")], ", ")]
    if saved.problem:
        parts.append(
            Text(
                "kept in memory until the program ends, because {problem}. Mend that and calibrate again to keep it for good",
                problem=saved.problem,
            )
        )
    elif saved.path.stem == curve.name:
        parts.append(Text("saved {path}", path=saved.path))
    else:
        parts.append(Text("saved {name!r} as {path}", name=curve.name, path=saved.path))
    return joined([*parts, *_promises(curve, run, store)], BETWEEN)


def _promises(curve: MagnitudeCurve, run: RunFacts, store: CurveStore) -> list[str]:
    """What the next run of this model will go by."""
    if not serves(curve, run):
        return [Text("it covers too little of this run")]
    if not is_automatic(curve.name, curve.provenance):
        return [Text("choose it by its name to use it: 'auto' takes unnamed calibrations only")]
    found = store.own_curve_of(run.fingerprint, run.kind, run.sigmas)
    covered = found is not None and serves(found, run)
    promise = Text("the next run of this model is faster") if covered else Text("it covers too little of this run")
    return [promise, *filter(None, [told_named(run, store)])]


def told_named(run: RunFacts, store: CurveStore) -> str:
    """That the user has named a curve of this model, which 'auto' does not use; empty if there is none."""
    named = store.named_curves_of(run.fingerprint)
    return Text("There is your curve {name!r} of this model: choose it by its name to use it.", name=named[0]) if named else ""
