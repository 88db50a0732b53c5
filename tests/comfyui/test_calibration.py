"""Calibrating inside ComfyUI: the curve is right, is kept only when it is whole, and is found again."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import comfy.model_management
import pytest
import torch
from comfy.patcher_extension import WrappersMP

from magcache import euler_influence
from magcache.comfyui.curve_folders import curve_store
from magcache.comfyui.nodes.calibration import MagCacheCalibration
from magcache.comfyui.patch import MagCachePatch
from magcache.curves.curve import MagnitudeCurve
from magcache.curves.propagation import GROWING
from magcache.planning.plan import Reason
from magcache.planning.trials import trial_plans
from magcache.runtime.calibration_mode import CalibrationMode

from .runs import blocks, by_rule, counted, sample
from .test_patches import _lora as with_lora
from .tiny import Tiny


def calibrating(model: Any, model_type: str = "auto", name: str = "", average: bool = False, thorough: bool = False) -> Any:
    node: Any = MagCacheCalibration.PREPARE_CLASS_CLONE(None)
    return node.execute(model, model_type, name, average, thorough).args[0]


def saved(folder: Path) -> MagnitudeCurve:
    (path,) = folder.iterdir()
    assert path.suffix == ".json"
    return MagnitudeCurve.load(path)


@contextmanager
def _residuals(tiny: Tiny) -> Iterator[list[torch.Tensor]]:
    """The residual of each forward of the tiny Flux, seen without MagCache: what comes to the tail less what came to the first block."""
    first: list[torch.Tensor] = []
    seen: list[torch.Tensor] = []
    hooks = [
        blocks(tiny)[0].register_forward_pre_hook(lambda _, args, kwargs: first.append(kwargs["img"].clone()), with_kwargs=True),
        tiny.dit.final_layer.register_forward_pre_hook(lambda _, args: seen.append(args[0] - first[-1])),
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def test_the_saved_ratios_are_those_of_the_residuals(flux: Tiny, curves_folder: Path):
    with _residuals(flux) as residuals:
        plain = sample(flux, count=6, cfg=3.0, batch=2)
    assert torch.equal(sample(flux, calibrating(flux.model), count=6, cfg=3.0, batch=2), plain)

    curve = saved(curves_folder)
    assert (curve.family, curve.steps) == ("flux", 6)
    assert set(curve.ratios) == {"cond", "uncond"}
    sizes = torch.stack(residuals).norm(dim=-1)
    ratios = sizes[1:] / sizes[:-1]
    for branch, rows in (("uncond", slice(0, 2)), ("cond", slice(2, 4))):  # ComfyUI puts the negative first.
        assert curve.ratios[branch][0] == 1
        assert curve.ratios[branch][1:] == pytest.approx(ratios[:, rows].mean(dim=(1, 2)).tolist(), rel=1e-4)
    positive = torch.stack(residuals)[:, 2:].flatten(1).double()  # So few tokens that every number is sampled.
    products = positive @ positive.T
    recorded = torch.tensor(curve.products["cond", "cond"], dtype=torch.float64)
    assert torch.allclose(recorded / recorded[0, 0], products / products[0, 0], rtol=1e-3, atol=1e-3)


def test_auto_then_goes_by_it_also_with_a_lora(flux: Tiny, curves_folder: Path):
    sample(flux, calibrating(flux.model), count=10, cfg=3.0)
    name = saved(curves_folder).name
    for model in (flux.model, with_lora(flux.model)):
        skipping, log = by_rule(model, "auto", threshold=1)
        sample(flux, skipping, count=10, cfg=3.0)
        assert log.reports[0].label.curve == name
        assert log.reports[0].reused > 0


def test_auto_goes_by_the_calibration_of_this_model_only(flux: Tiny, curves_folder: Path, caplog: pytest.LogCaptureFixture):
    from .tiny import flux_schnell

    sample(flux, calibrating(flux.model), count=6)
    model, log = by_rule(flux_schnell().model, "auto", threshold=1)
    sample(flux_schnell(), model, count=6)
    assert log.reports[0].label.curve is None and log.reports[0].plan.reason is Reason.NO_CURVE


def test_the_published_curve_serves_a_run_of_which_a_calibration_covers_little(
    flux: Tiny, curves_folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(flux.model.model.model_config.unet_config, "hidden_size", 3072)  # Recognised as Flux dev.
    sample(flux, calibrating(flux.model), count=10, denoise=0.4)
    own = saved(curves_folder).name
    model, log = by_rule(flux.model, "auto", threshold=1)
    for denoise in (0.4, 1.0):
        sample(flux, model, count=10, denoise=denoise)
    assert [report.label.curve for report in log.reports] == [own, "flux"]


@pytest.mark.parametrize(
    ("model_type", "kind"), [("flux_calibration", "flux"), ("flux_kontext_calibration", "flux_kontext"), ("auto", "flux")]
)
def test_names_of_the_published_node_are_accepted(flux: Tiny, curves_folder: Path, model_type: str, kind: str):
    sample(flux, calibrating(flux.model, model_type), count=4)
    curve = saved(curves_folder)
    assert curve.name.startswith(f"{kind}-")
    assert curve.provenance["model"] == kind


def test_a_name_of_ones_own_is_kept_and_can_be_chosen(flux: Tiny, curves_folder: Path):
    sample(flux, calibrating(flux.model, name="  my-model "), count=4)
    assert saved(curves_folder).name == "my-model"
    assert "my-model" in curve_store().names()
    model, log = by_rule(flux.model, "my-model", threshold=1)
    sample(flux, model, count=4)
    assert log.reports[0].label.curve == "my-model"


@pytest.mark.parametrize("sampler", ["heun", "dpm_2", "uni_pc"])
def test_samplers_that_evaluate_more_than_once_a_step_calibrate_too(flux: Tiny, curves_folder: Path, sampler: str):
    sample(flux, calibrating(flux.model), count=6, sampler=sampler)
    assert saved(curves_folder).steps >= 6


def test_an_interrupted_calibration_saves_nothing(flux: Tiny, curves_folder: Path):
    def interrupt(step: int, *_: Any) -> None:
        if step == 4:
            comfy.model_management.interrupt_current_processing()

    with pytest.raises(comfy.model_management.InterruptProcessingException):
        sample(flux, calibrating(flux.model), count=8, callback=interrupt)
    assert list(curves_folder.iterdir()) == []


def test_of_too_few_steps_nothing_is_saved(flux: Tiny, curves_folder: Path, caplog: pytest.LogCaptureFixture):
    picture = sample(flux, calibrating(flux.model), count=2)
    assert torch.equal(picture, sample(flux, count=2)), "the picture is not lost"
    assert "at least 3" in caplog.text and list(curves_folder.iterdir()) == []


def test_of_a_run_that_was_seen_in_part_nothing_is_saved(flux: Tiny, curves_folder: Path, caplog: pytest.LogCaptureFixture):
    """Another node leaves the first block out from the middle on, where its tokens cannot be seen."""

    def left_out(args: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
        return extra["original_block"](args) if float(args["transformer_options"]["sigmas"][0]) > 0.5 else args

    model = flux.model.clone()
    model.set_model_patch_replace(left_out, "dit", "double_block", 0)
    picture = sample(flux, calibrating(model), count=12)
    assert "was last seen at sigma" in caplog.text and list(curves_folder.iterdir()) == []
    assert torch.equal(picture, sample(flux, model, count=12)), "the picture is not lost"


def test_it_says_where_the_curve_went(flux: Tiny, curves_folder: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, logger="magcache")
    sample(flux, calibrating(flux.model), count=4)
    assert [
        record for record in caplog.records if str(curves_folder) in record.getMessage() and "calibrated on 4 steps" in record.getMessage()
    ]
    assert not [record for record in caplog.records if record.name == "magcache" and record.levelno >= logging.WARNING]


def test_several_runs_are_averaged_only_if_asked_for(flux: Tiny, curves_folder: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, logger="magcache")
    first, second = flux.positive, flux.conditioning(seed=9)
    curves = []
    for positive in (first, second):
        sample(flux, calibrating(flux.model, name="mine"), count=6, cfg=3.0, positive=positive)
        curves.append(saved(curves_folder))
    assert curves[0].ratios != curves[1].ratios and "runs" not in curves[1].provenance
    sample(flux, calibrating(flux.model, name="mine", average=True), count=6, cfg=3.0, positive=first)
    mean = saved(curves_folder)
    assert mean.provenance["runs"] == 2 and "the mean of 2 runs" in caplog.text
    for one, two, both in zip(*(curve.ratios["cond"] for curve in (*curves, mean)), strict=True):
        assert both == pytest.approx((one + two) / 2)


def test_what_cannot_be_averaged_leaves_the_file_alone(flux: Tiny, curves_folder: Path, caplog: pytest.LogCaptureFixture):
    sample(flux, calibrating(flux.model, name="mine"), count=6)
    before = saved(curves_folder)
    sample(flux, calibrating(flux.model, name="mine", average=True), count=8)
    assert "cannot be averaged" in caplog.text and saved(curves_folder) == before


def test_a_thorough_calibration_samples_again_by_trial_plans_and_keeps_the_picture(flux: Tiny, curves_folder: Path):
    plain = sample(flux, count=12, cfg=3.0)
    with counted(blocks(flux)[0]) as calls:
        assert torch.equal(sample(flux, calibrating(flux.model, thorough=True), count=12, cfg=3.0), plain)
    curve = saved(curves_folder)
    plans = set(trial_plans(replace(curve, propagation=GROWING), curve.sigmas, guidance=3.0, influence=euler_influence(curve.sigmas)))
    assert calls == [12 + sum(plan.nfe for plan in plans)]
    assert curve.propagation.source == "measured" and len(curve.propagation.trials) == 1
    assert all(0 < error < 1 for error in curve.propagation.trials[0])
    assert torch.equal(sample(flux, count=12, cfg=3.0), plain), "nothing is left on the model"


def test_the_trials_of_several_thorough_calibrations_count_together(flux: Tiny, curves_folder: Path):
    for average in (False, True):
        sample(flux, calibrating(flux.model, average=average, thorough=True), count=12, cfg=3.0)
    assert len(saved(curves_folder).propagation.trials) == 2 and saved(curves_folder).provenance["runs"] == 2


@pytest.mark.parametrize("failure", [RuntimeError("out of memory"), comfy.model_management.InterruptProcessingException()])
def test_a_trial_that_fails_loses_neither_the_curve_nor_the_picture(flux: Tiny, curves_folder: Path, failure: Exception, caplog: Any):
    model, calls = calibrating(flux.model, thorough=True), [0]

    def fails_later(executor: Any, *args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        if calls[0] > 12:
            raise failure
        return executor(*args, **kwargs)

    model.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "fails", fails_later)
    if isinstance(failure, RuntimeError):
        with caplog.at_level(logging.ERROR):
            assert torch.equal(sample(flux, model, count=12), sample(flux, count=12))
        assert "could not run its trials" in caplog.text
    else:
        with pytest.raises(comfy.model_management.InterruptProcessingException):
            sample(flux, model, count=12)
    assert saved(curves_folder).propagation.source == "assumed"
    assert torch.isfinite(sample(flux, count=4)).all()


def test_the_cost_of_a_thorough_calibration_is_told_before_it_starts(flux: Tiny, curves_folder: Path):
    told: list[str] = []
    mode = CalibrationMode("auto", "", thorough=True)
    sample(flux, MagCachePatch(mode, lambda report, text: None, on_progress=told.append).attach(flux.model), count=12)
    assert "12 steps, then up to" in told[1]
    assert any(text.startswith("trial run 1: ") for text in told) and "by trials of 1 run" in told[-1]
