"""What must hold for every architecture. A new family is covered as soon as `zoo.EVERY` has a model of it."""

from __future__ import annotations

from typing import Any

import comfy.model_patcher
import pytest
import torch
from torch import nn

from magcache.comfyui.base_model import family_of
from magcache.comfyui.families import FAMILIES
from magcache.runtime.recorder import Recorder
from magcache.server.launch import NEWEST

from .runs import CountingPlan, WatchingPlan, blocks, cached, close, counted, evaluate, sample, steps
from .tiny import Tiny, hunyuan_video, noise
from .zoo import EVERY

REFINERS = {"noise_refiner", "context_refiner", "ref_image_refiner", "siglip_refiner"}
BESIDE = {
    "AceStepConditionGenerationModel": {"detokenizer.layers", "encoder.lyric_encoder.layers", "encoder.timbre_encoder.layers"},
    "ACEStepTransformer2DModel": {"lyric_encoder.encoders"},
    "BooguTransformer2DModel": REFINERS,
    "Chroma": {"distilled_guidance_layer.layers", "distilled_guidance_layer.norms"},
    "ChromaRadiance": {"distilled_guidance_layer.layers", "distilled_guidance_layer.norms", "nerf_blocks"},
    "GeneralDIT": {"t_embedder"},
    "HiDreamImageTransformer2DModel": {"caption_projection"},
    "HunyuanVideo": {"txt_in.individual_token_refiner.blocks"},
    "Kandinsky5": {"text_transformer_blocks"},
    "LatentSeqMMFlowModel": {"context_refiner", "noise_refiner", "repo_layers", "context_repo_layers", "noise_repo_layers"},
    "LensTransformer2DModel": {"txt_norm"},
    "NextDiT": REFINERS,
    "NextDiTPixelSpace": {*REFINERS, "dec_net.res_blocks"},
    "OmniGen2Transformer2DModel": REFINERS,
    "PidNet": {"pixel_blocks", "lq_proj.output_heads", "lq_proj.gate_modules"},
    "PixDiT_T2I": {"pixel_blocks"},
    "SingleStreamDiT": {"txtfusion.refiner_blocks", "txtfusion.layerwise_blocks"},
    "WanDancerModel": {"music_encoder"},
}
"""Lists of modules that are no part of the block stack, such as refiners of the text, and run at every step: by class of the model."""


def test_the_anchors_of_its_family_are_vectors_of_the_model(tiny: Tiny):
    """At least the three without which they would not count."""
    anchors, weights = family_of(tiny.model).anchors, dict(tiny.model.model.diffusion_model.named_parameters())
    found = [weights[name].ndim for name in anchors if name in weights]
    assert set(found) <= {1} and (len(found) >= 3 or not anchors)


def test_every_family_has_a_tiny_model(pytestconfig: pytest.Config):
    covered = {family_of(build().model).name for build in EVERY.values()}
    known = {family.name for family in FAMILIES}
    assert covered <= known
    if pytestconfig.getoption("--comfyui-version") == NEWEST:
        assert covered == known


@pytest.mark.parametrize("how", ["unwatched", "watched", "recorded"])
def test_computing_every_step_gives_the_very_same_picture(tiny: Tiny, how: str):
    more: dict[str, Any] = {"recorder": Recorder()} if how == "recorded" else {}
    model, log = cached(tiny.model, steps("cc", WatchingPlan) if how == "watched" else "cc", **more)
    assert torch.equal(sample(tiny, model, count=2, cfg=3.0), sample(tiny, count=2, cfg=3.0))
    assert log.decisions == ["cc"]
    assert (log.reports[0].residual_bytes > 0) == (how == "watched")


@pytest.mark.parametrize("batch", [1, 2])
def test_a_skipped_step_with_an_unchanged_input_changes_nothing(tiny: Tiny, batch: int):
    if tiny.single and batch > 1:
        pytest.skip("takes one row at a time")
    model, log = cached(tiny.model, steps("crcr", CountingPlan))
    with counted(blocks(tiny)[0]) as first, counted(blocks(tiny)[-1]) as last:
        seen = evaluate(tiny, model, 4, cfg=3.0, batch=batch)
    assert log.decisions == ["crcr"]
    with counted(blocks(tiny)[0]) as once:
        plain = evaluate(tiny, cfg=3.0, batch=batch)[0]
    assert once[0] == (2 if tiny.single else 1)
    assert first == last == [2 * once[0]], "the blocks must run for the two computed evaluations only"
    assert plain.std() > 0.01
    assert all(close(each, plain) for each in seen)


def test_no_list_of_blocks_runs_on_a_reused_step(tiny: Tiny):
    """A first list that the family leaves out would run, and be right: only slow."""
    if not family_of(tiny.model).blocks:
        pytest.skip("the model as a whole does not run")
    ran: set[str] = set()
    lists = [(path, found) for path, found in tiny.dit.named_modules() if isinstance(found, nn.ModuleList | nn.ModuleDict)]
    hooks = [entry.register_forward_hook(lambda *_, path=path: ran.add(path)) for path, found in lists for entry in found.children()]
    model, log = cached(tiny.model, steps("cr", CountingPlan))
    handle = tiny.dit.register_forward_pre_hook(lambda *_: ran.clear())  # What is left in the end is of the reused step.
    try:
        evaluate(tiny, model, 2)
    finally:
        for hook in (*hooks, handle):
            hook.remove()
    assert log.decisions == ["cr"]
    assert ran <= BESIDE.get(type(tiny.dit).__name__, set())


def test_two_runs_in_a_row_skip_alike(tiny: Tiny):
    model, log = cached(tiny.model, "crcr")
    once, again = sample(tiny, model, cfg=3.0), sample(tiny, model, cfg=3.0)
    assert log.decisions == ["crcr", "crcr"]
    assert torch.equal(once, again)
    plain = sample(tiny, cfg=3.0)
    assert not torch.equal(once, plain)
    assert (once - plain).std() < 0.5 * plain.std()


def test_batched_and_split_guidance_skip_alike(tiny: Tiny, monkeypatch: pytest.MonkeyPatch):
    model, log = cached(tiny.model, "crcr")
    with counted(blocks(tiny)[0]) as batched_calls:
        batched = sample(tiny, model, cfg=3.0)
    monkeypatch.setattr(comfy.model_patcher.ModelPatcher, "get_free_memory", lambda self, device: 0)
    with counted(blocks(tiny)[0]) as split_calls:
        split = sample(tiny, model, cfg=3.0)
    assert (batched_calls, split_calls) == ([4] if tiny.single else [2], [4])
    assert log.decisions == ["crcr", "crcr"]
    assert close(batched, split, max(1e-4, 1e-5 * float(split.abs().max())))


def test_without_guidance_the_decisions_are_the_same(tiny: Tiny):
    model, log = cached(tiny.model, "crcr")
    sample(tiny, model, cfg=1.0)
    sample(tiny, model, cfg=3.0)
    assert log.decisions == ["crcr", "crcr"]


def test_tokens_dropped_on_the_way_stood_in_front():
    """HunyuanVideo with a reference latent. (ComfyUI itself fails on it with more than one row, so there is no guidance here.)"""
    tiny = hunyuan_video()
    positive = tiny.conditioning(1, ref_latent=noise(1, 16, 1, 8, 8, seed=4))
    model, log = cached(tiny.model, steps("cr", CountingPlan))
    seen = evaluate(tiny, model, 2, positive=positive)
    assert log.decisions == ["cr"]
    assert close(seen[1], evaluate(tiny, positive=positive)[0])
    assert not close(seen[1], evaluate(tiny)[0], 1e-3)
