"""Which trials of a Pareto front may meet a goal, and in which order they are confirmed."""

from __future__ import annotations

import pytest

from magcache.server.tune.selection import Goal
from magcache.server.tune.study import MeasuredTrial

FRONT = [MeasuredTrial(number, {}, nfe, 20, psnr) for number, (nfe, psnr) in enumerate([(6, 28.0), (8, 34.0), (10, 36.0), (14, 41.0)])]


@pytest.mark.parametrize(
    ("goal", "expected"),
    [
        (Goal(min_psnr=35), [2, 3]),
        (Goal(min_psnr=50), []),
        (Goal(max_seconds=5), [2, 1, 0]),
        (Goal(max_seconds=2), []),
        (Goal(min_psnr=30, max_seconds=6), [1, 2]),
    ],
    ids=str,
)
def test_the_fastest_above_a_floor_or_the_closest_within_a_budget(goal: Goal, expected: list[int]):
    assert [trial.number for trial in goal.candidates(FRONT, lambda speedup: 10 / speedup)] == expected
