"""What conditionings can do to an evaluation: other lengths, areas, parts of the run, windows, a second pass."""

from __future__ import annotations

from typing import Any

import comfy.context_windows
import comfy.model_patcher
import pytest
import torch
from comfy.patcher_extension import WrappersMP
from comfy_extras.nodes_slg import SkipLayerGuidanceDiT

from .runs import CountingPlan, PairCountingPlan, WatchingPlan, blocks, cached, close, counted, evaluate, sample, steps
from .tiny import Tiny, noise, wan_t2v

TOP = {"area": (4, 8, 0, 0), "strength": 1.0}
"""As ConditioningSetArea writes it, in latent cells: height, width, y, x."""
BOTTOM = {"area": (4, 8, 4, 0), "strength": 0.7}


def test_conditionings_of_different_length_run_apart_and_skip_together(tiny: Tiny):
    negative = tiny.conditioning(2, tokens=9)
    model, log = cached(tiny.model, steps("crcr", CountingPlan))
    with counted(blocks(tiny)[0]) as calls:
        seen = evaluate(tiny, model, 4, cfg=3.0, negative=negative)
    assert log.decisions == ["crcr"]
    assert calls[0] in (2, 4), "some families pad texts of different length into one batch"
    plain = evaluate(tiny, cfg=3.0, negative=negative)[0]
    assert all(close(each, plain) for each in seen)


@pytest.mark.parametrize("splits", [(False, True, False), (True, False, True)])
def test_guidance_may_be_batched_at_one_step_and_split_at_the_next(flux: Tiny, splits: tuple[bool, ...], monkeypatch: pytest.MonkeyPatch):
    """ComfyUI decides by the memory that is free at the moment."""
    free = iter(0 if split else 2**40 for split in splits for _ in range(1 + split))
    model, log = cached(flux.model, steps("crr", CountingPlan))
    plain = evaluate(flux, cfg=3.0)[0]
    with monkeypatch.context() as patch:
        patch.setattr(comfy.model_patcher.ModelPatcher, "get_free_memory", lambda self, device: next(free))
        seen = evaluate(flux, model, 3, cfg=3.0)
    assert next(free, None) is None, "each forward asks for the free memory once"
    assert log.decisions == ["crr"]
    assert all(close(each, plain) for each in seen)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("areas", [(TOP,), (TOP, BOTTOM), (TOP, TOP)])
def test_areas_keep_their_own_residuals(flux: Tiny, areas: tuple[dict[str, Any], ...], batch: int):
    """ComfyUI gives the negative an area conditioning with the very identifier of the positive's."""
    positive = flux.positive + [cond for seed, area in enumerate(areas) for cond in flux.conditioning(10 + seed, **area)]
    model, log = cached(flux.model, steps("crcr", CountingPlan))
    seen = evaluate(flux, model, 4, cfg=3.0, batch=batch, positive=positive)
    plain = evaluate(flux, cfg=3.0, batch=batch, positive=positive)[0]
    assert log.decisions == ["crcr"]
    assert all(close(each, plain) for each in seen)
    assert not close(plain, evaluate(flux, cfg=3.0, batch=batch)[0], 1e-2)


def test_areas_are_computed_bit_by_bit(flux: Tiny):
    positive = flux.positive + flux.conditioning(10, **TOP)
    model, _ = cached(flux.model, steps("cccc", WatchingPlan))
    assert torch.equal(sample(flux, model, cfg=3.0, positive=positive), sample(flux, cfg=3.0, positive=positive))


def test_a_conditioning_that_comes_in_mid_run_is_computed(flux: Tiny):
    positive = flux.conditioning(1, start_percent=0.0, end_percent=0.5) + flux.conditioning(3, start_percent=0.5, end_percent=1.0)
    model, log = cached(flux.model, "crrrrrrr")
    sample(flux, model, count=8, cfg=3.0, positive=positive)
    # At the very sigma of the change both texts take part, after it only the second: each composition is computed once.
    assert log.decisions == ["crrrccrr"], "nothing of the first text may serve the second"
    assert log.reports[0].refused == 2


