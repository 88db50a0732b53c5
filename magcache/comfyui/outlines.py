"""How a run is to go: which curve belongs to the model, and the plan that follows from it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from ..budget import best_reuse, plan_speedup
from ..calibration import Recorder, averaged
from ..curve import MagnitudeCurve
from ..errors import MagCacheError, ModelMismatchError
from ..plan import compute_all
from ..planner import Reuse
from ..report import CALIBRATION
from ..schedule import Settings, plan_run
from ..tuned import Tuned
from . import library
from .families import Family, ModelFacts
from .samplers import moves_straight
from .wrappers import Conclusion, Outline, bare, family_of

AUTO = "auto"
ALIASES = {
    "chroma_calibration": "chroma",
    "flux_calibration": "flux",
    "flux_kontext_calibration": "flux_kontext",
    "hunyuanvideo1.5": "hunyuan_video1.5",
}
"""Names that the published calibration node used."""

_MIDDLING = 2.0
"""The speed-up where nothing was asked for and nothing tuned."""
_FEW_STEPS = 10
"""A run with fewer steps does not calibrate a model by itself: it shows too little of the schedule."""

_WHOLE = 0.9
"""A run that begins below this part of a model's largest sigma is of a part of the schedule; its curve has a name of its own."""
_ENOUGH_COVERED = 0.75
"""A run of which a calibration covers less calibrates anew, such as the second half of a split schedule."""

log = logging.getLogger("magcache")


def facts_of(guider: Any, noise: torch.Tensor, sigmas: list[float]) -> ModelFacts:
    """What can be seen of a run from ComfyUI's guider."""
    conditioning = {name for group in guider.conds.values() for cond in group for name in cond}
    return ModelFacts(
        config=guider.model_patcher.model.model_config.unet_config,
        sigmas=tuple(sigmas),
        latent=tuple(noise.shape),
        conditioning=frozenset(conditioning),
    )


@dataclass(frozen=True, slots=True)
class SkippingOutline:
    """Skip by the published rule with the curve `model_type`, or the one that fits the model."""

    model_type: str
    settings: Settings

    def __call__(self, guider: Any, sampler: Any, noise: torch.Tensor, sigmas: list[float]) -> Outline:
        facts = facts_of(guider, noise, sigmas)
        curve = self._curve(guider.model_patcher, facts)
        if curve is None:
            return Outline(compute_all(sigmas[:-1]), "none")
        return Outline(plan_run(curve, sigmas[:-1], self.settings), curve.name, curve.mean_ratios_at(sigmas[:-1]))

    def _curve(self, model: Any, facts: ModelFacts) -> MagnitudeCurve | None:
        family = known_family(model)
        steps = len(facts.sigmas) - 1
        named = family.identify(facts)
        if self.model_type != AUTO:
            curve = library.load(self.model_type, steps)
            if named and curve.name != named and curve.name in library.known_curves() and not _alike(curve.name, named):
                log.warning("MagCache: the curve %s was chosen, but the model looks like %s.", curve.name, named)
            return curve
        own = library.own_curve_of(library.fingerprint(model), named or family.name, facts.sigmas[:-1])
        if own is not None:
            return own
        if named is None:
            log.warning(
                "MagCache has no curve for this %s model and runs it in full. Run it once with the MagCache Calibration node.", family.name
            )
            return None
        return library.load(named, steps)


@dataclass(frozen=True, slots=True)
class BudgetOutline:
    """Reach a speed-up with the least error. A model that was never calibrated calibrates itself on this run."""

    speedup: float
    """0 takes what was tuned for the curve, and a middling speed-up if nothing was."""
    curve: str = AUTO
    reuse: Reuse | Literal["auto"] = "auto"
    start_percent: float = 0.0
    end_percent: float = 1.0

    def __call__(self, guider: Any, sampler: Any, noise: torch.Tensor, sigmas: list[float]) -> Outline:
        facts = facts_of(guider, noise, sigmas)
        steps = len(sigmas) - 1
        curve = self._curve(guider.model_patcher, facts, steps)
        if curve is None:
            if steps < _FEW_STEPS:
                return Outline(compute_all(sigmas[:-1]), "none")
            outline = RecordingOutline(AUTO, "")(guider, sampler, noise, sigmas)
            return replace(outline, conclude=_sparing(outline.conclude))
        preset = None if self.speedup else library.preset_of(curve.name)
        chosen = preset or Tuned(self.speedup or _MIDDLING, best_reuse(curve))
        sampling = guider.model_patcher.get_model_object("model_sampling")
        start, end = max(self.start_percent, chosen.start_percent), min(self.end_percent, chosen.end_percent)
        plan = plan_speedup(
            curve,
            sigmas[:-1],
            chosen.speedup,
            guidance=getattr(guider, "cfg", 1.0),
            reuse=chosen.reuse if self.reuse == "auto" else self.reuse,
            window=(sampling.percent_to_sigma(start), sampling.percent_to_sigma(end)),
            correct=moves_straight(sampler),
        )
        used = f"{curve.name} (tuned)" if preset else curve.name
        return Outline(plan, used, curve.mean_ratios_at(sigmas[:-1]))

    def _curve(self, model: Any, facts: ModelFacts, steps: int) -> MagnitudeCurve | None:
        family = known_family(model)
        if self.curve != AUTO:
            return library.load(self.curve, steps)
        named = family.identify(facts)
        own = library.own_curve_of(library.fingerprint(model), named or family.name, facts.sigmas[:-1])
        if own is not None and own.products and own.coverage(facts.sigmas[:-1]) >= _ENOUGH_COVERED:
            return own
        return library.load(named, steps) if named and steps < _FEW_STEPS else None


