"""How much two pictures differ, by scikit-image."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

IDENTICAL_DB = 100.0
"""PSNR given to pictures that are equal, where the true value is infinite and would spoil a mean."""


def psnr(reference: npt.NDArray[np.uint8], picture: npt.NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio in dB of two pictures (height, width, 3); higher is closer."""
    if np.array_equal(reference, picture):
        return IDENTICAL_DB
    measure: Any = peak_signal_noise_ratio
    return float(measure(reference, picture, data_range=255))


def ssim(reference: npt.NDArray[np.uint8], picture: npt.NDArray[np.uint8]) -> float:
    """Structural similarity of two pictures (height, width, 3); 1 is the same."""
    measure: Any = structural_similarity
    return float(measure(reference, picture, data_range=255, channel_axis=-1))
