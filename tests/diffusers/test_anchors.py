"""The weights that tell one model from another are the same vectors in both hosts: diffusers' own conversions say so."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers.loaders.single_file_model import SINGLE_FILE_LOADABLE_CLASSES

from magcache.comfyui.families import FAMILIES as COMFYUI
from magcache.diffusers.families import FAMILIES
from magcache.runtime.family import Family

from .zoo import EVERY

COUNTED = ("double_blocks.0.x", "single_blocks.0.x", "joint_blocks.0.x_block.attn.x", "distilled_guidance_layer.layers.0.x")
"""Names of which the conversions read how many blocks there are."""


RENAMED = {
    "flux": ("y_norm.weight", "y_norm.scale"),
    "chroma": ("y_norm.weight", "y_norm.scale"),
    "hunyuan_video": ("img_attn.proj", "img_attn_proj"),
}
"""What the names of ComfyUI's modules have in the place of what those of the files have."""


class Checkpoint(dict[str, torch.Tensor]):
    """A file with a few weights, in which every other weight is found as well."""

    def __missing__(self, name: str) -> torch.Tensor:
        return torch.zeros(4, 4)

    def pop(self, name: str, *default: Any) -> Any:
        return super().pop(name) if name in self else (default or [torch.zeros(1).expand(21504)])[0]


def pairs() -> list[tuple[str, str]]:
    """Names of families and of their classes, for models of which both hosts know the anchors."""
    known = {family.name for family in COMFYUI if family.anchors}
    return [(family.name, name) for family in FAMILIES if family.anchors and family.name in known for name in family.classes]


def comfyui(name: str) -> Family:
    return next(family for family in COMFYUI if family.name == name)


def own(class_name: str) -> Family:
    return next(family for family in FAMILIES if class_name in family.classes)


@pytest.mark.parametrize(("name", "kind"), pairs())
def test_a_converted_checkpoint_has_the_anchors_in_their_order(name: str, kind: str):
    there, here = comfyui(name).anchors, own(kind).anchors
    assert len(there) == len(here)
    if kind not in SINGLE_FILE_LOADABLE_CLASSES:
        pytest.skip("diffusers has no conversion for it")
    weights = {anchor: torch.full((3072,), float(number)) for number, anchor in enumerate(there)}
    inside, in_file = RENAMED.get(name, ("", ""))
    found = {anchor.replace(inside, in_file): part for anchor, part in weights.items()}
    checkpoint = Checkpoint({**found, **dict.fromkeys(COUNTED, torch.zeros(1)), "pos_embed": torch.zeros(1, 4, 4)})
    converted = SINGLE_FILE_LOADABLE_CLASSES[kind]["checkpoint_mapping_fn"](checkpoint, config={})
    assert [float(converted[anchor][0]) for anchor in here if anchor in converted] == [
        number for number, anchor in enumerate(here) if anchor in converted
    ]


@pytest.mark.parametrize("name", EVERY)
def test_a_model_has_the_anchors_of_its_family(name: str):
    """As vectors: what has more dimensions is not the same in a quantised model."""
    model = EVERY[name].model
    weights, anchors = dict(model.named_parameters()), own(type(model).__name__).anchors
    found = [weights[anchor].ndim for anchor in anchors if anchor in weights]
    assert set(found) <= {1} and (len(found) >= 3 or not anchors)