@dataclass(frozen=True, slots=True)
class RecordingOutline:
    """Compute everything, record it, and save the curve under `name` (or a name of the model's own)."""

    model_type: str
    name: str
    average: bool = False
    """Whether a curve that is there already under this name counts too."""
    saved: Callable[[MagnitudeCurve, Path], None] = lambda curve, path: None
    """Is told of the curve, and where it was saved."""

    def __call__(self, guider: Any, sampler: Any, noise: torch.Tensor, sigmas: list[float]) -> Outline:
        model = guider.model_patcher
        family = known_family(model)
        facts = facts_of(guider, noise, sigmas)
        mark = library.fingerprint(model)
        kind = ALIASES.get(self.model_type, self.model_type)
        kind = (family.identify(facts) or family.name) if kind == AUTO else kind
        provenance = {
            "source": "calibration",
            "model": kind,
            "fingerprint": mark,
            "steps": len(sigmas) - 1,
            "latent": list(facts.latent),
            "cfg": getattr(guider, "cfg", None),
        }
        recorder = Recorder()
        whole = sigmas[0] > _WHOLE * float(model.get_model_object("model_sampling").sigma_max)
        part = "" if whole else f"-below{sigmas[0]:.2f}"

        def conclude() -> Conclusion:
            curve = recorder.curve((self.name or f"{kind}-{mark[:8]}") + part, family.name, provenance)
            if self.average and curve.name in library.own_files():
                curve = averaged(library.load(curve.name, curve.steps), curve)
            path, runs = library.save(curve), curve.provenance.get("runs", 1)
            self.saved(curve, path)
            said = f"MagCache: calibrated on {curve.steps} steps" + (f", the mean of {runs} runs" if runs > 1 else "")
            said = f"{said}, nothing skipped yet · saved {path} · the next run of this model is faster"
            return Conclusion(said, curve.mean_ratios_at(sigmas[:-1]))

        return Outline(compute_all(sigmas[:-1]), CALIBRATION, recorder=recorder, conclude=conclude)


def _sparing(conclude: Callable[[], Conclusion] | None) -> Callable[[], Conclusion]:
    """`conclude`, but a picture that is finished is not lost because it could not be measured."""

    def sparing() -> Conclusion:
        try:
            return conclude() if conclude else Conclusion("")
        except MagCacheError as error:
            log.warning("%s", error)
            return Conclusion(f"MagCache: nothing was skipped, and the model could not be calibrated for the next run: {error}")

    return sparing


def known_family(model: Any) -> Family:
    """The family of a model patcher's model. Raises `ModelMismatchError` if there is none."""
    family = family_of(model)
    if family is None:
        kind = type(bare(model.get_model_object("diffusion_model"))).__name__
        raise ModelMismatchError(f"MagCache does not know the architecture {kind} yet, so there is nothing to skip or to calibrate.")
    return family


def check_architecture(model: Any, model_type: str) -> None:
    """Raise `ModelMismatchError` when the curve `model_type` belongs to another architecture than the model's."""
    family = family_of(model)
    if model_type == AUTO or family is None:
        return
    curve = library.load(model_type, 0)
    if curve.family != family.name:
        fitting = [name for name in library.known_curves() if library.load(name, 0).family == family.name]
        raise ModelMismatchError(
            f"The curve {model_type!r} was measured on {curve.family}, but this model is {family.name}. "
            f"Choose 'auto' or one of: {', '.join(fitting)}."
        )


def _alike(chosen: str, named: str) -> bool:
    """Whether a choice differs from the recognised model only in what cannot be seen for sure."""
    return {chosen, named} <= {"flux", "flux_kontext"} or {chosen, named} <= {"hunyuan_video", "hunyuan_video_544p"}
