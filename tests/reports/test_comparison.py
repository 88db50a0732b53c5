"""Pictures beside a reference."""

from __future__ import annotations

from statistics import fmean

import numpy as np
import pytest

from magcache.reports.comparison import Comparison, side_by_side
from magcache.reports.metrics import Picture, difference, psnr, rgb, ssim


def noisy(level: int, height: int = 48, width: int = 48, channels: int = 3) -> Picture:
    """A grey picture with noise; 0 is plain grey."""
    rng = np.random.default_rng(level)
    return np.clip(128 + level * rng.integers(-1, 2, (height, width, channels)), 0, 255).astype(np.uint8)


def test_every_pair_is_measured_and_the_worst_is_found():
    pairs = [(noisy(0), noisy(level)) for level in (4, 20, 9)]
    compared = Comparison.of(iter(pairs), lpips=lambda one, other: float(other.std()))
    assert compared.psnr == tuple(psnr(*pair) for pair in pairs)
    assert compared.ssim == tuple(ssim(*pair) for pair in pairs)
    assert compared.lpips == tuple(pair[1].std() for pair in pairs)
    assert compared.worst == 1
    assert compared.to_json() == {
        "psnr_mean": fmean(compared.psnr),
        "psnr_worst": compared.psnr[1],
        "ssim_mean": fmean(compared.ssim),
        "ssim_worst": compared.ssim[1],
    }


def test_text_of_one_picture():
    assert Comparison((42.126,), (0.99534,), (0.01234,)).text() == "PSNR 42.13 dB\nSSIM 0.9953\nLPIPS 0.0123"
    assert Comparison.of([(noisy(0), noisy(0))]).text() == "PSNR 100.00 dB\nSSIM 1.0000\nLPIPS not measured\nThe pictures are equal."


def test_text_of_a_video_tells_the_mean_and_the_worst_of_each_figure():
    text = Comparison((40.0, 30.0, 35.0), (0.9, 0.8, 0.7), (0.1, 0.2, 0.6)).text()
    assert text == (
        "PSNR mean 35.00 dB, worst 30.00 dB (picture 2 of 3)\n"
        "SSIM mean 0.8000, worst 0.7000 (picture 3 of 3)\n"
        "LPIPS mean 0.3000, worst 0.6000 (picture 3 of 3)"
    )


def test_headline():
    assert Comparison((42.126,), (0.99534,)).headline() == "PSNR 42.13 dB · SSIM 0.9953"
    several = Comparison((40.0, 30.0), (0.9, 0.8), (0.1, 0.2)).headline()
    assert several == "PSNR 35.00 dB, worst 30.00 dB · SSIM 0.8500 · LPIPS 0.1500"


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(("height", "width"), [(300, 280), (300, 400)])
def test_the_three_pictures_are_all_there(height: int, width: int, channels: int):
    one, other = noisy(0, height, width, channels), noisy(5, height, width, channels)
    picture = side_by_side(one, other, 8)
    expected = [rgb(one), rgb(other), rgb(difference(one, other, 8))]
    framed_width = width + 4
    panels = np.split(picture, 3, axis=0) if width > height else np.split(picture, 3, axis=1)
    for panel, content in zip(panels, expected, strict=True):
        assert panel.shape[1] == framed_width
        assert np.array_equal(panel[-4 - height : -4, 2:-2], content)
        caption = panel[: -4 - height]
        assert 20 < caption.shape[0] < 80 and caption.min() < 60 and caption.max() == 255, "dark letters on white"


def test_small_pictures_are_enlarged_without_smoothing():
    one, other = noisy(0, 64, 64), noisy(9, 64, 64)
    panel = np.split(side_by_side(one, other, 1), 3, axis=1)[1][-4 - 256 : -4, 2:-2]
    assert np.array_equal(panel[::4, ::4], other) and np.array_equal(panel[3::4, 3::4], other)
