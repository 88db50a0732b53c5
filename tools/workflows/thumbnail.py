"""The thumbnail of a workflow: its model and node, its steps as bars (or pictures that it made), and how many steps are computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from tools.step_bars import FINE, NIGHT, PAPER, RED, draw_steps, residual_sizes
from tools.workflows.graph import Workflow
from tools.workflows.plans import WorkflowRun

SIDE = 400
"""Width and height. The frontend shows 256 pixels at most; on a screen of high density these are more of the screen's own."""
_GREY = "#a9a7b0"
_LEFT, _RIGHT, _TOP, _BOTTOM = 28, 372, 152, 300
_GAP = 12
_NODES = {"MagCacheAuto": "MagCache Auto", "MagCache": "MagCache, published settings", "MagCacheCalibration": "MagCache Calibration"}
"""What is said of the node of a workflow."""

Pictures = Sequence[npt.NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class Strip:
    """A row of bars: the steps of a run, or of the successive runs of two experts."""

    reused: tuple[bool, ...]
    sizes: tuple[float, ...]
    """Size of the residual at each step, relative to the first."""


def strips(runs: Sequence[WorkflowRun]) -> list[Strip]:
    """The strips of a workflow. A run that continues the schedule of the run before it belongs to the same strip."""
    joined: list[list[WorkflowRun]] = []
    for run in runs:
        if joined and run.plan.sigmas[0] < joined[-1][-1].plan.sigmas[-1]:
            joined[-1].append(run)
        else:
            joined.append([run])
    return [_strip(each) for each in joined]


def caption(runs: Sequence[WorkflowRun]) -> str:
    """The steps as letters, c for computed and r for reused. The file keeps it as its comment, so that tests see whether it is outdated."""
    return " ".join("".join("r" if reused else "c" for reused in strip.reused) for strip in strips(runs))


def thumbnail(workflow: Workflow, runs: Sequence[WorkflowRun], pictures: Pictures = ()) -> Image.Image:
    """The thumbnail. `pictures` that the workflow made take the place of the bars."""
    image = Image.new("RGB", (SIDE * FINE, SIDE * FINE), NIGHT)
    pen = ImageDraw.Draw(image)
    size = min(46, 46 * (_RIGHT - _LEFT) / pen.textlength(workflow.name, _font(46)) * FINE)
    _write(pen, (_LEFT, 78), workflow.name, size, PAPER)
    _write(pen, (_LEFT, 108), workflow.about, 21, _GREY)
    _write(pen, (_LEFT, 134), next(_NODES[run.node.kind] for run in runs if run.node), 21, RED)
    if pictures:
        _hang(image, pictures)
    else:
        rows = strips(runs)
        height = (_BOTTOM - _TOP - _GAP * (len(rows) - 1)) / len(rows)
        for row, strip in enumerate(rows):
            top = _TOP + row * (height + _GAP)
            draw_steps(pen, (_LEFT, top, _RIGHT, top + height), strip.reused, strip.sizes, line=1.2)
    _write_result(pen, strips(runs)[-1])
    return image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def save(image: Image.Image, runs: Sequence[WorkflowRun], path: Path) -> None:
    """Write a thumbnail as a JPEG with its caption."""
    image.save(path, quality=85, subsampling=0, optimize=True, comment=caption(runs))


def _strip(runs: Sequence[WorkflowRun]) -> Strip:
    """The strip of successive runs."""
    sigmas = [sigma for run in runs for sigma in run.plan.sigmas]
    return Strip(tuple(reused for run in runs for reused in run.plan.reused), tuple(residual_sizes(runs[0].curve, sigmas)))


def _hang(image: Image.Image, pictures: Pictures) -> None:
    """Put pictures side by side where the bars would be."""
    width = (_RIGHT - _LEFT - _GAP * (len(pictures) - 1)) / len(pictures)
    side = round(width * FINE)
    for place, picture in enumerate(pictures):
        at = (round((_LEFT + place * (width + _GAP)) * FINE), (_TOP - 10) * FINE)
        image.paste(Image.fromarray(picture).resize((side, side), Image.Resampling.LANCZOS), at)


def _write_result(pen: ImageDraw.ImageDraw, strip: Strip) -> None:
    """The speed-up and the number of computed steps."""
    steps, computed = len(strip.reused), strip.reused.count(False)
    if computed == steps:
        _write(pen, (_LEFT, 366), f"{steps} steps", 46, RED)
        _write(pen, (_RIGHT, 366), "measured", 21, PAPER, "rs")
        return
    _write(pen, (_LEFT, 366), f"{steps / computed:.1f}x", 58, RED)
    _write(pen, (_RIGHT, 342), f"{computed} of {steps} steps", 21, PAPER, "rs")
    _write(pen, (_RIGHT, 366), "computed", 21, PAPER, "rs")


def _write(pen: ImageDraw.ImageDraw, at: tuple[float, float], text: str, size: float, colour: str, anchor: str = "ls") -> None:
    pen.text((at[0] * FINE, at[1] * FINE), text, colour, _font(size), anchor)


def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size * FINE)
