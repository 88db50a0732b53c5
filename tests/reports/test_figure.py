"""The picture of a run shows what the report holds: read back from its pixels."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from magcache.planning.plan import Plan
from magcache.reports import figure as drawing
from magcache.reports.figure import HEIGHT, WIDTH, figure, message
from magcache.reports.run_report import Event, RunLabel, RunReport

Pixels = np.ndarray
COLOURS = {"c": drawing._COMPUTED, "r": drawing._REUSED, "x": drawing._REFUSED, " ": drawing._PAPER}


def run(decisions: str, seconds: tuple[float, ...] | None = None, ratios: tuple[float, ...] | None = None) -> RunReport:
    """One letter a step: c computed, r reused, x planned to be reused but computed."""
    count = len(decisions)
    plan = Plan(tuple(1 - i / count for i in range(count)), tuple(letter in "rx" for letter in decisions), (0.0,) * count)
    events = tuple(Event(sigma, i, decisions[i] in "rx", decisions[i] == "r") for i, sigma in enumerate(plan.sigmas))
    spent = tuple(0.1 if letter == "r" else 0.4 for letter in decisions) if seconds is None else seconds
    found = tuple(1 - i / 50 for i in range(count)) if ratios is None else ratios
    return RunReport(RunLabel("skipping", "flux"), plan, events, spent, 0, found)


def is_colour(pixels: Pixels, colour: str) -> Pixels:
    wanted = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    return np.abs(pixels.astype(int) - wanted).max(axis=-1) <= 2


def slots(count: int) -> list[int]:
    """The column of each step's middle."""
    width = (drawing._RIGHT - drawing._LEFT) / count
    return [round(drawing._LEFT + (step + 0.5) * width) for step in range(count)]


def letters_along(pixels: Pixels, row: int, count: int) -> str:
    """Which colour each step has in a row of the picture."""
    found = ""
    for column in slots(count):
        found += next(letter for letter, colour in COLOURS.items() if is_colour(pixels[row, column], colour) or letter == " ")
    return found


def dot_rows(pixels: Pixels, decisions: str) -> list[float]:
    """The height of each step's dot on the curve, in rows from above."""
    panel = slice(200, 385)
    return [
        float(np.nonzero(is_colour(pixels[panel, column], COLOURS[letter]))[0].mean())
        for letter, column in zip(decisions, slots(len(decisions)), strict=True)
    ]


def bar_heights(pixels: Pixels, decisions: str) -> list[int]:
    foot = slice(430, drawing._FOOT)
    return [
        int(is_colour(pixels[foot, column], COLOURS[letter]).sum()) for letter, column in zip(decisions, slots(len(decisions)), strict=True)
    ]


def test_every_step_has_the_colour_of_what_was_done():
    decisions = "cccrrcrrxcrrrc"
    pixels = figure(run(decisions))
    assert pixels.shape == (HEIGHT, WIDTH, 3) and pixels.dtype == np.uint8
    assert letters_along(pixels, drawing._FOOT - 6, len(decisions)) == decisions
    assert all(np.isfinite(dot_rows(pixels, decisions)))


def test_dots_stand_as_high_as_the_ratios():
    ratios = (1.0, 1.2, 1.1, 1.0, 0.9)
    rows = dot_rows(figure(run("ccrcr", ratios=ratios)), "ccrcr")
    assert np.corrcoef(rows, ratios)[0, 1] < -0.999


def test_bars_are_as_long_as_the_times():
    seconds = (0.8, 0.4, 0.1, 0.4, 0.2)
    heights = bar_heights(figure(run("ccrcr", seconds)), "ccrcr")
    assert np.array(heights) / heights[1] == pytest.approx(np.array(seconds) / seconds[1], abs=0.05)


def test_a_slow_first_step_does_not_flatten_the_others():
    heights = bar_heights(figure(run("ccrcr", (40.0, 0.4, 0.1, 0.4, 0.1))), "ccrcr")
    assert heights[1] > 50 and heights[0] < 3 * heights[1]


@pytest.mark.parametrize("letters", ["c", "cr", "cx", "crx"])
def test_the_legend_names_what_there_is(letters: str):
    legend = figure(run(f"cc{letters}cc"))[125:150]
    assert {letter for letter in "crx" if is_colour(legend, COLOURS[letter]).any()} == set(letters)


def test_the_headline_differs_with_the_run():
    """Predicted and measured speed-up stand side by side, the measured one only if there is one."""
    speeds = (slice(30, 110), slice(640, WIDTH))
    measured, unmeasured = figure(run("crcr"))[speeds], figure(run("crcr", ()))[speeds]
    ink = [np.count_nonzero(picture.min(axis=-1) < 128) for picture in (measured, unmeasured)]
    assert ink[0] > 1.5 * ink[1] > 0
    assert figure(replace(run("cccc"), label=RunLabel("calibrating")))[speeds].min() == 255, "a calibration promises nothing"
    named = replace(run("cccc"), label=RunLabel("skipping", "calibration"))
    assert figure(named)[speeds].min() < 128, "a curve of that name is none"


@pytest.mark.parametrize("count", [1, 2, 4, 200, 1000])
@pytest.mark.parametrize("ratios", [None, ()])
def test_runs_of_any_length_can_be_drawn(count: int, ratios: tuple[float, ...] | None):
    report = run(("cr" * 500)[:count], ratios=ratios)
    assert figure(report, "run 1").shape == (HEIGHT, WIDTH, 3)
    assert figure(replace(report, seconds=())).shape == (HEIGHT, WIDTH, 3)


def test_a_long_name_does_not_run_into_the_figures():
    line = slice(80, 106), slice(drawing._HEAD_WIDTH + 26, 670)
    assert figure(replace(run("crcr"), label=RunLabel("skipping", "x" * 100)))[line].min() == 255


def test_a_message_is_wrapped():
    short, long = message("Nothing ran."), message("Nothing ran. " * 20)
    assert short.shape[1] == long.shape[1] == WIDTH and long.shape[0] > short.shape[0]
    assert long[:, -24:].min() == 255 and long.min() < 128


def labels(monkeypatch: pytest.MonkeyPatch, report: RunReport) -> list[tuple[float, str]]:
    """Where the times of bars that are cut off are written."""
    written: list[tuple[float, str]] = []
    plain = drawing.Canvas.text

    def text(self: drawing.Canvas, x: float, y: float, content: str, *more: object) -> None:
        if re.fullmatch(r"\d+ ms", content):
            written.append((x, content))
        plain(self, x, y, content, *more)

    monkeypatch.setattr(drawing.Canvas, "text", text)
    figure(report)
    return written


def test_times_of_bars_that_are_cut_off_do_not_overlap(monkeypatch: pytest.MonkeyPatch):
    seconds = [0.1] * 40
    seconds[20] = seconds[21] = seconds[22] = 0.9
    found = labels(monkeypatch, run("c" * 40, tuple(seconds)))
    assert [text for _, text in found] == ["900 ms", "900 ms"], "there is no room between them"
    assert found[0][0] < slots(40)[20] and found[1][0] > slots(40)[22]


def test_the_time_of_the_last_bar_is_within_the_picture(monkeypatch: pytest.MonkeyPatch):
    ((x, text),) = labels(monkeypatch, run("c" * 40, (*[0.1] * 39, 0.9)))
    assert text == "900 ms" and x + 12 * len(text) < slots(40)[39]
