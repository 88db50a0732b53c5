"""The picture that stands for a workflow: its name, and its steps as bars, computed ones solid and reused ones outlined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import mul
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from tools.workflows.graph import Workflow
from tools.workflows.plans import Run

SIDE = 400
"""The frontend shows at most 256 pixels, of which a fine screen has more."""
_NIGHT, _RED, _PAPER, _GREY = "#16161d", "#e5383b", "#f5f3f4", "#a9a7b0"
_FINE = 4
"""Drawn so many times larger, for smooth edges."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 28, 372, 148, 300
_GAP = 12

Pictures = Sequence[npt.NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class Strip:
    """Steps that follow each other: a run, or the runs of two experts."""

    reused: tuple[bool, ...]
    heights: tuple[float, ...]
    """Size of the residual at each step, 1 for the largest."""


def strips(runs: Sequence[Run]) -> list[Strip]:
    """A run that goes on where the one before it ended belongs to the same strip."""
    joined: list[list[Run]] = []
    for run in runs:
        if joined and run.plan.sigmas[0] < joined[-1][-1].plan.sigmas[-1]:
            joined[-1].append(run)
        else:
            joined.append([run])
    return [_strip(each) for each in joined]


def caption(runs: Sequence[Run]) -> str:
    """The steps in letters, c computed and r reused: kept in the picture's file, to tell whether it is up to date."""
    return " ".join("".join("r" if reused else "c" for reused in strip.reused) for strip in strips(runs))


def thumbnail(workflow: Workflow, runs: Sequence[Run], pictures: Pictures = ()) -> Image.Image:
    """`pictures` that the workflow made take the place of the bars."""
    image = Image.new("RGB", (SIDE * _FINE, SIDE * _FINE), _NIGHT)
    pen = ImageDraw.Draw(image)
    size = min(46, 46 * (_RIGHT - _LEFT) / pen.textlength(workflow.title, _font(46)) * _FINE)
    _write(pen, (_LEFT, 78), workflow.title, size, _PAPER)
    _write(pen, (_LEFT, 112), workflow.about, 21, _GREY)
    if pictures:
        _hang(image, pictures)
    else:
        rows = strips(runs)
        height = (_BOTTOM - _TOP - _GAP * (len(rows) - 1)) / len(rows)
        for row, strip in enumerate(rows):
            _draw_steps(pen, strip, _TOP + row * (height + _GAP), height)
    _write_result(pen, strips(runs)[-1])
    return image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def save(image: Image.Image, runs: Sequence[Run], path: Path) -> None:
    image.save(path, quality=85, subsampling=0, optimize=True, comment=caption(runs))


def _strip(runs: Sequence[Run]) -> Strip:
    curve = runs[0].curve
    ratios = curve.ratios_at([sigma for run in runs for sigma in run.plan.sigmas], next(iter(curve.ratios)))
    residuals: list[float] = list(accumulate(ratios, mul))
    return Strip(tuple(reused for run in runs for reused in run.plan.reused), tuple(residual / max(residuals) for residual in residuals))


def _draw_steps(pen: ImageDraw.ImageDraw, strip: Strip, top: float, height: float) -> None:
    pitch = (_RIGHT - _LEFT) / (len(strip.reused) - 0.3)
    for step, (reused, high) in enumerate(zip(strip.reused, strip.heights, strict=True)):
        left = _LEFT + step * pitch
        box = (left, top + height * (1 - high), left + 0.7 * pitch, top + height)
        pen.rounded_rectangle(tuple(edge * _FINE for edge in box), 0.13 * pitch * _FINE, None if reused else _RED, _RED, round(1.2 * _FINE))


def _hang(image: Image.Image, pictures: Pictures) -> None:
    width = (_RIGHT - _LEFT - _GAP * (len(pictures) - 1)) / len(pictures)
    side = round(width * _FINE)
    for place, picture in enumerate(pictures):
        at = (round((_LEFT + place * (width + _GAP)) * _FINE), (_TOP - 10) * _FINE)
        image.paste(Image.fromarray(picture).resize((side, side), Image.Resampling.LANCZOS), at)


def _write_result(pen: ImageDraw.ImageDraw, strip: Strip) -> None:
    steps, computed = len(strip.reused), strip.reused.count(False)
    if computed == steps:
        _write(pen, (_LEFT, 366), f"{steps} steps", 46, _RED)
        _write(pen, (_RIGHT, 366), "measured", 21, _PAPER, "rs")
        return
    _write(pen, (_LEFT, 366), f"{steps / computed:.1f}x", 58, _RED)
    _write(pen, (_RIGHT, 342), f"{computed} of {steps} steps", 21, _PAPER, "rs")
    _write(pen, (_RIGHT, 366), "computed", 21, _PAPER, "rs")


def _write(pen: ImageDraw.ImageDraw, at: tuple[float, float], text: str, size: float, colour: str, anchor: str = "ls") -> None:
    pen.text((at[0] * _FINE, at[1] * _FINE), text, colour, _font(size), anchor)


def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size * _FINE)
