"""The same video with and without MagCache: how close they are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean

from ..reports.comparison import side_by_side
from ..reports.metrics import IDENTICAL_DB, Picture, psnr
from .generation import Frames

_GAIN = 8
"""How many times a difference is amplified to be seen."""


@dataclass(frozen=True, slots=True)
class Closeness:
    """How far a video is from its reference."""

    psnr: tuple[float, ...]
    """In dB, one a frame; higher is closer."""
    picture: Picture
    """The worst frame of both, and what differs."""

    @property
    def whole(self) -> float:
        """PSNR in dB of the videos as a whole. A mean over frames would count those that are equal too much."""
        errors = [0.0 if each == IDENTICAL_DB else 10 ** (-each / 10) for each in self.psnr]
        return -10 * math.log10(fmean(errors)) if any(errors) else IDENTICAL_DB

    @property
    def worst(self) -> int:
        """The frame with the lowest PSNR, from 0 on."""
        return self.psnr.index(min(self.psnr))


def compare(reference: Frames, frames: Frames) -> Closeness:
    """Frame by frame. Both have the same shape."""
    found = tuple(psnr(*pair) for pair in zip(reference, frames, strict=True))
    worst = found.index(min(found))
    return Closeness(found, side_by_side(reference[worst], frames[worst], _GAIN))
