"""Models whose tokens are divided between two processes: they skip the same steps as one process, with the same result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .launching import needs_fork, together

ROUNDING = 2e-6
pytestmark = needs_fork


def check(results: list[dict[str, Any]]) -> None:
    """Skipping changes the output, dividing does not, and each process keeps half of the residual."""
    for result in results:
        assert result["skipping changes"] > 1e-2
        assert result["apart"] < ROUNDING
        assert result["bytes"] * 2 == result["bytes alone"]


def check_pipeline(results: list[dict[str, Any]]) -> None:
    check(results)
    for result in results:
        assert result["steps"] == result["seen"] == result["steps alone"] and "r" in result["steps"]
        assert result["same plan"] and not result["disturbed"]


@pytest.mark.parametrize("name", ["flux", "flux2", "qwen_image", "wan21_t2v", "wan22_unipc"])
def test_a_divided_pipeline_gives_what_one_process_gives(name: str, tmp_path: Path):
    check_pipeline(together("divided.pipeline", name, str(tmp_path)))


def test_the_processes_may_have_different_numbers_of_tokens(tmp_path: Path):
    check_pipeline(together("divided.pipeline", "flux", str(tmp_path), True))


def test_a_class_that_is_not_known_may_be_divided_at_its_first_block(tmp_path: Path):
    check_pipeline(together("divided.pipeline", "wan21_t2v", str(tmp_path), False, True))


@pytest.mark.parametrize("name", ["ltxv", "chronoedit", "minimax_h3", "wan_i2v", "wan_given_frame"])
def test_a_skip_of_a_divided_model_gives_what_one_process_gives(name: str):
    check(together("divided.skip", name))


def test_all_compute_if_the_check_fails_in_one_process(tmp_path: Path):
    """A process that skipped alone would leave the other one waiting in its next block."""
    for result in together("divided.failing_check", str(tmp_path), seconds=20):
        assert result == {"steps": 12 * "c", "disturbances": ["NOT_REPRODUCED"]}


def test_an_error_of_the_first_process_is_raised_in_all(tmp_path: Path):
    first, second = together("divided.unknown_curve", str(tmp_path), seconds=20)
    assert first.startswith("There is no curve named 'mine'") and first.endswith("(UnknownCurveError)")
    assert "could not begin a run: There is no curve named 'mine'" in second and second.endswith("(MagCacheError)")


def test_the_report_may_be_asked_for_in_one_process_alone(tmp_path: Path):
    first, second = together("divided.report_of_one", str(tmp_path), seconds=20)
    assert first == second and "r" in first


def test_only_those_decide_together_that_run_a_picture_together():
    found = [together("divided.groups", rank, joined=False, processes=1)[0] for rank in range(4)]
    assert found == [([0, 1], True), ([0, 1], False), ([2, 3], True), ([2, 3], False)]
    assert together("divided.lone_groups") == [("said by 0", True), ("said by 1", True)]


def test_tokens_are_gathered_in_order_and_not_too_many_of_them():
    rows = [[10, 11, 110, 111, 112], [20, 21, 120, 121, 122]]
    assert together("divided.gather") == 2 * [(rows, 2 * 4096)]
