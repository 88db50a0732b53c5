"""A patch that acts before the blocks and within them finds no trace of a skipped forward (ComfyUI's ControlNet for Z-Image)."""

from __future__ import annotations

from typing import Any

import comfy.ops
import pytest
import torch
from comfy.model_patcher import CoreModelPatcher

from .runs import CountingPlan, cached, close, evaluate, sample, steps
from .tiny import CPU, Tiny, noise, randomised
from .zoo_more_images import z_image

controls = pytest.importorskip("comfy.ldm.lumina.controlnet")
node = pytest.importorskip("comfy_extras.nodes_model_patch")


class Vae:
    def encode(self, picture: torch.Tensor) -> torch.Tensor:
        return noise(1, 16, 8, 8, seed=7)

    def spacial_compression_encode(self) -> int:
        return 8


def controlled(tiny: Tiny) -> Any:
    """Z-Image with the real patch, a control of one layer for each block, and random weights."""
    layer = tiny.dit.layers[0].attention
    control = controls.ZImage_Control(
        dim=tiny.dit.dim, n_heads=layer.n_local_heads, n_kv_heads=layer.n_local_kv_heads, n_control_layers=30, refiner_control=True,
        dtype=torch.float32, device="cpu", operations=comfy.ops.disable_weight_init,
    )  # fmt: skip
    holder = CoreModelPatcher(randomised(control, 3), load_device=CPU, offload_device=CPU)
    patch = node.ZImageControlPatch(holder, Vae(), torch.zeros(1, 64, 64, 3), 1.0)
    model = tiny.model.clone()
    model.set_model_noise_refiner_patch(patch)
    model.set_model_double_block_patch(patch)
    return model


def test_the_control_of_a_computed_step_is_its_own():
    tiny = z_image()
    model = controlled(tiny)
    plain = evaluate(tiny, model)[0]
    assert not close(plain, evaluate(tiny)[0], 1e-3), "the control acts"
    skipping, log = cached(model, steps("crcrc", CountingPlan))
    seen = evaluate(tiny, skipping, 5)
    assert log.decisions == ["crcrc"] and not log.reports[0].disturbances
    assert all(torch.equal(each, plain) for each in seen[::2]) and all(close(each, plain) for each in seen)


def test_computed_steps_after_skipped_ones_see_the_present_picture(monkeypatch: pytest.MonkeyPatch):
    """What a skipped step leaves behind would belong to the picture of that step."""
    tiny = z_image()
    skipping, _ = cached(controlled(tiny), "crcc")
    left: list[Any] = []
    (patch,) = skipping.model_options["transformer_options"]["patches"]["double_block"]
    original = type(patch).__call__

    def watched(self: Any, options: dict[str, Any]) -> dict[str, Any]:
        if options.get("block_type") == "noise_refiner" and options["block_index"] == 0:
            left.append(self.temp_data)
        return original(self, options)

    monkeypatch.setattr(type(patch), "__call__", watched)
    sample(tiny, skipping)
    assert len(left) >= 4
    assert all(each is None or each[0] > 0 for each in left), "what was left is of a whole forward, so that it is made anew"
