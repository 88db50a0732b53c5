"""What ComfyUI's model patcher holds: the model itself, its family, and its weights as they were loaded."""

from __future__ import annotations

from typing import Any

import torch

from ..runtime.discovery import unknown_family
from ..runtime.family import Family, find_family
from ..runtime.fingerprint import fingerprint
from .families import FAMILIES

_COMPILED = "_orig_mod"
"""Where torch.compile keeps the module that it compiled."""


def bare(model: Any) -> Any:
    """The module that torch.compile compiled, or the module itself."""
    return getattr(model, _COMPILED, model)


def family_of(patcher: Any) -> Family:
    """The family of a model patcher's model; one that has its class as a name if it is not known."""
    model = bare(patcher.get_model_object("diffusion_model"))
    return find_family(FAMILIES, model) or unknown_family(model)


def fingerprint_of(patcher: Any) -> str:
    """The fingerprint of the model as it was loaded: LoRAs, merges and compiled blocks do not change it."""
    base = patcher.model
    model = bare(base.diffusion_model)
    return fingerprint(_class_name(model), base.model_config.unet_config, _own_weights(patcher, model), find_family(FAMILIES, model))


def _class_name(model: Any) -> str:
    """The class by which a family knows the model, which may be a base of its own; else its own."""
    known = {name for family in FAMILIES for name in family.classes}
    return next((base.__name__ for base in type(model).__mro__ if base.__name__ in known), type(model).__name__)


def _own_weights(patcher: Any, model: Any) -> dict[str, torch.Tensor]:
    """The model's parameters by name, without what is patched into them at the moment, by whichever workflow."""
    weights: dict[str, torch.Tensor] = {}
    for name, value in model.named_parameters():
        name = ".".join(part for part in name.split(".") if part != _COMPILED)
        kept = patcher.backup.get(f"diffusion_model.{name}")
        weights[name] = value if kept is None else kept.weight
    return weights
