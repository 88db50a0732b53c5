"""The bars: time since the beginning and time left."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from magcache.cli import progress
from magcache.cli.progress import progress_bars


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(progress, "Console", lambda stderr: Console(file=written, force_terminal=True, width=80, get_time=found))
    written = found.written = io.StringIO()  # type: ignore[attr-defined]
    return found


def last_lines(clock: Clock, count: int = 2) -> list[str]:
    """The lowest lines that a terminal would show."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", clock.written.getvalue())  # type: ignore[attr-defined]
    return [line for line in re.split(r"[\r\n]+", plain) if line.strip()][-count:]


def test_time_left_follows_from_the_part_that_is_done(clock: Clock):
    with progress_bars(4) as bars:
        on_progress = bars.add_server()
        on_progress("seed 1", 0, 0)
        clock.now = 10.0
        on_progress("seed 1", 5, 10)
        clock.now = 20.0
        on_progress("seed 2", 0, 10)
    assert last_lines(clock)[0].split()[-4:] == ["1/4", "0:00:20,", "0:01:00", "left"]


def test_before_anything_is_done_nothing_is_promised(clock: Clock):
    with progress_bars(4) as bars:
        bars.add_server()("seed 1", 0, 0)
        clock.now = 10.0
    assert "0:00:10" in last_lines(clock)[0] and "left" not in last_lines(clock)[0]


def test_when_all_is_done_the_time_that_it_took_stays(clock: Clock):
    with progress_bars(1) as bars:
        on_progress = bars.add_server()
        on_progress("seed 1", 0, 10)
        clock.now = 75.0
        on_progress("seed 1", 10, 10)
        bars.complete()
    assert last_lines(clock)[0].endswith("1/1   0:01:15") and "left" not in last_lines(clock)[0]


def test_long_names_give_way_to_the_numbers(clock: Clock):
    """In 80 columns, of which Rich cuts off what does not fit."""
    with progress_bars(100) as bars:
        on_progress = bars.add_server("a-rather-long-name-of-a-server.example:8188 · ")
        on_progress("seed 1000 · confirming trial 12", 5, 10)
        clock.now = 20.0
        on_progress("seed 1000 · confirming trial 12", 6, 10)
    everything, server = last_lines(clock)
    assert everything.split()[-4:] == ["0/100", "0:00:20,", "0:55:13", "left"]
    assert server.startswith("a-rather-long-name-of-a-server") and "…" in server
    assert server.split()[-4:] == ["6/10", "0:00:20,", "0:00:13", "left"]
