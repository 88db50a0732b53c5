"""Pictures, or the frames of a video, beside a reference: figures, and pictures that show the difference."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from ..texts import ENGLISH, Language, Text, joined
from .canvas import Canvas
from .metrics import IDENTICAL_DB, Picture, difference, psnr, rgb, ssim
from .wording import BETWEEN

_PAPER, _INK = "#ffffff", "#1c2430"
_GAP = 4
"""Pixels between the pictures."""
_SMALLEST_SIDE = 256
"""Smaller pictures are enlarged to about so many pixels."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """How far pictures are from a reference, one figure for each."""

    psnr: tuple[float, ...]
    """In dB; higher is closer."""
    ssim: tuple[float, ...]
    """1 is the same."""
    lpips: tuple[float, ...] = ()
    """0 is the same; empty if it was not measured."""

    @classmethod
    def of(cls, pairs: Iterable[tuple[Picture, Picture]], lpips: Callable[[Picture, Picture], float] | None = None) -> Comparison:
        """Compare each picture with its reference, which is the first of its pair; `lpips` is what `metrics.lpips_here` gives."""
        rows = [(psnr(*pair), ssim(*pair), *((lpips(*pair),) if lpips else ())) for pair in pairs]
        return cls(*zip(*rows, strict=True))

    @property
    def worst(self) -> int:
        """The picture with the lowest PSNR, counted from 0."""
        return self.psnr.index(min(self.psnr))

    def to_json(self) -> dict[str, float]:
        return {
            "psnr_mean": fmean(self.psnr),
            "psnr_worst": min(self.psnr),
            "ssim_mean": fmean(self.ssim),
            "ssim_worst": min(self.ssim),
        }

    def text(self) -> Text:
        """A line for each figure; of several pictures the mean and the worst."""
        lines = [
            self._line("PSNR", self.psnr, min(self.psnr), 2, " dB"),
            self._line("SSIM", self.ssim, min(self.ssim), 4),
            self._line("LPIPS", self.lpips, max(self.lpips), 4) if self.lpips else Text("LPIPS not measured"),
        ]
        if min(self.psnr) == IDENTICAL_DB:
            lines.append(Text("The pictures are equal."))
        return joined(lines, "\n")

    def headline(self) -> Text:
        """The means, and how low the PSNR gets: as much as a node has room for."""
        mean, worst = fmean(self.psnr), min(self.psnr)
        figures = [
            Text("PSNR {mean:.2f} dB, worst {worst:.2f} dB", mean=mean, worst=worst) if len(self.psnr) > 1 else f"PSNR {mean:.2f} dB"
        ]
        figures.append(f"SSIM {fmean(self.ssim):.4f}")
        return joined([*figures, f"LPIPS {fmean(self.lpips):.4f}"] if self.lpips else figures, BETWEEN)

    def _line(self, name: str, values: Sequence[float], worst: float, digits: int, unit: str = "") -> str:
        if len(values) == 1:
            return f"{name} {worst:.{digits}f}{unit}"
        return Text(
            "{name} mean {mean}, worst {worst} (picture {place} of {count})",
            name=name,
            mean=f"{fmean(values):.{digits}f}{unit}",
            worst=f"{worst:.{digits}f}{unit}",
            place=values.index(worst) + 1,
            count=len(values),
        )


def side_by_side(reference: Picture, picture: Picture, gain: int, language: Language = ENGLISH) -> Picture:
    """Reference, picture and amplified difference, each under its name: in a row, wide ones in a column. Small ones are enlarged."""
    panels = (
        _captioned(Text("reference"), reference, language),
        _captioned(Text("picture · PSNR {psnr:.1f} dB", psnr=psnr(reference, picture)), picture, language),
        _captioned(Text("difference, {gain} times", gain=gain), difference(reference, picture, gain), language),
    )
    return np.concatenate(panels, axis=0 if reference.shape[1] > reference.shape[0] else 1)


def _captioned(caption: Text, picture: Picture, language: Language) -> Picture:
    enlarge = max(1, round(_SMALLEST_SIDE / min(picture.shape[:2])))
    picture = rgb(picture).repeat(enlarge, axis=0).repeat(enlarge, axis=1)
    width = picture.shape[1]
    size = min(width / 18, 36)
    strip = Canvas(width, 2 * round(0.9 * size), _PAPER, language.font)
    strip.text(width / 2, 0.9 * size, language.said(caption), size, _INK, "mm")
    framed = np.concatenate([strip.pixels(), picture])
    return np.pad(framed, ((0, _GAP), (_GAP // 2, _GAP // 2), (0, 0)), constant_values=255)
