"""The modes that skip: by the published threshold, or to reach a speed-up. The same in every host."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from ..curves.curve import MagnitudeCurve
from ..curves.propagation import Source
from ..curves.shipped import known_curves
from ..curves.store import CurveStore
from ..planning.budget import parts_of_plain, plan_speedup
from ..planning.fewer_steps import CLEARLY_BETTER
from ..planning.plan import Plan, Reason, compute_all, falling_stretches
from ..planning.prediction import best_reuse
from ..planning.streams import stream_errors
from ..planning.threshold import plan_by_threshold
from ..reports.run_report import RunLabel
from ..settings import FEW_STEPS, Reuse, SpeedupSettings, ThresholdSettings
from .calibration_mode import CalibrationMode
from .run_setup import AUTO, RunFacts, RunSetup, covers, serves

_DEFAULT_SPEEDUP = 2.0
"""The speed-up if none was asked for and none was tuned."""
_NOISY_SPEEDUP = 1.5
"""The highest speed-up under a sampler that adds noise: its residuals jump from step to step."""

_SPREAD: Mapping[Source, str] = MappingProxyType(
    {
        "measured": "How errors spread in this model was measured.",
        "published plans": "How errors spread in this model is known from published plans.",
        "assumed": "How errors spread in this model was not measured (thorough, in MagCache Calibration), so only safe plans count.",
    }
)

log = logging.getLogger("magcache")


@dataclass(frozen=True, slots=True)
class ThresholdMode:
    """Skip by the published rule with the curve `model_type`, given as such or by its name, or with the one that fits the model."""

    model_type: str | MagnitudeCurve
    settings: ThresholdSettings

    def setup(self, run: RunFacts, store: CurveStore) -> RunSetup:
        curve = self._curve(run, store)
        if curve is None:
            return RunSetup(compute_all(run.sigmas, Reason.NO_CURVE), RunLabel("full"))
        plan = plan_by_threshold(curve, run.sigmas, self.settings)
        return RunSetup(plan, RunLabel("skipping", curve.name), curve.mean_ratios_at(plan.sigmas))

    def _curve(self, run: RunFacts, store: CurveStore) -> MagnitudeCurve | None:
        named = run.named
        if isinstance(self.model_type, MagnitudeCurve):
            return self.model_type
        if self.model_type != AUTO:
            curve = store.load(self.model_type, len(run.sigmas))
            if named and curve.name != named and curve.name in known_curves() and not _alike(curve.name, named):
                log.warning("MagCache: the curve %s was chosen, but the model looks like %s.", curve.name, named)
            return curve
        own = store.own_curve_of(run.fingerprint, run.kind, run.sigmas)
        if own is not None and (named is None or covers(own, run)):
            return own
        return store.load(named, len(run.sigmas)) if named else None


@dataclass(frozen=True, slots=True)
class SpeedupMode:
    """Reach a speed-up with the least error. A model that was never calibrated is calibrated by the run itself."""

    speedup: float
    """Steps per computed step. 0: what was tuned for the curve, or else 2."""
    curve: str | MagnitudeCurve = AUTO
    """A curve or its name; `auto` stands for the one that fits the model."""
    reuse: Reuse | Literal["auto"] = "auto"
    start_percent: float = 0.0
    end_percent: float = 1.0

    def setup(self, run: RunFacts, store: CurveStore) -> RunSetup:
        curve = self._curve(run, store)
        if curve is None:
            return self._without_curve(run, store)
        preset = None if self.speedup else store.preset_of(curve.name)
        chosen = preset or SpeedupSettings(self.speedup or _DEFAULT_SPEEDUP, best_reuse(curve))
        speedup, reuse = chosen.speedup, chosen.reuse if self.reuse == "auto" else self.reuse
        note = ""
        if run.adds_noise:
            reuse, speedup = "hold", min(speedup, _NOISY_SPEEDUP)
            note = f"The sampler adds noise (or cannot be tried out), so residuals are held and the speed-up is at most {_NOISY_SPEEDUP}×."
        start, end = max(self.start_percent, chosen.start_percent), min(self.end_percent, chosen.end_percent)
        plan = plan_speedup(
            curve,
            run.sigmas,
            speedup,
            guidance=run.guidance,
            reuse=reuse,
            window=(run.sigma_at(start), run.sigma_at(end)),
            influence=run.influence,
            correct=run.correctable,
            schedule_part=run.schedule_part,
            compare=_reuses_predictions(curve),
        )
        note = " ".join(filter(None, (note, _verdict(curve, run, plan))))
        label = RunLabel("skipping", curve.name, tuned=preset is not None, note=note, errors=_errors(curve, run, plan, reuse))
        return RunSetup(plan, label, curve.mean_ratios_at(plan.sigmas))

    def _curve(self, run: RunFacts, store: CurveStore) -> MagnitudeCurve | None:
        if isinstance(self.curve, MagnitudeCurve):
            return self.curve
        if self.curve != AUTO:
            return store.load(self.curve, len(run.sigmas))
        own = store.own_curve_of(run.fingerprint, run.kind, run.sigmas)
        if own is not None and serves(own, run):
            return own
        unmeasurable = len(run.sigmas) < FEW_STEPS or run.adds_noise
        return store.load(run.named, len(run.sigmas)) if run.named and unmeasurable else None

    def _without_curve(self, run: RunFacts, store: CurveStore) -> RunSetup:
        full = compute_all(run.sigmas, Reason.NO_CURVE)
        if len(run.sigmas) < FEW_STEPS:
            note = f"A run of fewer than {FEW_STEPS} steps does not calibrate a model. Run it once with more steps."
            return RunSetup(full, RunLabel("full", note=note))
        if run.adds_noise:
            note = "The sampler adds noise (or cannot be tried out), so the run does not calibrate the model. Run it once with euler, say."
            return RunSetup(full, RunLabel("full", note=note))
        return CalibrationMode(AUTO, "").setup(run, store)


def _verdict(curve: MagnitudeCurve, run: RunFacts, plan: Plan) -> str:
    """What skipping would cost a run that is too short to gain as much as was asked; empty for other runs."""
    if plan.reason is not Reason.FEWER_STEPS:
        return ""
    parts = parts_of_plain(
        curve,
        run.sigmas,
        guidance=run.guidance,
        influence=run.influence,
        correct=run.correctable,
        schedule_part=run.schedule_part,
        compare=_reuses_predictions(curve),
    )
    shown = ", ".join(f"{part:.2f} with {nfe}" for nfe, part in parts.items())
    return (
        f"Of {plan.steps} steps {plan.nfe} are computed: with fewer, plain sampling with as few steps would be about as good. "
        f"Predicted error relative to that: {shown} evaluations; above {CLEARLY_BETTER:.2f} it is not worth it. "
        f"{_SPREAD[curve.propagation.source]}"
    )


def _reuses_predictions(curve: MagnitudeCurve) -> bool:
    """Whether the curve is of predictions as a whole. They are worth reusing in few models, so that is looked at in every run."""
    return curve.provenance.get("reuses") == "prediction"


def _errors(curve: MagnitudeCurve, run: RunFacts, plan: Plan, reuse: Reuse) -> tuple[tuple[str, float], ...]:
    """The predicted error of each stream, by name, in a model of several; empty in others and for a run in several parts."""
    if not curve.streams or not any(plan.reused) or len(falling_stretches(plan.sigmas)) != 1:
        return ()
    found = stream_errors(curve, plan.sigmas, plan.computed, guidance=run.guidance, reuse=reuse)
    return tuple((name or run.family.streams[0].name, error) for name, error in found.items())


def _alike(chosen: str, named: str) -> bool:
    """Whether a choice differs from the recognised model only in what cannot be seen for sure."""
    return {chosen, named} <= {"flux", "flux_kontext"} or {chosen, named} <= {"hunyuan_video", "hunyuan_video_544p"}
