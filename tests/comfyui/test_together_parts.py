"""Together with what looks at parts: windows of a video, regions and masks, references, batches, crops, ControlNets."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import nodes
import pytest
import torch
from comfy.model_patcher import ModelPatcher
from comfy_extras.nodes_context_windows import ContextWindowsManualNode
from comfy_extras.nodes_hooks import ConditioningSetDefaultAndCombine

from .runs import blocks, cached, close, counted
from .test_control import FakeControl
from .tiny import CPU, Tiny, chroma, flux_dev, hunyuan_video, noise, qwen_image, sd3, wan_i2v, wan_t2v
from .together import MOVING, Item, Put, as_it_is, assert_computes_alike, assert_reuses_rightly, draw, node, unharmed
from .zoo_unets import sd15, sd15_inpaint

LONG = (16, 7, 8, 8)
"""A video of several windows."""


def windows(schedule: str, *, closed: bool = False, freenoise: bool = False, split: bool = False) -> Put:
    def put(model: Any) -> Any:
        more = {"split_conds_to_windows": split}
        return ContextWindowsManualNode.execute(model, 4, 2, schedule, 2, closed, "pyramid", 2, freenoise, "", **more).args[0]

    return put


def three_texts(tiny: Tiny) -> dict[str, Any]:
    return {"positive": tiny.conditioning(1) + tiny.conditioning(3) + tiny.conditioning(4)}


def half(which: str, shape: tuple[int, int] = (64, 64)) -> torch.Tensor:
    mask = torch.zeros(1, *shape)
    mask[..., : shape[1] // 2] = 1.0
    return mask if which == "left" else 1 - mask


def masked(bounds: str, *seeds: int) -> Callable[[Tiny], dict[str, Any]]:
    """A text for each half."""

    def conds(tiny: Tiny) -> dict[str, Any]:
        texts = [
            nodes.ConditioningSetMask().append(tiny.conditioning(seed), half(which), bounds, strength)[0]
            for seed, which, strength in ((1, "left", 1.0), (3, "right", 0.7))
        ]
        return {"positive": [*texts[0], *texts[1], *tiny.conditioning(4)]}

    return conds


def with_default(tiny: Tiny) -> dict[str, Any]:
    """A text for the left half, and one for all that no text is for."""
    (left,) = nodes.ConditioningSetMask().append(tiny.conditioning(1), half("left"), "default", 1.0)
    return {"positive": ConditioningSetDefaultAndCombine().set_default_and_combine(left, tiny.conditioning(3))[0]}


def in_turn(tiny: Tiny) -> dict[str, Any]:
    """A text for each half of the picture, and another one for the right half in the second half of the run."""
    set_mask, set_range = nodes.ConditioningSetMask().append, nodes.ConditioningSetTimestepRange().set_range
    (left,) = set_mask(tiny.conditioning(1), half("left"), "default", 1.0)
    right = [set_mask(tiny.conditioning(seed), half("right"), "default", 1.0)[0] for seed in (3, 4)]
    return {"positive": [*left, *set_range(right[0], 0.0, 0.5)[0], *set_range(right[1], 0.5, 1.0)[0]]}


def with_reference(tiny: Tiny) -> dict[str, Any]:
    """References of the positive only, one after another of another size."""
    positive = tiny.positive
    for size in (8, 4):
        reference = {"samples": noise(1, 16, size, size, seed=size)}
        positive = node("nodes_edit_model", "ReferenceLatent").execute(positive, reference).args[0]
    return {"positive": positive}


def inpainted(tiny: Tiny) -> dict[str, Any]:
    """As InpaintModelConditioning writes it."""
    more = {"concat_latent_image": noise(1, *tiny.latent, seed=8), "concat_mask": half("left", (8, 8))[None]}
    return {"positive": tiny.conditioning(1, **more), "negative": tiny.conditioning(2, **more)}


def differential(strength: float) -> Put:
    return lambda model: node("nodes_differential_diffusion", "DifferentialDiffusion").execute(model, strength).args[0]


GRADED = torch.linspace(0, 1, 8).expand(1, 1, 8, 8)
WINDOWS = {
    "static windows": Item(wan_t2v, windows("standard_static"), size=LONG, decisions="ccc" + "rrr" * 4),
    "batched windows": Item(wan_t2v, windows("batched"), size=LONG, decisions="cc" + "rr" * 4),
    "windows with shuffled noise": Item(wan_t2v, windows("standard_static", freenoise=True), size=LONG, decisions="ccc" + "rrr" * 4),
    "looped windows": Item(wan_t2v, windows("looped_uniform", closed=True), size=LONG, decisions=MOVING),
    "open looped windows": Item(wan_t2v, windows("looped_uniform"), size=LONG, decisions=MOVING),
    "uniform windows": Item(wan_t2v, windows("standard_uniform"), size=LONG, decisions=MOVING),
    "windows with texts of their own": Item(
        wan_t2v, windows("standard_static", split=True), conds=three_texts, size=LONG, decisions="ccc" + "rrr" * 4
    ),
}
REGIONS = {
    "masks": Item(flux_dev, conds=masked("default")),
    "masks with bounds": Item(flux_dev, conds=masked("mask bounds")),
    "masks for a batch": Item(flux_dev, conds=masked("default"), batch=2),
    "masks on a U-Net": Item(sd15, conds=masked("mask bounds")),
    "a default text": Item(flux_dev, conds=with_default),
    "regions whose texts take turns": Item(flux_dev, conds=in_turn, decisions="crrcr"),
    "reference latents": Item(flux_dev, conds=with_reference),
    "inpainting": Item(flux_dev, mask=half("left", (8, 8))[None], varies=True),
    "inpainting by a model for it": Item(sd15_inpaint, conds=inpainted, mask=half("left", (8, 8))[None], varies=True),
    "a video from an image": Item(wan_i2v, mask=torch.ones(1, 1, 3, 8, 8).index_fill(2, torch.tensor([0]), 0.0), varies=True),
    "differential diffusion": Item(flux_dev, differential(1.0), mask=GRADED, varies=True, without=as_it_is),
    "weak differential diffusion": Item(flux_dev, differential(0.5), mask=GRADED, varies=True, without=as_it_is),
}
ITEMS = {**WINDOWS, **REGIONS}


@pytest.mark.parametrize("name", ITEMS)
def test_computing_everything_gives_the_very_same_picture(name: str):
    assert_computes_alike(ITEMS[name])


@pytest.mark.parametrize("name", ITEMS)
def test_a_reused_evaluation_gives_what_the_computed_one_gave(name: str):
    assert_reuses_rightly(ITEMS[name])


def ksampler(tiny: Tiny, model: Any, latent: dict[str, Any], **more: Any) -> torch.Tensor:
    """The KSampler node."""
    with torch.inference_mode():
        return nodes.common_ksampler(model, 1, 8, 3.0, "euler", "simple", tiny.positive, tiny.negative, latent, **more)[0]["samples"]


def test_each_picture_of_a_batch_is_the_one_of_its_own_seed(flux: Tiny):
    """As Latent From Batch takes one picture of a batch out, to draw it again."""
    batch = {"samples": torch.zeros(3, *flux.latent), "batch_index": [4, 0, 2]}
    model, log = cached(flux.model, "crrcrrcr")
    together = ksampler(flux, model, batch)
    for place in range(3):
        (single,) = nodes.LatentFromBatch().frombatch(batch, place, 1)
        assert close(ksampler(flux, model, single)[0], together[place], 1e-4)
    assert log.decisions == ["crrcrrcr"] * 4
    assert not close(together[0], together[1], 1e-2)


def test_crops_that_are_drawn_again_one_after_another_share_nothing(flux: Tiny):
    """As tiled upscaling draws tiles of one size, and a detailer what it found, with one patched model."""
    picture = noise(1, 16, 16, 16, seed=9)
    areas = [(0, 0, 8, 8), (0, 8, 8, 8), (8, 0, 8, 8), (4, 4, 8, 6), (2, 6, 4, 8), (0, 0, 8, 8)]
    crops = [{"samples": picture[..., y : y + h, x : x + w], "noise_mask": torch.ones(1, h, w)} for y, x, h, w in areas]
    model, log = cached(flux.model, "crrcrrcr")
    drawn = [ksampler(flux, model, crop, denoise=0.5) for crop in crops]
    assert log.decisions == ["crrcrrcr"] * len(crops)
    for crop, result in zip(crops, drawn, strict=True):
        assert torch.equal(result, ksampler(flux, cached(flux.model, "crrcrrcr")[0], crop, denoise=0.5))


class Control(FakeControl):
    """A ControlNet that adds the same to every block of a model, and counts how often it is asked."""

    def __init__(self, shapes: dict[str, tuple[int, ...]]) -> None:
        super().__init__()
        self.shapes = shapes

    def get_control(self, x_noisy: torch.Tensor, *_: Any) -> dict[str, list[torch.Tensor]]:
        self.calls += 1
        return {place: [noise(*shape, seed=7).clone() for _ in range(4)] for place, shape in self.shapes.items()}


CONTROLLED: dict[str, tuple[Callable[[], Tiny], dict[str, tuple[int, ...]]]] = {
    "flux": (flux_dev, {"input": (1, 16, 128), "output": (1, 16, 128)}),
    "chroma": (chroma, {"input": (1, 16, 128), "output": (1, 16, 128)}),
    "sd3": (sd3, {"output": (1, 16, 128)}),
    "qwen_image": (qwen_image, {"input": (1, 16, 128)}),
    "hunyuan_video": (hunyuan_video, {"input": (1, 48, 128), "output": (1, 48, 128)}),
    "sd1.5": (sd15, {"middle": (1, 128, 1, 1)}),
}


@pytest.mark.parametrize("name", CONTROLLED)
def test_a_controlnet_runs_on_computed_steps_only_and_its_work_is_reused(name: str):
    build, shapes = CONTROLLED[name]
    made: list[Control] = []

    def conds(tiny: Tiny) -> dict[str, Any]:
        made.append(Control(shapes))
        return {"positive": tiny.conditioning(1, control=made[-1], control_apply_to_uncond=True)}

    item, tiny = Item(build, conds=conds, plan="crrcr"), build()
    plain = draw(item, tiny, tiny.model)
    assert not torch.equal(plain, draw(Item(build), tiny, tiny.model)), "it must matter for this test to mean anything"
    assert_computes_alike(item)
    made.clear()
    with unharmed(tiny), counted(blocks(tiny)[0]) as calls:
        model, log = cached(tiny.model, item.plan)
        draw(item, tiny, model)
    assert log.decisions == [item.plan]
    assert [control.calls for control in made] == calls == [2]
    assert_reuses_rightly(item)


class ControlOfBlocks(torch.nn.Module):
    """In place of the ControlNet of DiffSynth, which a node puts into the blocks of Qwen-Image."""

    additional_in_dim = 0
    calls = 0

    def process_input_latent_image(self, latent: torch.Tensor) -> torch.Tensor:
        return noise(1, 16, 128, seed=7)

    def control_block(self, img: torch.Tensor, image: torch.Tensor, index: int) -> torch.Tensor:
        self.calls += 1
        return 0.1 * image + 0.01 * img


def test_a_controlnet_within_the_blocks_runs_on_computed_steps_only():
    tiny, control = qwen_image(), ControlOfBlocks()
    patch = ModelPatcher(control, CPU, CPU)
    vae = SimpleNamespace(encode=lambda image: noise(1, 16, 1, 8, 8), spacial_compression_encode=lambda: 8)
    apply = node("nodes_model_patch", "QwenImageDiffsynthControlnet")().diffsynth_controlnet

    def put(model: Any) -> Any:
        return apply(model, patch, vae, torch.zeros(1, 64, 64, 3), 1.0)[0]

    item = Item(lambda: tiny, put, plan="crrcr", without=as_it_is)
    assert_computes_alike(item)
    control.calls = 0
    draw(item, tiny, cached(put(tiny.model), item.plan)[0])
    assert control.calls == 2 * len(blocks(tiny))
    assert_reuses_rightly(item)
