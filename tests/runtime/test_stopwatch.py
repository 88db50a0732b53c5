"""The stopwatch: wall clock on the CPU, stream events on CUDA."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import torch

from magcache.runtime.stopwatch import Stopwatch


def test_seconds_between_marks(monkeypatch: pytest.MonkeyPatch):
    clock = iter([10.0, 10.5, 12.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    stopwatch = Stopwatch(torch.device("cpu"))
    assert stopwatch.seconds_so_far() == []
    for _ in range(3):
        stopwatch.mark()
    assert stopwatch.seconds() == stopwatch.seconds_so_far() == [0.5, 1.5]


def test_an_end_counts_until_something_else_begins(monkeypatch: pytest.MonkeyPatch):
    clock = iter([10.0, 11.0, 12.0, 20.0, 20.5])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    stopwatch = Stopwatch(torch.device("cpu"))
    stopwatch.mark()
    stopwatch.mark_end()
    stopwatch.mark_end()
    assert stopwatch.ended and stopwatch.seconds() == [2.0]
    stopwatch.mark()
    assert not stopwatch.ended and stopwatch.seconds() == [10.0]
    stopwatch.mark_end()
    assert stopwatch.seconds() == [10.0, 0.5]


def test_fewer_than_two_marks():
    stopwatch = Stopwatch(torch.device("cpu"))
    assert stopwatch.seconds() == []
    stopwatch.mark()
    assert stopwatch.seconds() == []


def test_real_time():
    stopwatch = Stopwatch(torch.device("cpu"))
    stopwatch.mark()
    time.sleep(0.01)
    stopwatch.mark()
    (spent,) = stopwatch.seconds()
    assert 0.009 < spent < 5


def test_cuda_waits_only_when_asked(monkeypatch: pytest.MonkeyPatch):
    milliseconds: Iterator[float] = iter([0.0, 250.0, 1000.0])
    waits: list[float] = []
    reached = 300.0

    class FakeEvent:
        def __init__(self, enable_timing: bool):
            assert enable_timing

        def record(self, stream: object):
            assert stream == "stream of cuda:1"
            self.at = next(milliseconds)

        def synchronize(self):
            waits.append(self.at)

        def query(self) -> bool:
            return self.at <= reached

        def elapsed_time(self, later: FakeEvent) -> float:
            return later.at - self.at

    monkeypatch.setattr(torch.cuda, "Event", FakeEvent)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"stream of {device}")
    stopwatch = Stopwatch(torch.device("cuda:1"))
    for _ in range(3):
        stopwatch.mark()
    assert stopwatch.seconds_so_far() == [0.25]
    reached = 1000.0
    assert stopwatch.seconds_so_far() == [0.25, 0.75]
    assert waits == []
    assert stopwatch.seconds() == [0.25, 0.75]
    assert waits == [1000.0]
