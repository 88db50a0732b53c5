"""A run as a picture: the curve, what was planned and done, and the time of each step."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
import numpy.typing as npt

from ..texts import ENGLISH, Language, Text, joined
from .canvas import Canvas
from .run_report import RunReport, Step
from .wording import BETWEEN, counts, size_of
from .wrapping import wrapped

WIDTH, HEIGHT = 960, 680
_LEFT, _RIGHT = 96, 936
_HEAD_WIDTH = 600
"""What the speed-ups beside it leave for the line under the headline."""
_FOOT = 606
"""Where the panels end and the axis begins."""
_PAPER, _INK, _GREY, _RULE = "#ffffff", "#1c2430", "#5f6b7a", "#e3e7ec"
_COMPUTED, _REUSED, _REUSED_BAND, _REFUSED = "#2563a8", "#f08a24", "#fdf1e3", "#c62f3b"
_LARGE, _NUMBER, _TEXT = 34, 44, 22
"""Sizes of letters, to be read on a node that is half as wide as the picture."""
_WIDTH_OF_LETTER = 12
"""Of a label of size 20, in pixels; some are narrower."""
_TALLEST_BAR = 2.2
"""Longer bars than so many times a computed step, such as that of a first step, are cut off."""


def figure(report: RunReport, title: str = "", language: Language = ENGLISH) -> npt.NDArray[np.uint8]:
    """The run under its title: (HEIGHT, WIDTH, 3)."""
    canvas, steps = _Sheet(WIDTH, HEIGHT, language), report.outcomes()
    _head(canvas, title, report)
    _legend(canvas, steps)
    if report.ratios:
        _curve(canvas, steps, 204, 376)
    _bars(canvas, steps, 440 if report.ratios else 204, _FOOT)
    _axis(canvas, steps)
    return canvas.pixels()


def message(text: str, language: Language = ENGLISH) -> npt.NDArray[np.uint8]:
    """A picture that says `text` where there is no run to show: (height, WIDTH, 3)."""
    lines = wrapped(language.said(text), 72)
    canvas = _Sheet(WIDTH, 120 + 34 * len(lines), language)
    canvas.text(24, 58, Text("MagCache Report"), _LARGE, _INK)
    for number, line in enumerate(lines):
        canvas.text(24, 104 + 34 * number, line, _TEXT, _GREY)
    return canvas.pixels()


class _Sheet(Canvas):
    """A canvas whose texts are in one language."""

    def __init__(self, width: int, height: int, language: Language) -> None:
        super().__init__(width, height, _PAPER, language.font)
        self._language = language

    def text(self, x: float, y: float, text: str, size: float, colour: str, anchor: str = "ls") -> None:
        super().text(x, y, self._language.said(text), size, colour, anchor)

    def width_of(self, text: str, size: float) -> float:
        return super().width_of(self._language.said(text), size)

    def shortened(self, text: str, size: float, width: float) -> str:
        """`text`, cut off where it would be wider than `width`."""
        text = self._language.said(text)
        while self.width_of(text, size) > width:
            text = text[:-2] + "…"
        return text


@dataclass(frozen=True, slots=True)
class _Panel:
    """A part of the canvas with a scale: values from `low` at its bottom to `high` at its top, and a slot for each of `steps`."""

    canvas: _Sheet
    steps: int
    top: float
    bottom: float
    low: float
    high: float

    @property
    def slot(self) -> float:
        return (_RIGHT - _LEFT) / self.steps

    def x(self, step: float) -> float:
        return _LEFT + (step + 0.5) * self.slot

    def y(self, value: float) -> float:
        return self.bottom - (value - self.low) / (self.high - self.low) * (self.bottom - self.top)

    def frame(self, title: str, digits: int, steps: Sequence[Step]) -> None:
        """Title, scale, and a shade where steps were reused."""
        for step in steps:
            if step.reused:
                left = _LEFT + step.index * self.slot
                self.canvas.rectangle(left, self.top, left + self.slot, self.bottom, _REUSED_BAND)
        self.canvas.text(24, self.top - 18, title, _TEXT, _INK)
        for value in _ticks(self.low, self.high):
            self.canvas.line([(_LEFT, self.y(value)), (_RIGHT, self.y(value))], _RULE)
            self.canvas.text(_LEFT - 12, self.y(value), f"{value:.{digits}f}", 20, _GREY, "rm")


def _head(canvas: _Sheet, title: str, report: RunReport) -> None:
    canvas.text(24, 58, counts(report)[0], _LARGE, _INK)
    parts = [title, Text("measured this curve, nothing skipped") if report.label.kind == "calibrating" else report.label.text]
    if report.residual_bytes:
        parts.append(Text("{size} of memory", size=size_of(report.residual_bytes)))
    canvas.text(24, 98, canvas.shortened(joined(parts, BETWEEN), _TEXT, _HEAD_WIDTH), _TEXT, _GREY)
    right = _RIGHT
    if report.measured is not None:
        canvas.text(right, 66, f"{report.measured:.2f}x", _NUMBER, _INK, "rs")
        canvas.text(right, 98, Text("measured"), _TEXT, _GREY, "rs")
        right -= 160
    if report.label.kind != "calibrating":
        canvas.text(right, 66, f"{report.predicted:.2f}x", _NUMBER, _GREY, "rs")
        canvas.text(right, 98, Text("predicted"), _TEXT, _GREY, "rs")


def _colour(step: Step) -> str:
    return _REFUSED if step.refused else _REUSED if step.reused else _COMPUTED


def _legend(canvas: _Sheet, steps: Sequence[Step]) -> None:
    x = 32.0
    legend = (_COMPUTED, Text("computed")), (_REUSED, Text("skipped")), (_REFUSED, Text("computed, because skipping was not safe"))
    for colour, text in legend:
        if any(_colour(step) == colour for step in steps):
            canvas.dot(x, 137, 8, colour)
            canvas.text(x + 18, 137, text, _TEXT, _INK, "lm")
            x += 18 + canvas.width_of(text, _TEXT) + 36


def _curve(canvas: _Sheet, steps: Sequence[Step], top: float, bottom: float) -> None:
    """γ at every step."""
    ratios = [step.ratio for step in steps if step.ratio is not None]
    margin = max(0.1 * (max(ratios) - min(ratios)), 0.02)
    panel = _Panel(canvas, len(steps), top, bottom, min(*ratios, 1.0) - margin, max(*ratios, 1.0) + margin)
    panel.frame(Text("magnitude ratio: the change by a step, relative to the step before"), 2, steps)
    points = [(panel.x(step), panel.y(ratio)) for step, ratio in enumerate(ratios)]
    canvas.line(points, "#aeb8c4", 2)
    radius = min(7.0, 0.45 * panel.slot)
    for step, (x, y) in zip(steps, points, strict=True):
        canvas.dot(x, y, radius, _colour(step))


def _bars(canvas: _Sheet, steps: Sequence[Step], top: float, bottom: float) -> None:
    """What every step took, beside what a computed one takes."""
    spent = [0.0 if step.seconds is None else step.seconds for step in steps]
    if not any(spent):
        return
    full = median([seconds for step, seconds in zip(steps, spent, strict=True) if step.computed and seconds] or spent)
    unit, name, digits = (1000, "ms", 0) if full < 1 else (1, "s", 1 if full < 10 else 0)
    panel = _Panel(canvas, len(steps), top, bottom, 0, unit * min(max(spent) * 1.08, full * _TALLEST_BAR))
    some_reused = any(step.reused for step in steps)
    title = (
        Text("time of each step in {unit} (line: median of those computed)", unit=name)
        if some_reused
        else Text("time of each step in {unit}", unit=name)
    )
    panel.frame(title, digits if panel.high > 4 else 1, steps)
    side, cut_off = 0.38 * panel.slot, list[tuple[float, str]]()
    for step, seconds in zip(steps, spent, strict=True):
        value, x = seconds * unit, panel.x(step.index)
        canvas.rectangle(x - side, panel.y(min(value, panel.high)), x + side, bottom, _colour(step), min(3, side / 2))
        if value > panel.high:
            cut_off.append((x, f"{value:.{digits}f} {name}"))
    _label(canvas, cut_off, side + 6, top)
    if some_reused:
        canvas.line([(_LEFT, panel.y(full * unit)), (_RIGHT, panel.y(full * unit))], _INK, 1)


def _label(canvas: _Sheet, cut_off: Sequence[tuple[float, str]], apart: float, top: float) -> None:
    """Write beside bars that are cut off, each at its x, how long they took: on the side where there is room, if there is."""
    taken = [(x - apart, x + apart) for x, _ in cut_off]
    for x, text in cut_off:
        width = _WIDTH_OF_LETTER * len(text)
        for begin in (x + apart, x - apart - width):
            inside = begin >= _LEFT and begin + width <= WIDTH
            if inside and not any(begin < right and left < begin + width for left, right in taken):
                canvas.text(begin, top, text, 20, _GREY, "la")
                taken.append((begin, begin + width))
                break


def _axis(canvas: _Sheet, steps: Sequence[Step]) -> None:
    panel = _Panel(canvas, len(steps), 0, _FOOT, 0, 1)
    canvas.text(24, _FOOT + 24, Text("step"), 20, _GREY, "lm")
    canvas.text(24, _FOOT + 52, Text("noise"), 20, _GREY, "lm")
    apart = next(count for count in (1, 2, 5, 10, 20, 50, 100) if len(steps) / count <= 11 or count == 100)
    for step in range(0, len(steps), apart):
        canvas.text(panel.x(step), _FOOT + 24, f"{step}", 20, _INK, "mm")
        canvas.text(panel.x(step), _FOOT + 52, f"{steps[step].sigma:.3g}", 20, _GREY, "mm")
    canvas.line([(0, HEIGHT - 0.5), (WIDTH, HEIGHT - 0.5)], _RULE)


def _ticks(low: float, high: float) -> Iterator[float]:
    """Three to five round values between `low` and `high`."""
    wide = 10 ** math.floor(math.log10((high - low) / 2))
    step = next(wide * factor for factor in (5, 2, 1) if (high - low) / (wide * factor) >= 2)
    for number in range(math.ceil(low / step), math.floor(high / step) + 1):
        yield number * step
