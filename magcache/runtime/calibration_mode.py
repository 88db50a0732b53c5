"""The mode of a run that measures a curve."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from ..curves.averaging import averaged
from ..curves.curve import MagnitudeCurve
from ..curves.propagation import CANDIDATES, Propagation
from ..curves.shipped import known_propagation
from ..curves.store import CurveStore
from ..errors import CalibrationError
from ..planning.plan import Plan, Reason, compute_all
from ..planning.trials import measure_propagation, trial_evaluations, trial_plans
from ..reports.run_report import RunLabel, RunReport
from ..settings import FEW_STEPS
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
    """Compute everything, record it, and save the curve under `name`, or under a name of the model's own."""

    model_type: str
    name: str
    average: bool = False
    """Whether a curve that exists under this name is averaged with the new one."""
    thorough: bool = False
    """Whether trial runs follow that measure how errors propagate."""
    saved: Callable[[MagnitudeCurve, Path], None] = lambda curve, path: None
    """Is called with the curve and the path at which it was saved."""

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
            "steps": len(run.sigmas),
            "latent": list(run.model.latent),
            "cfg": run.guidance,
            "reuses": report.reuses,
        }
        name = (self.name or f"{kind}-{run.fingerprint[:8]}") + _part(recorder.sigmas, run)
        curve = recorder.curve(name, run.family.name, provenance)
        if (known := known_propagation(run.named, run.fingerprint)) is not None:
            curve = replace(curve, propagation=replace(known, trials=()))  # Its trials are of other runs.
        if self.average and curve.name in store.own_files():
            curve = averaged(store.load(curve.name, curve.steps), curve)
        path = store.save(curve)
        self.saved(curve, path)
        trials = self._trials(curve, run, store) if self.thorough else None
        return Conclusion(_told(curve, path, run, store), curve.mean_ratios_at(report.plan.sigmas), trials)

    def _trials(self, curve: MagnitudeCurve, run: RunFacts, store: CurveStore) -> Trials | None:
        """The runs that measure the propagation of `curve`, which is saved already; None in a run that is too short for them."""
        if len(run.sigmas) < FEW_STEPS:
            return None
        plans = trial_plans(curve, run.sigmas, guidance=run.guidance, influence=run.influence, correct=run.correctable)

        def conclude(error_of: Callable[[Plan], float]) -> str:
            found = measure_propagation(curve, plans, error_of)
            path = store.save(found)
            self.saved(found, path)
            return f"{_told(found, path, run, store)} · {told_propagation(found.propagation)}"

        return Trials(plans, conclude)


def _check_measurable(report: RunReport, recorder: Recorder, run: RunFacts) -> None:
    """Raise `CalibrationError` if the run does not show what the model does in an ordinary one."""
    if report.disturbances:
        raise CalibrationError(
            f"Nothing was calibrated, because {report.disturbances[0].value}. Run once without whatever does this, then again with "
            "it. If there is nothing, this model cannot be skipped."
        )
    if run.adds_noise:
        raise CalibrationError(
            "Nothing was calibrated, because this sampler adds noise (or cannot be tried out), so residuals jump from step to step. "
            "Calibrate with a sampler such as euler; the curve then serves every sampler."
        )
    evaluated = min((event.sigma for event in report.events), default=0.0)
    if recorder.sigmas and recorder.sigmas[-1] > evaluated * (1 + 1e-3):
        raise CalibrationError(
            f"Nothing was calibrated, because the model was last seen at sigma {recorder.sigmas[-1]:.4g} of a run that went down to "
            f"{evaluated:.4g}: something else changed its blocks or its batch, or skipped them. Calibrate without it."
        )


def _cost(run: RunFacts) -> str:
    """What a thorough calibration takes, before it begins."""
    steps = len(run.sigmas)
    if steps < FEW_STEPS:
        return f"measures a curve; trial runs need at least {FEW_STEPS} steps, so there will be none"
    most = len(CANDIDATES) * trial_evaluations(run.sigmas)
    return f"measures a curve in {steps} evaluations, then up to {len(CANDIDATES)} trial runs: {most} more"


def told_propagation(propagation: Propagation) -> str:
    """What was found out about how errors propagate, in one line."""
    kind = "early errors grow" if propagation.grows else "early errors shrink"
    runs = len(propagation.trials)
    return f"{kind} ({propagation.source}" + (f" by trials of {runs} run{'s' * (runs != 1)})" if runs else ")")


def _part(measured: list[float], run: RunFacts) -> str:
    """What to add to a curve's name if the run was a part of a schedule; `measured` are the sigmas that were seen."""
    if not measured:
        return ""
    reaches_end = run.closing_sigma == 0 and measured[-1] < _WHOLE_END * run.sigma_max
    if reaches_end:
        return "" if measured[0] > _WHOLE_BEGIN * run.sigma_max else f"-below{measured[0]:.2f}"
    return f"-{measured[0]:.3f}-to-{measured[-1]:.3f}"


def _told(curve: MagnitudeCurve, path: Path, run: RunFacts, store: CurveStore) -> str:
    """What to tell of a calibration: a promise only if the next run of this kind will find it."""
    runs = curve.provenance.get("runs", 1)
    text = f"MagCache: calibrated on {curve.steps} steps" + (f", the mean of {runs} runs" if runs > 1 else "")
    found = store.own_curve_of(run.fingerprint, run.kind, run.sigmas)
    promise = "the next run of this model is faster" if found is not None and serves(found, run) else "it covers too little of this run"
    return f"{text}, nothing skipped yet · saved {path} · {promise}"
