"""What a model is, whatever is patched on it at the moment: its family, its fingerprint, and the curves that are found by it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import comfy.lora
import comfy.model_management
import comfy.sd
import pytest
import torch
from comfy.patcher_extension import CallbacksMP
from comfy_api.torch_helpers import set_torch_compile_wrapper
from torch import nn

from magcache.comfyui.base_model import family_of, fingerprint_of
from magcache.comfyui.patch import MagCachePatch
from magcache.runtime.calibration_mode import CalibrationMode

from .runs import Log, by_rule, cached, sample
from .tiny import Tiny, flux_schnell, noise, sd3


def with_biases(model: Any) -> Any:
    """As Load LoRA leaves a model of which the LoRA also changes biases and norms."""
    names = [name for name, value in model.model.state_dict().items() if name.startswith("diffusion_model.") and value.ndim == 1]
    lora = {f"{name.removesuffix('.bias')}.diff_b": noise(*value.shape, seed=3) for name in names if name.endswith(".bias")
            for value in [model.model.state_dict()[name]]}  # fmt: skip
    patched, _ = comfy.sd.load_lora_for_models(model, None, lora, 1.0, 0.0)
    assert len(patched.patches) > 4
    return patched


def merged(model: Any) -> Any:
    """As ModelMergeSimple leaves two models."""
    result = model.clone()
    other = {
        name: (noise(*value.shape, seed=8),) for name, value in model.model.state_dict().items() if name.startswith("diffusion_model.")
    }
    result.add_patches(other, 0.1, 0.9)
    return result


@contextmanager
def compiled_blocks(model: Any) -> Iterator[Any]:
    """As a node leaves a model that compiles its blocks one by one and keeps them so."""
    result = model.clone()
    for index, block in enumerate(model.model.diffusion_model.double_blocks):
        result.add_object_patch(f"diffusion_model.double_blocks.{index}", torch.compile(block, backend="eager"))
    yield result
    comfy.model_management.unload_all_models()
    result.unpatch_model()


CHANGES = [with_biases, merged]


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_model_has_the_fingerprint_of_its_base_before_during_and_after_its_run(flux: Tiny, change: Callable[[Any], Any]):
    own, changed = fingerprint_of(flux.model), change(flux.model)
    assert fingerprint_of(changed) == own
    assert not torch.equal(sample(flux, changed), sample(flux)), "the change must matter for this test to mean anything"
    sample(flux, changed)  # Its patches are on the model now.
    assert fingerprint_of(changed) == fingerprint_of(flux.model) == own
    sample(flux)
    assert fingerprint_of(flux.model) == own != fingerprint_of(flux_schnell().model)


@pytest.mark.parametrize("change", CHANGES)
def test_a_calibration_serves_a_model_and_what_it_was_changed_to(flux: Tiny, curves_folder: Path, change: Callable[[Any], Any]):
    changed = change(flux.model)
    sample(flux, changed)  # Whoever sampled last has left patches on the model.
    sample(flux, MagCachePatch(CalibrationMode("auto", ""), Log().add).attach(flux.model), count=12)
    for model in (changed, flux.model, changed):
        skipping, log = by_rule(model, "auto", threshold=1)
        sample(flux, skipping, count=12)
        assert log.reports[0].reused > 0 and log.reports[0].label.curve == next(curves_folder.iterdir()).stem


def test_compiled_blocks_do_not_change_the_fingerprint(flux: Tiny):
    own = fingerprint_of(flux.model)
    with compiled_blocks(flux.model) as compiled:
        skipping, log = cached(compiled, "crcr")
        sample(flux, skipping)
        assert log.decisions == ["crcr"]
        assert fingerprint_of(compiled) == own
    whole = flux.model.clone()
    set_torch_compile_wrapper(whole, backend="eager")
    assert fingerprint_of(whole) == own


def test_a_model_is_told_by_its_own_architecture_after_another_was_in_its_place(flux: Tiny):
    """A pack that puts another model in place does so for its own runs only."""
    other = flux.model.clone()
    other.add_object_patch("diffusion_model", sd3().model.model.diffusion_model)
    comfy.model_management.load_models_gpu([other])
    try:
        model, log = cached(flux.model, "crcr")
        sample(flux, model)
        sample(flux, model)
        assert log.decisions == ["crcr"] * 2
    finally:
        comfy.model_management.unload_all_models()
        other.unpatch_model()


def test_a_model_whose_class_is_replaced_for_its_runs_is_what_it_is_while_it_runs(flux: Tiny):
    """Before a run nothing is known of it: what is decided then would be wrong."""
    kind = type(flux.dit)

    def become(new: type) -> Any:
        return lambda patcher: setattr(patcher.model.diffusion_model, "__class__", new)

    strange = type("Strange", (nn.Module,), {})
    model, log = cached(flux.model, "crcr")
    model.add_callback_with_key(CallbacksMP.ON_PRE_RUN, "test", become(kind))
    model.add_callback_with_key(CallbacksMP.ON_CLEANUP, "test", become(strange))
    become(strange)(model)
    try:
        sample(flux, model)
    finally:
        become(kind)(model)
    assert log.decisions == ["crcr"]


def test_a_subclass_of_a_known_class_is_known(flux: Tiny):
    model = flux.dit
    kind = type(model)
    own, family = fingerprint_of(flux.model), family_of(flux.model)
    model.__class__ = type("FasterFlux", (kind,), {})
    try:
        assert family_of(flux.model) is family is not None
        assert fingerprint_of(flux.model) == own
        skipping, log = cached(flux.model, "crcr")
        sample(flux, skipping)
        assert log.decisions == ["crcr"]
    finally:
        model.__class__ = kind
