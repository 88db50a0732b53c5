"""MagCache Report tells what the last run did; MagCache Compare measures as the libraries do."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import comfy.model_management
import comfy_extras.nodes_model_advanced
import folder_paths
import numpy as np
import pytest
import skimage.metrics
import torch
from comfy_execution.utils import CurrentNodeContext
from PIL import Image

from magcache.comfyui.curve_folders import curve_store
from magcache.comfyui.nodes import speed
from magcache.comfyui.nodes.calibration import MagCacheCalibration
from magcache.comfyui.nodes.compile import CompileModel
from magcache.comfyui.nodes.results import MagCacheCompare, MagCacheReport
from magcache.comfyui.patch import patch_of
from magcache.errors import PictureError
from magcache.reports import metrics
from magcache.reports.figure import HEIGHT, WIDTH, figure
from magcache.reports.run_report import RunReport

from .runs import cached, sample
from .test_patches import _lora as with_lora
from .tiny import Tiny, wan_t2v

Change = Callable[[Any], Any]


@pytest.fixture(autouse=True)
def previews(tmp_path: Path) -> Any:
    """Where the speed leave the pictures they show."""
    before = folder_paths.get_temp_directory()
    folder_paths.set_temp_directory(str(tmp_path / "temp"))
    yield tmp_path / "temp"
    folder_paths.set_temp_directory(before)


def prepared(node: Any) -> Any:
    """A node's class as ComfyUI runs it."""
    return node.PREPARE_CLASS_CLONE(None)


def report(model: Any, model_2: Any = None) -> tuple[torch.Tensor, str]:
    """What MagCache Report makes."""
    after = object()
    output = prepared(MagCacheReport).execute(model, after, model_2)
    picture, text, passed = output.args
    assert passed is after
    assert picture.dtype == torch.float32 and picture.shape[0] == 1 and picture.shape[2:] == (WIDTH, 3)
    (shown,) = output.ui["images"]
    assert np.array_equal(saved(shown), pixels(picture)), "the node shows the picture it gives"
    assert all(line in text for line in output.ui["text"][0].splitlines())
    return picture, text


def saved(shown: dict[str, str]) -> Any:
    return np.asarray(Image.open(Path(folder_paths.get_temp_directory()) / shown["filename"]))


def pixels(picture: torch.Tensor) -> Any:
    (only,) = picture
    return np.clip(255 * only.numpy(), 0, 255).astype(np.uint8)


def runs(model: Any) -> list[RunReport]:
    return [run for run, _ in patch.history] if (patch := patch_of(model)) else []


def auto(model: Any, **more: Any) -> Any:
    return prepared(speed.MagCacheAuto).execute(model, 2.0, **more).args[0]


# Report: the run


def test_a_report_tells_of_the_run_that_was(flux: Tiny):
    model, log = cached(flux.model, "ccrrcr")
    sample(flux, model, count=6, cfg=3.0)
    picture, text = report(model)
    headline, head, *rows = text.splitlines()
    assert headline.startswith(log.texts[0]) and "3 of only 6 steps" in headline
    assert head.split() == ["step", "sigma", "ratio", "error", "ms", "blocks"]
    assert [row.split()[-1] for row in rows] == ["computed", "computed", "reused", "reused", "computed", "reused"]
    assert [float(row.split()[1]) for row in rows] == pytest.approx([event.sigma for event in log.reports[0].events], abs=1e-4)
    assert [float(row.split()[-2]) for row in rows] == pytest.approx([spent * 1000 for spent in log.reports[0].seconds], abs=0.06)
    assert np.array_equal(pixels(picture), figure(log.reports[0]))


@pytest.mark.parametrize("node", ["MagCache", "MagCacheAuto"])
def test_it_shows_the_curve_that_was_planned_by(flux: Tiny, node: str):
    if node == "MagCache":
        model = prepared(speed.MagCache).execute(flux.model, "flux", 0.24, 0.1, 5).args[0]
    else:
        model = auto(flux.model, curve="flux")
    sample(flux, model, count=20)
    (run,) = runs(model)
    assert run.ratios == curve_store().load("flux", 20).mean_ratios_at(run.plan.sigmas)
    assert 0 < run.reused == run.plan.reused.count(True)
    assert report(model)[1].count(" reused\n") >= run.reused - 1


