"""A model that two processes run together is calibrated by both, and its curve is found and written by the first."""

from __future__ import annotations

from pathlib import Path

import pytest

from .launching import needs_fork, together

ROUNDING = 2e-6
pytestmark = needs_fork


@pytest.mark.parametrize(("name", "odd"), [("wan21_t2v", False), ("flux", True)])
def test_the_first_picture_calibrates_and_the_second_skips(name: str, odd: bool, tmp_path: Path):
    first, second = together("calibrating.pictures", name, str(tmp_path), odd)
    for result in (first, second):
        assert result["first"] == ("calibrating", 20 * "c")
        assert result["second"][0] == "skipping" and "r" in result["second"][1]
        assert result["apart"] < ROUNDING
    assert first["second"] == second["second"] and first["plan"] == second["plan"]
    assert first["file"] == first["file alone"] and first["curves apart"] < ROUNDING
    assert second["file"] is None, "the second process has written something"


def test_a_thorough_calibration_gives_all_the_same_curve(tmp_path: Path):
    first, second = together("calibrating.thorough", str(tmp_path))
    assert first["curve"] == second["curve"]
    assert first["errors apart"] < 1e-3
    assert first["saved"] and not second["saved"]
