"""Which family a model is of: by its class and by the parts that it must have."""

from __future__ import annotations

from dataclasses import replace

import pytest
from torch import nn

from magcache.runtime.family import Family, ModelFacts, Stream, find_family, submodule

from .two_streams import FAMILY, Block, Model


class Finetune(Model):
    """A subclass, as packs for variants of a model define them."""


class Stranger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.heads = Model().trunk, Model().heads


def test_a_known_class_and_its_subclasses_fit():
    assert FAMILY.fits(Model()) and FAMILY.fits(Finetune())
    assert not FAMILY.fits(Stranger()), "the parts alone do not make a family"


def test_the_first_family_that_fits_is_found():
    other = replace(FAMILY, name="other", classes=("Stranger",))
    assert find_family([other, FAMILY], Finetune()) is FAMILY
    assert find_family([other, FAMILY], Stranger()) is other
    assert find_family([other], Model()) is None and find_family([], Model()) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"blocks": ("trunk.early", "trunk.missing")},
        {"blocks": ("early", "late")},
        {"blocks": ("trunk.early", "heads")},
        {"streams": (Stream("image", "heads.missing"),)},
        {"streams": (Stream("image", "image"),)},
        {"streams": (FAMILY.streams[0], Stream("sound", "heads.sound.deeper"))},
        {"streams": (Stream("image", ("heads.missing", "heads.absent")),)},
    ],
    ids=str,
)
def test_a_model_that_lacks_a_part_does_not_fit(changes: dict):
    assert not replace(FAMILY, **changes).fits(Model())


def test_a_model_without_a_stack_of_blocks_fits_by_its_class():
    assert replace(FAMILY, blocks=(), streams=()).fits(Model()) and not replace(FAMILY, blocks=(), streams=()).fits(Stranger())


def test_one_of_alternative_tails_is_enough():
    assert replace(FAMILY, streams=(Stream("image", ("heads.missing", "heads.image")),)).fits(Model())
    assert replace(FAMILY, streams=(Stream("image", None),)).fits(Model())


def test_a_block_list_may_be_empty_but_not_all_of_them():
    model = Model()
    model.trunk.early = nn.ModuleList()
    assert FAMILY.fits(model)
    model.trunk.late = nn.ModuleList()
    assert not FAMILY.fits(model)


def test_a_block_list_must_be_one():
    model = Model()
    model.trunk.late = Block(0)
    assert not FAMILY.fits(model)


def test_a_module_is_found_by_its_path():
    model = Model()
    assert submodule(model, "trunk.early.1") is model.trunk.early[1]
    assert submodule(model, "heads") is model.heads
    assert submodule(model, "trunk.early.7") is None and submodule(model, "trunk.nothing.deeper") is None
    assert submodule(model, "trunk.early.0.weight") is None, "a parameter is no module"


def test_a_family_refuses_nothing_unless_it_says_so():
    careful = replace(FAMILY, refuses=lambda options: "ar_state" in options)
    assert [careful.refuses(options) for options in ({}, {"ar_state": None})] == [False, True]
    assert [FAMILY.refuses(options) for options in ({}, {"ar_state": None})] == [False, False]


def test_a_family_knows_no_curve_unless_it_says_so():
    facts = ModelFacts({"dim": 64}, latent=(1, 16, 32, 48))
    named = Family("x", ("X",), (), (), identify=lambda facts: f"x{facts.config['dim']}" if facts.area > 1000 else None)
    assert (named.identify(facts), named.identify(ModelFacts({"dim": 64})), FAMILY.identify(facts)) == ("x64", None, None)


@pytest.mark.parametrize(("latent", "area"), [((1, 16, 32, 48), 1536), ((1, 16, 5, 32, 48), 1536), ((1, 128, 100), 0), ((), 0)])
def test_area(latent: tuple[int, ...], area: int):
    assert ModelFacts({}, latent=latent).area == area
