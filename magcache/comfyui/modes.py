"""What ComfyUI's guider tells the modes about a run, and which curves fit a model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
import torch

from ..curves.store import CurveStore
from ..errors import MagCacheError, ModelMismatchError
from ..planning.plan import Reason, compute_all
from ..reports.run_report import RunLabel
from ..runtime.family import Family, ModelFacts
from ..runtime.run_setup import AUTO, Mode, RunFacts, RunSetup
from ..texts import Text
from .base_model import family_of, fingerprint_of
from .curve_folders import curve_store, offered_curves
from .samplers import SamplerTraits


def run_facts(family: Family, guider: Any, noise: torch.Tensor, sigmas: list[float], traits: SamplerTraits) -> RunFacts:
    """The facts of a run over `sigmas` (with the closing one). The guider's model must be in place, with all patches of the run."""
    patcher = guider.model_patcher
    sampling = patcher.get_model_object("model_sampling")
    return RunFacts(
        family=family,
        model=ModelFacts(
            config=patcher.model.model_config.unet_config,
            sigmas=tuple(sigmas),
            latent=tuple(noise.shape),
            conditioning=frozenset(name for group in guider.conds.values() for cond in group for name in cond),
        ),
        fingerprint=fingerprint_of(patcher),
        sigmas=tuple(sigmas[:-1]),
        closing_sigma=sigmas[-1],
        guidance=guidance_of(guider),
        sigma_max=float(sampling.sigma_max),
        sigma_at=lambda part: float(sampling.percent_to_sigma(part)),
        influence=traits.influence,
        one_a_step=traits.one_a_step,
        adds_noise=traits.adds_noise,
    )


@dataclass(frozen=True, slots=True)
class FullMode:
    """Compute every step, and say why."""

    why: str

    def setup(self, run: RunFacts, store: CurveStore) -> RunSetup:
        return RunSetup(compute_all(run.sigmas, Reason.UNUSABLE), RunLabel("full", why=self.why))


def setup_of(mode: Mode, run: RunFacts, store: CurveStore) -> RunSetup:
    """How a run goes. A curve that cannot be used any more, such as one that was deleted since, does not fail it: then it is computed."""
    try:
        return mode.setup(run, store)
    except MagCacheError as error:
        return FullMode(Text("{error}", error=error)).setup(run, store)


def guidance_of(guider: Any) -> float:
    """The CFG scale of a guider, 1 without guidance. Packs schedule it as a list, an array or a tensor: then the mean counts."""
    cfg = getattr(guider, "cfg", None)
    try:
        numbers = [float(each) for each in np.asarray(cfg.cpu() if isinstance(cfg, torch.Tensor) else cfg).flatten()]
    except (TypeError, ValueError):
        return 1.0
    return fmean(numbers) if numbers and all(map(math.isfinite, numbers)) else 1.0


def check_architecture(patcher: Any, model_type: str) -> None:
    """Raise `ModelMismatchError` if the curve `model_type` belongs to another architecture than the model's."""
    family = family_of(patcher)
    if model_type == AUTO:
        return
    store = curve_store()
    curve = store.load(model_type, 0)
    if curve.family != family.name:
        fitting = [name for name in offered_curves() if store.family_of(name) == family.name]
        raise ModelMismatchError(
            Text(
                "The curve {curve!r} was measured on {measured}, but this model is {model}. Choose 'auto' or one of: {names}.",
                curve=model_type,
                measured=curve.family,
                model=family.name,
                names=", ".join(fitting),
            )
        )
