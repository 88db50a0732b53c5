"""Drawing with Pillow, which every ComfyUI has: flat shapes and text with smooth edges."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

_FINER = 2
"""Everything is drawn so many times larger and made smaller at the end."""

Point = tuple[float, float]


class Canvas:
    """A picture of `width` × `height` pixels; places are in pixels from the upper left corner, colours as in CSS.

    Texts are in `font`, a file; else in Pillow's own font, which knows Latin letters, figures and little else: no ×, no Greek.
    """

    def __init__(self, width: int, height: int, colour: str, font: Path | None = None) -> None:
        self._file = font
        self._image = Image.new("RGB", (width * _FINER, height * _FINER), colour)
        self._draw = ImageDraw.Draw(self._image)

    def rectangle(self, left: float, top: float, right: float, bottom: float, colour: str, radius: float = 0) -> None:
        if right > left and bottom > top:
            box = [round(value * _FINER) for value in (left, top, right, bottom)]
            self._draw.rounded_rectangle((box[0], box[1], max(box[2] - 1, box[0]), max(box[3] - 1, box[1])), radius * _FINER, colour)

    def line(self, points: Sequence[Point], colour: str, width: float = 1) -> None:
        self._draw.line([(x * _FINER, y * _FINER) for x, y in points], colour, round(width * _FINER), "curve")

    def dot(self, x: float, y: float, radius: float, colour: str, edge: str | None = None, edge_width: float = 0) -> None:
        box = [value * _FINER for value in (x - radius, y - radius, x + radius, y + radius)]
        self._draw.ellipse(box, colour, edge, round(edge_width * _FINER))

    def text(self, x: float, y: float, text: str, size: float, colour: str, anchor: str = "ls") -> None:
        """`anchor` as Pillow has it: l, m or r across, then s (baseline), m (middle) or a (top) down."""
        self._draw.text((x * _FINER, y * _FINER), text, colour, self._font(size), anchor)

    def width_of(self, text: str, size: float) -> float:
        return self._draw.textlength(text, self._font(size)) / _FINER

    def _font(self, size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
        return ImageFont.truetype(self._file, size * _FINER) if self._file else ImageFont.load_default(size * _FINER)

    def pixels(self) -> npt.NDArray[np.uint8]:
        """(height, width, 3)."""
        return np.asarray(self._image.reduce(_FINER))
