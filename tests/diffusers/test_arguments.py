"""What families read off the arguments of a forward: references beside the picture, and keys and values that the blocks keep."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers.models.transformers import transformer_glm_image

from magcache.diffusers.families import FAMILIES
from magcache.runtime.family import Family

from .zoo import EVERY
from .zoo_images import places


def family_of(name: str) -> Family:
    return next(family for family in FAMILIES if name in family.classes)


@pytest.mark.parametrize(
    ("case", "seen"),
    [
        ("flux", []),
        ("flux, two rows", []),
        ("flux kontext", ["reference_latents"]),
        ("flux2", []),
        ("flux2 with a reference", ["reference_latents"]),
        ("longcat_image", []),
        ("qwen_image", []),
        ("qwen_image edit", ["reference_latents"]),
        ("sd3", []),
    ],
)
def test_references_are_seen_in_the_arguments(case: str, seen: list[str]):
    found = EVERY[case]
    assert [*family_of(type(found.model).__name__).inputs(found.arguments())] == seen


@pytest.mark.parametrize(
    ("ids", "seen"),
    [
        (places(2, frame=1), []),  # LongCat-Image counts from 1.
        (torch.cat([places(2, frame=1), places(2, frame=2)]), ["reference_latents"]),
        (places(2)[None].repeat(2, 1, 1), []),
        (torch.cat([places(2, columns=4), places(2, 10, 4)])[None].repeat(2, 1, 1), ["reference_latents"]),
        (places(2)[:0], []),
        (None, []),
    ],
)
def test_a_second_picture_is_known_by_its_number(ids: torch.Tensor | None, seen: list[str]):
    assert [*family_of("FluxTransformer2DModel").inputs({"img_ids": ids})] == seen


@pytest.mark.parametrize("shapes", [None, [], [(1, 4, 4)], [[(1, 4, 4)]], [[(1, 4, 4)], [(1, 4, 4)]]])
def test_shapes_of_a_single_picture_are_no_references(shapes: Any):
    assert [*family_of("QwenImageTransformer2DModel").inputs({"img_shapes": shapes})] == []


def test_a_forward_that_fills_a_cache_is_computed():
    for name in ("Flux2Transformer2DModel", "QwenImage21Transformer2DModel"):
        refuses = family_of(name).refuses
        assert [refuses({"kv_cache_mode": mode}) for mode in ("extract", "cached", None)] == [True, False, False]
        assert not refuses({})
    caches, refuses = transformer_glm_image.GlmImageKVCache(2), family_of("GlmImageTransformer2DModel").refuses
    assert not refuses({}) and not refuses({"kv_caches": None}) and not refuses({"kv_caches": caches})
    for mode in ("write", "read", "skip"):
        caches.set_mode(mode)
        assert refuses({"kv_caches": caches}) == (mode == "write")
