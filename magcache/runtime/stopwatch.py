"""Time between points of a run, on the device that does the work."""

from __future__ import annotations

import time
from itertools import pairwise, takewhile

import torch


class Stopwatch:
    """Marks moments and tells the seconds between them.

    On CUDA a mark is an event in the stream, so that marking neither waits for the device nor measures the queue; only `seconds`
    waits, once, after the run.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._marks: list[float | torch.cuda.Event] = []
        self._end: float | torch.cuda.Event | None = None

    def mark(self) -> None:
        """Something begins now."""
        self._marks.append(self._now())
        self._end = None

    def mark_end(self) -> None:
        """What began at the last mark is over, unless this is called again."""
        self._end = self._now()

    def _now(self) -> float | torch.cuda.Event:
        if self._device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device))
        return event

    @property
    def ended(self) -> bool:
        """Whether the end of what began last is marked."""
        return self._end is not None

    def seconds(self) -> list[float]:
        """Seconds from each mark to the next, and from the last one to its end if that is marked."""
        marks = self._marks if self._end is None else [*self._marks, self._end]
        if marks and isinstance(marks[-1], torch.cuda.Event):
            marks[-1].synchronize()
        return [_between(before, after) for before, after in pairwise(marks)]

    def seconds_so_far(self) -> list[float]:
        """As `seconds`, up to the last mark that the device has reached; does not wait for it."""
        return [_between(before, after) for before, after in pairwise(takewhile(_reached, self._marks))]


def _reached(mark: float | torch.cuda.Event) -> bool:
    return not isinstance(mark, torch.cuda.Event) or mark.query()


def _between(before: float | torch.cuda.Event, after: float | torch.cuda.Event) -> float:
    if isinstance(before, float) and isinstance(after, float):
        return after - before
    assert isinstance(before, torch.cuda.Event) and isinstance(after, torch.cuda.Event)
    return before.elapsed_time(after) / 1000
