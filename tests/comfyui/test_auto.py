"""Speed-up mode on real ComfyUI: a model calibrates itself, then reaches the speed-up with little error."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import comfy.sample
import comfy.sd
import folder_paths
import pytest
import torch
from comfy_extras.nodes_model_advanced import ModelSamplingAuraFlow

from magcache import MagnitudeCurve
from magcache.comfyui.curve_folders import curve_store
from magcache.comfyui.nodes import speed
from magcache.comfyui.nodes.preset import MagCachePreset
from magcache.comfyui.patch import MagCachePatch
from magcache.demo import world
from magcache.demo.run import CHECKPOINT
from magcache.errors import MagCacheError, ModelMismatchError
from magcache.planning.budget import evaluations_for
from magcache.runtime.calibration_mode import CalibrationMode
from magcache.runtime.modes import SpeedupMode
from magcache.settings import SpeedupSettings

from .runs import Log, sample
from .tiny import Tiny


def executed(model: Any, *values: Any) -> Any:
    node: Any = speed.MagCacheAuto.PREPARE_CLASS_CLONE(None)
    return node.execute(model, *values).args[0]


def auto(model: Any, speedup: float = 2.0, **more: Any) -> tuple[Any, Log]:
    log = Log()
    return MagCachePatch(SpeedupMode(speedup, **more), log.add).attach(model), log


def calibrating(model: Any, thorough: bool = False) -> Any:
    return MagCachePatch(CalibrationMode("auto", "", thorough=thorough), Log().add).attach(model)


def test_an_unknown_model_calibrates_itself_and_is_fast_from_the_second_run_on(flux: Tiny, curves_folder: Path):
    model, log = auto(flux.model)
    plain = sample(flux, count=16, cfg=3.0)
    first = sample(flux, model, count=16, cfg=3.0)
    assert torch.equal(first, plain) and log.decisions == ["c" * 16]
    (saved,) = curves_folder.glob("*.json")
    assert set(MagnitudeCurve.load(saved).products) == {("cond", "cond"), ("cond", "uncond"), ("uncond", "uncond")}
    sample(flux, model, count=16, cfg=3.0)
    assert log.reports[1].nfe == 8 and log.decisions[1].startswith("cc") and log.decisions[1].endswith("c")


def test_a_calibration_without_inner_products_is_made_anew(flux: Tiny, curves_folder: Path):
    sample(flux, calibrating(flux.model), count=16, cfg=3.0)
    (saved,) = curves_folder.glob("*.json")
    replace(MagnitudeCurve.load(saved), products={}).save(saved)
    model, log = auto(flux.model)
    sample(flux, model, count=16, cfg=3.0)
    assert log.reports[0].label.kind == "calibrating" and MagnitudeCurve.load(saved).products


@pytest.mark.parametrize(("count", "speedup"), [(17, 1.5), (18, 2.0), (20, 1.5), (20, 2.0), (20, 3.0)])
def test_another_step_count_keeps_the_speedup(flux: Tiny, count: int, speedup: float):
    sample(flux, calibrating(flux.model), count=16, cfg=3.0)
    model, log = auto(flux.model, speedup)
    sample(flux, model, count=count, cfg=3.0)
    assert log.reports[0].nfe == evaluations_for(count, speedup)


@pytest.mark.parametrize("sampler", ["heun", "dpmpp_2m", "uni_pc", "euler_ancestral", "dpm_2"])
def test_extrapolation_follows_every_sampler(flux: Tiny, sampler: str):
    sample(flux, calibrating(flux.model), count=16, cfg=3.0)
    model, log = auto(flux.model)
    result = sample(flux, model, count=16, cfg=3.0, sampler=sampler)
    assert torch.isfinite(result).all() and log.reports[0].reused > 0


def trained() -> Any:
    model = comfy.sd.load_diffusion_model(str(CHECKPOINT))
    return ModelSamplingAuraFlow().patch_aura(model, 3.0)[0]


def draw(model: Any, prompt: str, seed: int) -> torch.Tensor:
    """Latents of the demo's trained model."""
    latent = torch.zeros(1, world.LATENT_CHANNELS, world.SIDE // world.CELL, world.SIDE // world.CELL)
    texts = [torch.from_numpy(part)[None] for text in (prompt, "") for part in world.encode(text)]
    positive, negative = [[texts[0], {"pooled_output": texts[1]}]], [[texts[2], {"pooled_output": texts[3]}]]
    noise = comfy.sample.prepare_noise(latent, seed)
    return comfy.sample.sample(model, noise, 20, 2.5, "euler", "simple", positive, negative, latent, disable_pbar=True, seed=seed)


def test_on_a_trained_model_two_residuals_are_closer_to_the_plain_run_than_one():
    model = trained()
    draw(calibrating(model, thorough=True), "a pig on rose", 1)
    plain = draw(model, "a fox on mint", 2)
    apart, kept = {}, {}
    for reuse in ("hold", "extrapolate"):
        faster, log = auto(model, 2.0, reuse=reuse)
        apart[reuse] = (draw(faster, "a fox on mint", 2) - plain).square().mean()
        kept[reuse] = log.reports[0].residual_bytes
    assert apart["extrapolate"] < 0.5 * apart["hold"]
    assert kept["extrapolate"] == 2 * kept["hold"]


def test_a_run_of_few_steps_neither_calibrates_nor_skips(flux: Tiny, curves_folder: Path):
    model, log = auto(flux.model)
    sample(flux, model, count=4)
    assert log.decisions == ["cccc"] and not list(curves_folder.glob("*.json"))


def test_a_second_pass_over_less_of_the_schedule_does_not_replace_the_calibration(flux: Tiny, curves_folder: Path):
    model = calibrating(flux.model)
    sample(flux, model, count=16, cfg=3.0)
    (saved,) = curves_folder.glob("*.json")
    before = saved.read_text()
    sample(flux, model, count=16, cfg=3.0, denoise=0.4)
    assert saved.read_text() == before


def test_a_named_calibration_is_not_replaced_by_a_second_pass_either(flux: Tiny, curves_folder: Path):
    model = MagCachePatch(CalibrationMode("auto", "mine"), Log().add).attach(flux.model)
    sample(flux, model, count=16, cfg=3.0)
    before = (curves_folder / "mine.json").read_text()
    sample(flux, model, count=16, cfg=3.0, denoise=0.4)
    assert (curves_folder / "mine.json").read_text() == before
    assert len(list(curves_folder.glob("mine-below0.*.json"))) == 1


def test_each_half_of_a_split_schedule_calibrates_itself(flux: Tiny, curves_folder: Path):
    model, log = auto(flux.model)
    halves = {"last_step": 16, "force_full_denoise": False}, {"start_step": 16, "force_full_denoise": True}
    for _ in range(2):
        for half in halves:
            sample(flux, model, count=32, cfg=3.0, **half)
    assert len(list(curves_folder.glob("*.json"))) == 2
    assert [report.nfe for report in log.reports] == [16, 16, 8, 8]


def test_a_picture_is_not_lost_when_the_calibration_cannot_be_saved(flux: Tiny, curves_folder: Path, monkeypatch: pytest.MonkeyPatch):
    blocked = curves_folder / "file"
    blocked.write_text("in the way")
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "magcache", ([str(blocked)], set()))
    model, log = auto(flux.model)
    assert torch.equal(sample(flux, model, count=16), sample(flux, count=16))
    assert "could not be saved" in log.texts[0]


