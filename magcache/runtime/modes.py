"""The modes that skip: by the published threshold, or to reach a speed-up. The same in every host."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal

from ..curves.curve import MagnitudeCurve
from ..curves.shipped import known_curves
from ..curves.store import CurveStore
from ..planning.budget import plan_speedup
from ..planning.plan import Plan, Reason, compute_all, falling_stretches
from ..planning.prediction import best_reuse
from ..planning.streams import stream_errors
from ..planning.threshold import plan_by_threshold
from ..reports.run_report import RunLabel
from ..settings import FEW_STEPS, Reuse, SpeedupSettings, ThresholdSettings
from ..texts import Text
from . import explanations
from .calibration_mode import CalibrationMode, told_named
from .run_setup import AUTO, RunFacts, RunSetup, covers, serves

_DEFAULT_SPEEDUP = 2.0
"""The speed-up if none was asked for and none was tuned."""
_NOISY_SPEEDUP = 1.5
"""The highest speed-up under a sampler that adds noise: its residuals jump from step to step."""

log = logging.getLogger("magcache")


@dataclass(frozen=True, slots=True)
class ThresholdMode:
    """Skip by the published rule with the curve `model_type`, given as such or by its name, or with the one that fits the model."""

    model_type: str | MagnitudeCurve
    settings: ThresholdSettings

    def setup(self, run: RunFacts, store: CurveStore) -> RunSetup:
        curve = self._curve(run, store)
        if curve is None:
            label = RunLabel("full", note=told_named(run, store), why=explanations.no_curve(run), unknown=_unknown(run))
            return RunSetup(compute_all(run.sigmas, Reason.NO_CURVE), label)
        plan = plan_by_threshold(curve, run.sigmas, self.settings)
        why = explanations.of_threshold(plan, curve, run, self.settings)
        return RunSetup(plan, RunLabel("skipping", curve.name, why=why, unknown=_unknown(run)), curve.mean_ratios_at(plan.sigmas))

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
            note = Text(
                "The sampler adds noise (or cannot be tried out), so the speed-up is at most {speedup:.1f}×.", speedup=_NOISY_SPEEDUP
            )
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
            compare=explanations.reuses_predictions(curve),
        )
        label = RunLabel(
            "skipping",
            curve.name,
            tuned=preset is not None,
            note=note,
            errors=_errors(curve, run, plan, reuse),
            why=explanations.of_speedup(plan, curve, run, chosen.speedup, (start, end)),
            detail=explanations.of_plain(plan, curve, run),
            asked=chosen.speedup,
            unknown=_unknown(run),
        )
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
        short = len(run.sigmas) < FEW_STEPS
        if not (short or run.adds_noise):
            return CalibrationMode(AUTO, "").setup(run, store)
        why = explanations.too_short_to_measure(run) if short else ""
        full = compute_all(run.sigmas, Reason.TOO_SHORT_TO_MEASURE if short else Reason.TOO_NOISY_TO_MEASURE)
        asked, note = self.speedup or _DEFAULT_SPEEDUP, told_named(run, store)
        return RunSetup(full, RunLabel("full", note=note, why=why, asked=asked, unknown=_unknown(run)))


def _unknown(run: RunFacts) -> str:
    """The class of the run's model if its architecture is not known."""
    return "" if run.family.streams or run.family.models else run.family.name


def _errors(curve: MagnitudeCurve, run: RunFacts, plan: Plan, reuse: Reuse) -> tuple[tuple[str, float], ...]:
    """The predicted error of each stream, by name, in a model of several; empty in others and for a run in several parts."""
    if not curve.streams or not any(plan.reused) or len(falling_stretches(plan.sigmas)) != 1:
        return ()
    found = stream_errors(curve, plan.sigmas, plan.computed, guidance=run.guidance, reuse=reuse)
    return tuple((name or run.family.streams[0].name, error) for name, error in found.items())


def _alike(chosen: str, named: str) -> bool:
    """Whether a choice differs from the recognised model only in what cannot be seen for sure."""
    return {chosen, named} <= {"flux", "flux_kontext"} or {chosen, named} <= {"hunyuan_video", "hunyuan_video_544p"}
