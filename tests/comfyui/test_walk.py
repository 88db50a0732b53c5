"""Every model that ComfyUI can load: MagCache knows its class, or it is said here why not."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any
from unittest.mock import MagicMock, patch

import comfy.model_base
import comfy.supported_models
import pytest
import torch
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from comfy.model_base import BaseModel
from torch import nn

from magcache.comfyui.families import FAMILIES
from magcache.runtime.family import find_family
from magcache.server.launch import NEWEST

from .zoo import EVERY

NOT_SAMPLED = {
    "RTv4": "RT-DETR finds objects, in one forward",
    "SAM3Model": "Segment Anything marks objects, in one forward a picture",
    "DepthAnything3Net": "tells how far everything is, in one forward",
}
"""What ComfyUI loads like a diffusion model but never samples with."""


class _MetError(Exception):
    """Carries the class of the model that was about to be built."""


def _meet(self: BaseModel, model_config: Any, model_type: Any = None, device: Any = None, unet_model: type[nn.Module] = UNetModel) -> None:
    raise _MetError(unet_model)


class _Weights(dict[str, torch.Tensor]):
    """A file that has whatever one asks it for by name."""

    def __missing__(self, name: str) -> torch.Tensor:
        return torch.zeros(1, 1)


class _Dimensions(dict[str, Any]):
    def __missing__(self, name: str) -> int:
        return 4


def _by_configuration() -> Iterator[type[nn.Module]]:
    """What the kinds of models would build that ComfyUI tells apart."""
    for kind in comfy.supported_models.models:
        config = kind(_Dimensions(kind.unet_config))
        config.unet_config = _Dimensions(config.unet_config)
        try:
            config.get_model(_Weights(), "")
        except _MetError as met:
            yield met.args[0]
        else:
            raise AssertionError(f"{kind.__name__} builds its model in some other way.")


def _descendants(kind: type) -> Iterator[type]:
    yield kind
    for child in kind.__subclasses__():
        yield from _descendants(child)


def _by_base_model() -> Iterator[type[nn.Module]]:
    """What the classes around the models would build, whichever configuration leads to them."""
    for kind in set(_descendants(BaseModel)):
        if kind.__module__ != comfy.model_base.__name__:
            continue
        required = kind.__init__.__code__.co_argcount - len(kind.__init__.__defaults__ or ()) - 1
        try:
            kind.__init__(kind.__new__(kind), *(MagicMock() for _ in range(required)))
        except _MetError as met:
            yield met.args[0]


@cache
def walk() -> frozenset[type[nn.Module]]:
    """The classes of all models."""
    with patch.object(BaseModel, "__init__", _meet):
        return frozenset(_by_configuration()) | frozenset(_by_base_model())


def _names(kind: type[nn.Module]) -> set[str]:
    return {base.__name__ for base in kind.__mro__}


def _has_family(kind: type[nn.Module]) -> bool:
    return any(_names(kind) & set(family.classes) for family in FAMILIES)


@pytest.fixture
def newest(pytestconfig: pytest.Config) -> None:
    if pytestconfig.getoption("--comfyui-version") != NEWEST:
        pytest.skip("An older ComfyUI lacks models.")


def test_every_model_has_a_family_or_a_reason():
    unknown = {f"{kind.__module__}.{kind.__name__}" for kind in walk() if not _has_family(kind) and kind.__name__ not in NOT_SAMPLED}
    assert not unknown


@pytest.mark.usefixtures("newest")
def test_every_model_with_a_family_has_a_tiny_one_that_fits_it():
    """A subclass may lack a part that its base has, and two classes may have one name: only a model of the very class shows it."""
    dits = [build().dit for build in EVERY.values()]
    fitting = {type(dit) for dit in dits if find_family(FAMILIES, dit)}
    assert {kind for kind in walk() if _has_family(kind)} <= fitting


def test_a_model_has_a_family_or_a_reason_and_not_both():
    assert not {kind.__name__ for kind in walk() if _has_family(kind)} & NOT_SAMPLED.keys()


@pytest.mark.usefixtures("newest")
def test_no_reason_is_stale():
    assert NOT_SAMPLED.keys() <= {kind.__name__ for kind in walk()}


@pytest.mark.usefixtures("newest")
def test_every_class_of_a_family_exists():
    met = {name for kind in walk() for name in _names(kind)}
    assert {name for family in FAMILIES for name in family.classes} <= met


@pytest.mark.usefixtures("newest")
def test_no_fewer_models_than_are_promised():
    supported = [kind for kind in walk() if _has_family(kind)]
    assert len(supported) >= 45