def test_the_last_run_counts(flux: Tiny):
    model, log = cached(flux.model, "crcrcr")
    sample(flux, model, count=4)
    first = report(model)[1]
    assert report(model)[1] == first, "asked again, as when the sampler's output was kept, it tells the same"
    sample(flux, model, count=6)
    assert runs(model) == [log.reports[1]]
    assert report(model)[1] != first


def test_an_interrupted_run_leaves_the_report_of_the_last_whole_one(flux: Tiny):
    def interrupt(*_: Any) -> None:
        comfy.model_management.interrupt_current_processing()

    model, log = cached(flux.model, "crcr")
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        sample(flux, model, callback=interrupt)
    assert "No sampling with this model has ended yet" in report(model)[1]
    sample(flux, model)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        sample(flux, model, callback=interrupt)
    assert runs(model) == log.reports and len(log.reports) == 1


def test_all_runs_of_a_prompt_are_told(flux: Tiny):
    """Two samplers with one model, such as a second pass for more detail."""
    model, log = cached(flux.model, "crcrcr")
    for prompt, counts in (("first", (5,)), ("second", (4, 6))):
        for count in counts:
            with CurrentNodeContext(prompt, "3"):
                sample(flux, model, count=count)
    assert runs(model) == log.reports[1:]
    picture, text = report(model)
    assert picture.shape[1] == 2 * HEIGHT
    assert [line.split(":")[0] for line in text.splitlines() if "computed · " in line] == ["run 1", "run 2"]


def test_of_many_runs_the_last_are_kept(flux: Tiny):
    model, log = cached(flux.model, "crcr")
    with CurrentNodeContext("tiles", "3"):
        for _ in range(7):
            sample(flux, model, count=2)
    assert runs(model) == log.reports[-4:]


def test_what_is_remembered_are_plain_values(flux: Tiny):
    model, _ = cached(flux.model, "crcr")
    sample(flux, model, cfg=3.0)
    assert len(pickle.dumps(runs(model))) < 2000, "no tensor, no model"


# Report: where it finds the run


@pytest.mark.parametrize(
    "change",
    [with_lora, lambda model: comfy_extras.nodes_model_advanced.ModelSamplingFlux().patch(model, 1.15, 0.5, 512, 512)[0]],
    ids=["LoRA", "model sampling"],
)
def test_it_is_found_when_other_nodes_follow(flux: Tiny, change: Change):
    model, log = cached(flux.model, "crcr")
    changed = change(model)
    sample(flux, changed)
    for asked in (model, changed):
        assert runs(asked) == log.reports
        assert "2 of 4 steps computed · 2 skipped" in report(asked)[1]


def test_it_is_found_behind_compile_model(flux: Tiny):
    model, log = cached(flux.model, "crcr")
    compiled = prepared(CompileModel).execute(model, "default", "eager", False, False).args[0]
    sample(flux, model)
    assert runs(compiled) == log.reports


def test_two_experts_are_told_in_one_report():
    high, low = wan_t2v(), wan_t2v(seed=1)
    first, of_first = cached(high.model, "crrr")
    second, of_second = cached(low.model, "ccrrcc")
    latent = sample(high, first, count=10, last_step=4, force_full_denoise=False)
    sample(low, second, count=10, start_step=4, latent=latent, add_noise=False)
    picture, text = report(first, second)
    assert picture.shape[1] == 2 * HEIGHT
    lines = [line for line in text.splitlines() if "computed · " in line]
    assert lines[0].startswith("model: " + of_first.texts[0])
    assert lines[1].startswith("model_2: " + of_second.texts[0])


def test_a_calibration_shows_the_curve_it_measured(flux: Tiny, curves_folder: Path):
    model = prepared(MagCacheCalibration).execute(flux.model, "auto", "mine").args[0]
    sample(flux, model, count=12, cfg=3.0)
    (run,) = runs(model)
    assert run.ratios == curve_store().load("mine", 12).mean_ratios_at(run.plan.sigmas)
    text = report(model)[1]
    assert text.startswith("calibrated on 12 steps, nothing skipped yet · saved ") and "raise" not in text
    assert text.count(" computed") == 12


def test_the_first_run_of_auto_is_a_calibration_and_the_second_skips(flux: Tiny):
    model = auto(flux.model)
    sample(flux, model, count=16, cfg=3.0)
    assert report(model)[1].startswith("calibrated on 16 steps")
    sample(flux, model, count=16, cfg=3.0)
    assert " · 8 of 16 steps computed · 8 skipped" in report(model)[1].splitlines()[0]


