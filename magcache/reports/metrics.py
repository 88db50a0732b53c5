"""How much two pictures differ."""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.ndimage  # pyright: ignore[reportMissingTypeStubs]

from ..errors import PictureError
from ..texts import Text

Picture = npt.NDArray[np.uint8]
"""(height, width, channels), 0 to 255."""
_library: Any = scipy.ndimage
_Values = npt.NDArray[np.float64]

IDENTICAL_DB = 100.0
"""PSNR given to pictures that are equal, where the true value is infinite and would spoil a mean."""
_WINDOW = 7
"""SSIM compares squares of so many pixels on a side."""
_LPIPS_SMALLEST = 32
"""AlexNet's layers leave nothing of a picture with a shorter side."""


def psnr(reference: Picture, picture: Picture) -> float:
    """Peak signal-to-noise ratio in dB of two pictures or videos (…, height, width, channels); higher is closer."""
    error = float(np.mean(np.square(reference.astype(np.float64) - picture)))
    return 10 * math.log10(255**2 / error) if error else IDENTICAL_DB


def ssim(reference: Picture, picture: Picture) -> float:
    """Structural similarity of two pictures (Wang et al., 2004), the mean over their channels; 1 is the same.

    With even windows and unbiased (co)variances, which is scikit-image's default. Raises `PictureError` for tiny pictures.
    """
    if min(reference.shape[:2]) < _WINDOW:
        height, width = reference.shape[:2]
        raise PictureError(
            Text(
                "A picture is {width} × {height}; SSIM needs at least {least} × {least} pixels. Compare larger pictures.",
                width=width,
                height=height,
                least=_WINDOW,
            )
        )
    one, other = reference.astype(np.float64), picture.astype(np.float64)
    mean, other_mean = _window_mean(one), _window_mean(other)
    unbiased = _WINDOW**2 / (_WINDOW**2 - 1)
    variance = unbiased * (_window_mean(one * one) - mean * mean)
    other_variance = unbiased * (_window_mean(other * other) - other_mean * other_mean)
    covariance = unbiased * (_window_mean(one * other) - mean * other_mean)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    luminance = (2 * mean * other_mean + c1) / (mean * mean + other_mean * other_mean + c1)
    structure = (2 * covariance + c2) / (variance + other_variance + c2)
    return float(np.mean(luminance * structure))


def _window_mean(values: _Values) -> _Values:
    """The mean over every window that lies inside the picture."""
    inside = slice(_WINDOW // 2, -(_WINDOW // 2))
    return _library.uniform_filter(values, (_WINDOW, _WINDOW, 1))[inside, inside]


def lpips_here(side: int) -> Callable[[Picture, Picture], float] | None:
    """LPIPS (Zhang et al., 2018) of two pictures whose shorter side is `side`; lower is closer, 0 is the same.

    None unless the package `lpips` is installed and AlexNet's weights are in torch's cache: nothing is ever downloaded.
    """
    if side < _LPIPS_SMALLEST or importlib.util.find_spec("lpips") is None:
        return None
    import torch

    torchvision: Any = importlib.import_module("torchvision")
    weights = torchvision.models.AlexNet_Weights.IMAGENET1K_V1.url.rpartition("/")[2]
    if not (Path(torch.hub.get_dir()) / "checkpoints" / weights).is_file():
        return None
    lpips: Any = importlib.import_module("lpips")
    network = lpips.LPIPS(net="alex", verbose=False)

    def scaled(picture: Picture) -> torch.Tensor:
        return torch.tensor(rgb(picture)).permute(2, 0, 1)[None] / 127.5 - 1

    def distance(reference: Picture, picture: Picture) -> float:
        with torch.inference_mode():
            return float(network(scaled(reference), scaled(picture)))

    return distance


def difference(reference: Picture, picture: Picture, gain: int) -> Picture:
    """Where two pictures differ: `gain` times the absolute difference, cut off at white."""
    apart = np.abs(reference.astype(np.int32) - picture) * gain
    return np.minimum(apart, 255).astype(np.uint8)


def rgb(picture: Picture) -> Picture:
    """Three channels of a picture that may be grey or have transparency."""
    return np.repeat(picture, 3, axis=2) if picture.shape[2] < 3 else picture[..., :3]