def test_conditionings_that_come_and_go_compute_the_very_same_picture(flux: Tiny):
    positive = flux.conditioning(1, start_percent=0.0, end_percent=0.6) + flux.conditioning(3, start_percent=0.3, end_percent=1.0)
    model, _ = cached(flux.model, steps("c" * 8, WatchingPlan))
    assert torch.equal(sample(flux, model, count=8, cfg=3.0, positive=positive), sample(flux, count=8, cfg=3.0, positive=positive))


def _guided(model: Any) -> Any:
    return SkipLayerGuidanceDiT.execute(model, 3.0, 0.0, 1.0, double_layers="1", single_layers="0").args[0]


@pytest.mark.parametrize("cfg", [1.0, 3.0])
def test_a_second_pass_with_layers_left_out_keeps_its_own_residual(flux: Tiny, cfg: float):
    """Without guidance the two passes of a step differ in nothing but the blocks that are replaced."""
    model, log = cached(_guided(flux.model), steps("crcr", PairCountingPlan))
    seen = evaluate(flux, model, 4, cfg=cfg)
    plain = evaluate(flux, _guided(flux.model), cfg=cfg)[0]
    assert log.decisions == ["ccrrccrr"]
    assert all(close(each, plain) for each in seen)
    assert not close(plain, evaluate(flux, cfg=cfg)[0], 1e-2)


def test_a_second_pass_that_replaces_a_replaced_block_keeps_its_own_residual(flux: Tiny):
    patched = flux.model.clone()
    for kind, index in (("double_block", 1), ("single_block", 0)):
        patched.set_model_patch_replace(lambda args, extra: extra["original_block"](args), "dit", kind, index)
    model, log = cached(_guided(patched), steps("cr", PairCountingPlan))
    seen = evaluate(flux, model, 2)
    assert log.decisions == ["ccrr"]
    assert close(seen[1], evaluate(flux, _guided(flux.model))[0])


def _windowed(model: Any, schedule: str) -> Any:
    windows = comfy.context_windows
    model = model.clone()
    model.model_options["context_handler"] = windows.IndexListContextHandler(
        windows.get_matching_context_schedule(schedule), windows.get_matching_fuse_method("pyramid"), 4, 1, 1, False, dim=2
    )
    return model


def test_each_context_window_keeps_its_own_residual():
    wan = wan_t2v()
    tall = Tiny(wan.model, (16, 7, 8, 8), wan.width)
    model, log = cached(_windowed(tall.model, "standard_static"), steps("crcr", PairCountingPlan))
    seen = evaluate(tall, model, 4, cfg=3.0)
    plain = evaluate(tall, _windowed(tall.model, "standard_static"), cfg=3.0)[0]
    assert log.decisions == ["ccrrccrr"]
    assert all(close(each, plain) for each in seen)
    assert not close(plain, evaluate(tall, cfg=3.0)[0], 1e-2)


def test_windows_that_move_on_are_computed():
    wan = wan_t2v()
    windows: list[Any] = []

    def noting(executor: Any, *args: Any) -> Any:
        if (window := args[-1]["transformer_options"].get("context_window")) is not None:
            windows.append(tuple(window.index_list))
        return executor(*args)

    watching = _windowed(wan.model, "standard_uniform")
    watching.add_wrapper_with_key(WrappersMP.CALC_COND_BATCH, "test", noting)
    model, log = cached(watching, "crrr")
    start = noise(1, 16, 7, 8, 8, seed=9)
    sample(wan, model, latent=start)
    computed: set[Any] = set()
    for event, window in zip(log.reports[0].events, windows, strict=True):
        assert event.reused == (event.planned and window in computed)
        computed.add(window)
    assert log.reports[0].refused > 0 and log.reports[0].reused > 0, "or else this shows nothing"
    watched, _ = cached(_windowed(wan.model, "standard_uniform"), steps("cccc", WatchingPlan))
    assert torch.equal(sample(wan, watched, latent=start), sample(wan, _windowed(wan.model, "standard_uniform"), latent=start))