def test_a_run_that_skipped_nothing_says_why(flux: Tiny):
    model = auto(flux.model)
    sample(flux, model)
    assert report(model)[1].startswith("Nothing was skipped. There is no curve for this model (flux) yet, and a run of 4 steps is")


def test_without_magcache_it_says_what_to_do(flux: Tiny):
    sample(flux)
    assert "There is no MagCache on this model. Connect the model that comes out of a MagCache node." in report(flux.model)[1]
    off = prepared(speed.MagCacheAuto).execute(flux.model, 1.0).args[0]
    assert "switched off" in report(off)[1]


# Compare


def images(count: int = 1, height: int = 40, width: int = 48, *, noise: float = 0.0, channels: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(count)
    smooth = torch.linspace(0, 1, width)[None, None, :, None].expand(count, height, width, channels)
    wobble = torch.arange(1, count + 1)[:, None, None, None] * noise
    return (smooth + wobble * torch.randn(count, height, width, channels, generator=generator)).clamp(0, 1)


def in_8_bits(picture: torch.Tensor) -> Any:
    return np.clip(255 * picture.numpy(), 0, 255).astype(np.uint8)


def compare(reference: torch.Tensor, pictures: torch.Tensor, gain: int = 8) -> Any:
    return prepared(MagCacheCompare).execute(reference, pictures, gain)


def test_the_figures_are_those_of_the_metrics_and_of_scikit_image():
    one, other = images(noise=0.01), images(noise=0.05)
    _, text, psnr, ssim = compare(one, other).args
    pair = in_8_bits(one[0]), in_8_bits(other[0])
    assert (psnr, ssim) == (metrics.psnr(*pair), metrics.ssim(*pair))
    assert psnr == pytest.approx(skimage.metrics.peak_signal_noise_ratio(*pair, data_range=255))
    assert ssim == pytest.approx(skimage.metrics.structural_similarity(*pair, data_range=255, channel_axis=-1))
    assert text.splitlines()[:2] == [f"PSNR {psnr:.2f} dB", f"SSIM {ssim:.4f}"]


def test_of_a_video_the_means_are_given_and_the_worst_frame_is_shown():
    one, other = images(5), images(5, noise=0.02)
    output = compare(one, other)
    pictures, text, psnr, ssim = output.args
    each = [(metrics.psnr(*pair), metrics.ssim(*pair)) for pair in zip(map(in_8_bits, one), map(in_8_bits, other), strict=True)]
    assert (psnr, ssim) == (pytest.approx(np.mean([first for first, _ in each])), pytest.approx(np.mean([second for _, second in each])))
    assert each.index(min(each)) == 4
    assert f"worst {each[4][0]:.2f} dB (picture 5 of 5)" in text
    assert pictures.shape[0] == 5 and pictures.dtype == torch.float32
    (shown,) = output.ui["images"]
    assert np.array_equal(saved(shown), pixels(pictures[4:]))
    assert output.ui["text"] == (text,)


def test_the_difference_is_amplified_as_asked(flux: Tiny):
    one, other = images(height=300, width=280), images(height=300, width=280, noise=0.01)
    difference = np.abs(in_8_bits(one[0]).astype(int) - in_8_bits(other[0]))
    for gain in (1, 20):
        (picture,) = compare(one, other, gain).args[0]
        panel = in_8_bits(picture)[-304:-4, -282:-2]
        assert np.array_equal(panel, np.minimum(difference * gain, 255))


def test_equal_pictures_are_told_to_be_equal():
    _, text, psnr, ssim = compare(images(), images()).args
    assert (psnr, ssim) == (metrics.IDENTICAL_DB, pytest.approx(1.0)) and "The pictures are equal." in text


@pytest.mark.parametrize(
    ("other", "given"),
    [
        (images(3), "Given 3 pictures of 48 × 40 with 3 channels in 'images', expected 2 pictures of 48 × 40 with 3 channels"),
        (images(2, 40, 64), "Given 2 pictures of 64 × 40 with 3 channels"),
        (images(2, channels=4), "Given 2 pictures of 48 × 40 with 4 channels"),
    ],
    ids=["count", "size", "channels"],
)
def test_what_cannot_be_compared_is_refused_with_what_to_do(other: torch.Tensor, given: str):
    with pytest.raises(PictureError, match=given) as error:
        compare(images(2), other)
    assert "Make both with the same size and length" in str(error.value)


def test_a_comparison_can_be_interrupted():
    comfy.model_management.interrupt_current_processing()
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        compare(images(3), images(3))
