"""What the demo tells of its result."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from magcache.demo.report import summary, write_report
from magcache.demo.run import DemoResult, DemoRow, TimedPictures
from magcache.reports.metrics import psnr

STEPS, NFE = 28, 11


def picture(seed: int, noise: float) -> np.ndarray:
    """A grey picture with some noise."""
    return np.clip(np.random.default_rng(seed).normal(128, noise, (32, 32, 3)), 0, 255).astype(np.uint8)


def way(noise: float, seconds: float, nfe: int) -> TimedPictures:
    return TimedPictures([picture(0, noise), picture(1, noise)], seconds, nfe)


def made(full: list[float], cached: list[float]) -> DemoResult:
    """A result with these seconds of each prompt."""
    times = zip(full, cached, strict=True)
    rows = [DemoRow(f"prompt {i}", i, way(0, a, STEPS), way(2, b, NFE), way(9, 0.5, NFE)) for i, (a, b) in enumerate(times)]
    report = {"decisions": ["compute"] * NFE + ["reuse"] * (STEPS - NFE), "sigmas": [0.5] * STEPS}
    return DemoResult(STEPS, 2.5, rows, report)


QUIET = made([2.0, 2.1, 1.9, 2.0, 2.0], [1.0, 1.0, 1.0, 0.8, 1.0])
BUSY = made([2.0, 4.0, 2.0, 6.0, 2.5], [1.0, 2.0, 1.0, 3.0, 1.0])


def test_the_speedup_is_the_median_of_paired_times_with_its_spread():
    facts = QUIET.to_json()
    assert facts["measured_speedup"] == 2.0  # Of the sums it would be 2.08.
    assert facts["middle_half_of_speedups"] == (2.0, 2.1)
    assert facts["seconds_per_run"] == {"full": 2.0, "cached": 1.0, "fewer": 0.5}
    assert facts["predicted_speedup"] == STEPS / NFE


def test_a_machine_that_gave_the_same_work_different_times_was_busy():
    assert not QUIET.busy and BUSY.busy
    one_slow = made([2.0, 2.1, 1.9, 9.0, 2.0], [1.0] * 5)
    assert not one_slow.busy  # The median does not see it either.


def test_the_summary_has_a_row_for_each_way_of_sampling():
    full, cached, fewer = summary(QUIET.to_json())
    assert (full["nfe"], full["speedup"], full["quality"]) == (STEPS, None, None)
    assert (cached["nfe"], cached["speedup"], fewer["nfe"], fewer["speedup"]) == (NFE, 2.0, NFE, 4.0)
    assert cached["quality"]["psnr_mean"] > fewer["quality"]["psnr_mean"]


@pytest.mark.parametrize("result", [QUIET, BUSY], ids=["quiet", "busy"])
def test_the_page_shows_every_picture_with_its_differences(result: DemoResult, tmp_path: Path):
    page = write_report(result, tmp_path / "report").read_text(encoding="utf-8")
    pictures = result.to_json()["pictures"]
    assert pictures == 10
    assert page.count("data:image/png") == 5 * pictures  # All steps, and twice a picture with its difference.
    shown = [float(each) for each in re.findall(r"<figcaption>([\d.]+) dB", page)]
    row = result.rows[0]
    expected = [psnr(row.full.pictures[0], other.pictures[0]) for other in (row.cached, row.fewer)]
    assert shown[:2] == pytest.approx(expected, abs=0.05)
    assert ("This machine was busy" in page) is result.busy
    assert json.loads((tmp_path / "report" / "result.json").read_text())["pictures"] == pictures


def test_the_overview_has_a_column_a_prompt_and_a_row_a_way(tmp_path: Path):
    result = replace(QUIET, rows=QUIET.rows * 4)
    write_report(result, tmp_path)
    assert Image.open(tmp_path / "overview.png").size == (8 * 36, 3 * 36)