def test_a_published_curve_can_be_chosen(flux: Tiny):
    model, log = auto(flux.model, 2.0, curve="flux")
    sample(flux, model, count=14, cfg=3.0)
    assert log.reports[0].label.curve == "flux" and log.reports[0].nfe == 7


def test_the_window_is_left_alone(flux: Tiny):
    model, log = auto(flux.model, 1.3, curve="flux", start_percent=0.5)
    sample(flux, model, count=16)
    assert "r" in log.decisions[0] and "r" not in log.decisions[0][:8]


def test_speedup_one_leaves_the_model_untouched(flux: Tiny):
    assert executed(flux.model, 1.0) is flux.model


def test_speedup_zero_takes_what_was_tuned_for_the_models_curve(flux: Tiny, curves_folder: Path):
    sample(flux, calibrating(flux.model), count=16, cfg=3.0)
    (curve,) = curve_store().own_files()
    curve_store().save_preset(curve, SpeedupSettings(2.4, "hold", 0.0, 1.0))
    (automatic, log), (explicit, expected) = auto(flux.model, 0), auto(flux.model, 2.4, reuse="hold")
    assert torch.equal(sample(flux, automatic, count=16, cfg=3.0), sample(flux, explicit, count=16, cfg=3.0))
    assert log.reports[0].label.curve == curve and log.reports[0].label.tuned and log.reports[0].nfe == 6
    assert log.decisions == expected.decisions and expected.reports[0].label.curve == curve


def test_speedup_zero_without_a_preset_or_with_a_broken_one_is_a_middling_speedup(flux: Tiny, curves_folder: Path):
    model, log = auto(flux.model, 0)
    for _ in range(2):
        sample(flux, model, count=16, cfg=3.0)
    (curve,) = curve_store().own_files()
    (curves_folder / "presets").mkdir()
    (curves_folder / "presets" / f"{curve}.json").write_text("{")
    sample(flux, model, count=16, cfg=3.0)
    assert [report.nfe for report in log.reports] == [16, 8, 8] and log.reports[2].label.curve == curve


def test_what_is_set_on_the_node_limits_a_preset(flux: Tiny, curves_folder: Path):
    sample(flux, calibrating(flux.model), count=16, cfg=3.0)
    (curve,) = curve_store().own_files()
    curve_store().save_preset(curve, SpeedupSettings(1.5, "hold", 0.2, 1.0))
    model, log = auto(flux.model, 0, start_percent=0.5)
    sample(flux, model, count=16, cfg=3.0)
    assert "r" in log.decisions[0] and "r" not in log.decisions[0][:8]


def test_the_preset_node_keeps_settings_beside_the_curves(curves_folder: Path):
    MagCachePreset.execute("flux", 2.6, "scale", 0.1, 0.9)
    assert (
        curve_store().preset_of("flux")
        == SpeedupSettings(2.6, "scale", 0.1, 0.9)
        == SpeedupSettings.load(curves_folder / "presets" / "flux.json")
    )
    assert "flux" not in curve_store().own_files()


def test_a_preset_that_cannot_be_saved_is_explained(curves_folder: Path):
    (curves_folder / "presets").write_text("in the way")
    with pytest.raises(MagCacheError, match="could not be saved"):
        MagCachePreset.execute("flux", 2.6, "scale", 0.1, 0.9)


def test_a_foreign_curve_is_refused(flux: Tiny):
    with pytest.raises(ModelMismatchError, match="wan"):
        executed(flux.model, 2.0, "wan2.1_t2v_14B")
