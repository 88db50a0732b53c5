"""The figures are those of the libraries that are trusted for them."""

from __future__ import annotations

import sys
from pathlib import Path

import lpips
import numpy as np
import pytest
import skimage.metrics
import torch
import torchvision

from magcache.errors import PictureError
from magcache.reports.metrics import IDENTICAL_DB, Picture, difference, lpips_here, psnr, ssim

WEIGHTS = torchvision.models.AlexNet_Weights.IMAGENET1K_V1.url.rpartition("/")[2]


def pictures(height: int = 40, width: int = 52, channels: int = 3) -> tuple[Picture, Picture]:
    """A smooth picture and one that is a little off."""
    rng = np.random.default_rng(height * width)
    rows, columns = np.mgrid[:height, :width]
    smooth = 128 + 90 * np.sin(rows / 7 + np.arange(channels)[:, None, None]) * np.cos(columns / 9)
    smooth = smooth.transpose(1, 2, 0)
    one, other = (np.clip(smooth + rng.normal(0, apart, smooth.shape), 0, 255).astype(np.uint8) for apart in (1, 12))
    return one, other


@pytest.mark.parametrize("size", [(40, 52), (7, 7), (8, 31)])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_they_agree_with_scikit_image(size: tuple[int, int], channels: int):
    one, other = pictures(*size, channels)
    assert psnr(one, other) == pytest.approx(skimage.metrics.peak_signal_noise_ratio(one, other, data_range=255), rel=1e-12)
    expected = skimage.metrics.structural_similarity(one, other, data_range=255, channel_axis=-1)
    assert ssim(one, other) == pytest.approx(expected, rel=1e-12)
    assert 0 < ssim(one, other) < 0.99


def test_a_video_has_one_psnr():
    one, other = (np.stack([picture, picture]) for picture in pictures())
    assert psnr(one, other) == pytest.approx(psnr(one[0], other[0]))


def test_equal_pictures():
    one, _ = pictures()
    assert (psnr(one, one), ssim(one, one)) == (IDENTICAL_DB, pytest.approx(1.0))
    assert not difference(one, one, 255).any()


def test_a_picture_smaller_than_the_window_is_refused():
    with pytest.raises(PictureError, match="A picture is 20 × 6; SSIM needs at least 7 × 7 pixels"):
        ssim(*pictures(6, 20))


def test_the_difference_is_amplified_and_cut_off():
    one = np.array([[[0, 100, 200]]], np.uint8)
    other = np.array([[[3, 90, 255]]], np.uint8)
    assert difference(one, other, 1).tolist() == [[[3, 10, 55]]]
    assert difference(other, one, 20).tolist() == [[[60, 200, 255]]]


@pytest.fixture
def torch_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where torch keeps weights: an empty folder. Nothing can be downloaded into it."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a download was tried")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def save_weights(folder: Path) -> None:
    """Weights of AlexNet's shapes; each tensor is one number, so that the file is small."""
    torch.manual_seed(0)
    shapes = {name: value.shape for name, value in torchvision.models.alexnet(weights=None).state_dict().items()}
    torch.save({name: (torch.randn(1) * 0.1).expand(shape) for name, shape in shapes.items()}, folder / WEIGHTS)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_lpips_is_that_of_its_library(torch_cache: Path):
    save_weights(torch_cache)
    measure = lpips_here(40)
    assert measure is not None
    one, other = pictures()
    with torch.inference_mode():
        expected = float(lpips.LPIPS(net="alex", verbose=False)(lpips.im2tensor(one), lpips.im2tensor(other)))
    assert expected > 0
    assert measure(one, other) == pytest.approx(expected, rel=1e-5)
    assert measure(one, one) == 0
    transparent, grey = np.dstack([one, one[..., :1]]), one[..., :1]
    assert measure(transparent, one) == 0
    assert measure(grey, np.repeat(grey, 3, axis=2)) == 0


def test_lpips_is_not_measured_without_weights_or_library(torch_cache: Path, monkeypatch: pytest.MonkeyPatch):
    assert lpips_here(512) is None, "no weights"
    save_weights(torch_cache)
    assert lpips_here(31) is None, "too small for the network"
    monkeypatch.setitem(sys.modules, "lpips", None)
    assert lpips_here(512) is None, "no library"
