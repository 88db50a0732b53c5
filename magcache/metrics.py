"""How much two pictures differ, by scikit-image."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import skimage.metrics

_library: Any = skimage.metrics  # It has no types.
IDENTICAL_DB = 100.0
"""PSNR given to pictures that are equal, where the true value is infinite and would spoil a mean."""


def psnr(reference: npt.NDArray[np.uint8], picture: npt.NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio in dB of two pictures or videos (…, height, width, 3); higher is closer."""
    if np.array_equal(reference, picture):
        return IDENTICAL_DB
    return float(_library.peak_signal_noise_ratio(reference, picture, data_range=255))


def ssim(reference: npt.NDArray[np.uint8], picture: npt.NDArray[np.uint8]) -> float:
    """Structural similarity of two pictures (height, width, 3); 1 is the same."""
    return float(_library.structural_similarity(reference, picture, data_range=255, channel_axis=-1))
