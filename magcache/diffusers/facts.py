"""What a pipeline of diffusers tells the modes about a run."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import nn

from ..runtime.discovery import unknown_family
from ..runtime.family import Family, ModelFacts, find_family
from ..runtime.fingerprint import fingerprint
from ..runtime.run_setup import RunFacts
from .arguments import latent_of
from .dry_run import SchedulerTraits
from .families import FAMILIES
from .schedule import Schedule
from .seat import COMPILED, bare

_ADAPTED = "base_layer"
"""Where PEFT keeps the layer that it adapts."""


def known_family(model: nn.Module) -> Family | None:
    """The family of a model, None if it is not known."""
    return find_family(FAMILIES, bare(model))


def run_facts(
    model: nn.Module,
    schedule: Schedule,
    steps: range,
    traits: SchedulerTraits,
    guidance: float,
    arguments: Mapping[str, Any],
    models: Iterable[str],
) -> RunFacts:
    """The facts of a run of `model` over `steps` of a schedule.

    `arguments` are those of its first forward, by name; `models` are the names of all models that the pipeline samples with.
    """
    family = known_family(model) or unknown_family(bare(model))
    given = [*models, *(name for name, value in arguments.items() if value is not None)]
    sigmas = schedule.sigmas[steps.start : steps.stop + 1]
    return RunFacts(
        family=family,
        model=ModelFacts(
            config=_config(model), sigmas=sigmas, latent=_latent(arguments), conditioning=frozenset([*given, *family.inputs(arguments)])
        ),
        fingerprint=fingerprint(type(bare(model)).__name__, _config(model), own_weights(model), family),
        sigmas=sigmas[:-1],
        closing_sigma=sigmas[-1],
        guidance=guidance,
        sigma_max=max(schedule.sigmas),
        sigma_at=schedule.sigma_at,
        influence=traits.influence and traits.influence[steps.start : steps.stop],
        one_a_step=schedule.falls,
        adds_noise=traits.adds_noise,
    )


def guidance_of(pipe: Any, name: str) -> float:
    """The CFG scale under which the component `name` of a pipeline is run, 1 without guidance.

    The "true CFG" of distilled models is not kept by pipelines: there it is the default of their call.
    """
    guider = getattr(pipe, "guider", None)
    if guider is not None:
        scale = getattr(guider, "guidance_scale", 1.0) if getattr(guider, "_enabled", True) else 1.0
    elif getattr(pipe, "do_classifier_free_guidance", False):
        second = getattr(pipe, "_guidance_scale_2", None) if name.endswith("_2") else None
        scale = getattr(pipe, "_guidance_scale", 1.0) if second is None else second
    else:
        scale = _default_of_true_cfg(type(pipe))
    return float(scale) if isinstance(scale, int | float) else 1.0


@lru_cache(maxsize=64)
def _default_of_true_cfg(kind: type) -> float | None:
    parameter = inspect.signature(kind.__call__).parameters.get("true_cfg_scale")
    return parameter and parameter.default


def own_weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """The model's parameters by name, without those of LoRAs. Sequential offloading keeps them elsewhere."""
    weights: dict[str, torch.Tensor] = {}
    for name, value in bare(model).named_parameters():
        parts = [part for part in name.split(".") if part not in (COMPILED, _ADAPTED)]
        if not any(part.startswith("lora_") for part in parts):
            kept = _offloaded(bare(model), name) if value.is_meta else value
            if kept is not None:
                weights[".".join(parts)] = kept
    return weights


def _offloaded(model: nn.Module, name: str) -> torch.Tensor | None:
    """A parameter that accelerate has put away."""
    path, _, own = name.rpartition(".")
    stored = getattr(getattr(model.get_submodule(path), "_hf_hook", None), "weights_map", None)
    return stored[own] if stored is not None and own in stored else None


def _config(model: nn.Module) -> dict[str, Any]:
    """The dimensions of a model: its configuration without what diffusers adds to it."""
    config: Mapping[str, Any] = getattr(bare(model), "config", {})
    return {name: value for name, value in dict(config).items() if not name.startswith("_")}


def _latent(arguments: Mapping[str, Any]) -> tuple[int, ...]:
    """Shape of the latent, or of its tokens where the pipeline packs it."""
    found = latent_of(arguments)
    found = found[0] if isinstance(found, list | tuple) and found else found
    return tuple(found.shape) if isinstance(found, torch.Tensor) else ()
