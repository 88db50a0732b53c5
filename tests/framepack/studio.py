"""The small random FramePack, and what makes short videos with it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from magcache.framepack.generation import CancelledError, Clip, Frames, generate
from magcache.framepack.history import History
from magcache.framepack.jobs import Job
from magcache.framepack.model import Model
from magcache.framepack.pipeline import load_trial
from magcache.framepack.settings import Settings, Task
from magcache.framepack.trial import trial_picture
from magcache.framepack.worker import Studio

TWO_SECTIONS = 2.4
"""Seconds."""
STEPS, SIDE = 12, 32
_LONGEST_WAIT = 60


def small_model(folder: Path, forward: bool = False) -> Model:
    return load_trial(str(folder / "curves"), forward)


def task(**settings: Any) -> Task:
    """Two sections of few steps and pixels."""
    last = settings.pop("last_picture", None)
    defaults = {"prompt": "a red fox", "seconds": TWO_SECTIONS, "steps": STEPS, "size": SIDE, "seed": 3}
    return Task(Settings(**{**defaults, **settings}), trial_picture(96), last)


class Watcher:
    """Notes what it is told; stops where it is told to."""

    def __init__(self, stop_at: tuple[int, int] | None = None) -> None:
        self.steps: list[tuple[int, int]] = []
        self.sections: list[tuple[int, Frames]] = []
        self._stop_at = stop_at

    def on_step(self, section: int, step: int) -> None:
        self.steps.append((section, step))
        if (section, step) == self._stop_at:
            raise CancelledError

    def on_section(self, section: int, frames: Frames) -> None:
        self.sections.append((section, frames))


def make(model: Model, speedup: float = 1.0, **settings: Any) -> Clip:
    return generate(model, task(**settings), speedup, Watcher())


def new_studio(folder: Path, model: Model) -> Studio:
    scratch = folder / "scratch"
    scratch.mkdir()
    return Studio(model, History(folder / "videos"), scratch)


def submitted(studio: Studio, **settings: Any) -> Job:
    job = studio.submit(task(**settings))
    assert job is not None
    return job


def wait_until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + _LONGEST_WAIT
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def same(one: Frames, other: Frames) -> bool:
    return one.shape == other.shape and bool(np.array_equal(one, other))
