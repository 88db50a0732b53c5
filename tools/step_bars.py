"""Steps of a run as bars, as high as the residual of the step: computed steps are solid, reused ones are outlines.

The icon, the banner and the thumbnails of the example workflows are drawn with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from operator import mul

from PIL import ImageDraw

from magcache.curves.curve import MagnitudeCurve

NIGHT, RED, PAPER = "#16161d", "#e5383b", "#f5f3f4"
FINE = 4
"""Pictures are drawn this many times larger and then reduced, for smooth edges. Sizes are given in pixels of the reduced picture."""
_BAR, _CORNER = 0.7, 0.13
"""Width of a bar and radius of its corners, relative to the distance of two bars."""

Box = tuple[float, float, float, float]
"""Left, top, right and bottom."""


def residual_sizes(curve: MagnitudeCurve, sigmas: Sequence[float]) -> list[float]:
    """Size of the residual at each of `sigmas`, relative to the first, in the curve's first branch."""
    return list(accumulate(curve.ratios_at(sigmas, next(iter(curve.ratios))), mul))


def draw_steps(pen: ImageDraw.ImageDraw, box: Box, reused: Sequence[bool], sizes: Sequence[float], line: float) -> None:
    """Draw one bar a step into `box`. The largest of `sizes` takes the full height; `line` is the width of the outlines."""
    left, top, right, bottom = (FINE * edge for edge in box)
    pitch = (right - left) / (len(sizes) - 1 + _BAR)
    for step, (reuse, size) in enumerate(zip(reused, sizes, strict=True)):
        at, high = left + step * pitch, (bottom - top) * size / max(sizes)
        fill = None if reuse else RED
        pen.rounded_rectangle((at, bottom - high, at + _BAR * pitch, bottom), _CORNER * pitch, fill, RED, round(FINE * line))
