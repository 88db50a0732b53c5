"""Every transformer of diffusers: MagCache knows its class, or it is said here why not."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import diffusers
from diffusers import ModelMixin
from diffusers.models import transformers

from magcache.diffusers.families import FAMILIES
from magcache.runtime.family import find_family

from .zoo import EVERY

NOT_SAMPLED = {
    "DreamLiteTransformer2DModel": "a part of a UNet",
    "HunyuanDiT2DControlNetModel": "a ControlNet: it makes samples for another transformer",
    "HunyuanDiT2DMultiControlNetModel": "several ControlNets",
    "LongCatAudioDiTVae": "an autoencoder",
    "MiniMaxMusic3RVQDepthDecoder": "predicts the codes of one frame of music after the other, without diffusion",
    "RFD4ProteinaTransformer": "makes proteins",
    "T5FilmDecoder": "turns notes into spectrograms, in a pipeline that diffusers has given up",
    "Transformer2DModel": "a part of UNets",
    "TransformerTemporalModel": "a part of UNets of video",
}
"""Classes that MagCache has no family for."""
LEAST = 60
"""How many classes are promised."""


def _exported() -> Iterator[tuple[str, type]]:
    for name in dir(diffusers):
        if "Transformer" in name or "DiT" in name:
            yield name, getattr(diffusers, name)
    for name in dir(transformers):
        yield name, getattr(transformers, name)


@cache
def walk() -> frozenset[type]:
    """The transformers, and what has a name like one."""
    return frozenset(kind for _, kind in _exported() if isinstance(kind, type) and issubclass(kind, ModelMixin))


def _has_family(kind: type) -> bool:
    names = {base.__name__ for base in kind.__mro__}
    return any(names & {*family.classes} for family in FAMILIES)


def test_every_transformer_has_a_family_or_a_reason():
    unknown = {f"{kind.__module__}.{kind.__name__}" for kind in walk() if not _has_family(kind) and kind.__name__ not in NOT_SAMPLED}
    assert not unknown


def test_a_class_has_a_family_or_a_reason_and_not_both():
    assert not {kind.__name__ for kind in walk() if _has_family(kind)} & NOT_SAMPLED.keys()


def test_a_class_has_one_family():
    """A class that another release lacks is no failure; one that two families claim is."""
    names = [name for family in FAMILIES for name in family.classes]
    assert len(names) == len({*names})


def test_every_transformer_with_a_family_has_a_tiny_one_that_fits_it():
    fitting = {type(case.model) for case in EVERY.values() if find_family(FAMILIES, case.model)}
    assert {kind for kind in walk() if _has_family(kind)} <= fitting


def test_no_reason_is_stale():
    """In a release that has every class that MagCache knows."""
    found = {kind.__name__ for kind in walk()}
    assert NOT_SAMPLED.keys() <= found or not {name for family in FAMILIES for name in family.classes} <= found


def test_no_fewer_classes_than_are_promised():
    assert len({name for family in FAMILIES for name in family.classes}) >= LEAST
