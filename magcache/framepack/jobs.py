"""Jobs, and the queue in which they wait. It is the server's: reloading the page changes nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Literal

from .history import Entry
from .progress import Progress
from .settings import Task

State = Literal["waiting", "running", "done", "failed", "cancelled"]
MOST_WAITING = 50
MOST_KEPT = 20
"""Jobs that are over and are still listed."""


@dataclass(slots=True, eq=False)
class Job:
    """One task on its way to a result. Written under the lock of its queue."""

    number: int
    task: Task
    progress: Progress
    icon: str
    """A small picture of the task, as the address of itself."""
    state: State = "waiting"
    message: str = ""
    """Why it failed."""
    previews: dict[str, Path] = field(default_factory=dict[str, Path])
    """The growing videos: `cached` and `plain`."""
    entry: Entry | None = None
    """The result, once it is done."""
    stop: threading.Event = field(default_factory=threading.Event)
    """Set when the user cancels it."""

    @property
    def over(self) -> bool:
        return self.state in ("done", "failed", "cancelled")


class JobQueue:
    """Jobs in the order in which they came. Safe to use from any thread."""

    def __init__(self) -> None:
        self._jobs: list[Job] = []
        self._numbers = count(1)
        self._changed = threading.Condition()
        self._closed = False
        self.version = 0
        """Goes up with every change."""

    def add(self, task: Task, progress: Progress, icon: str = "") -> Job | None:
        """Put a task at the end; None if too many are waiting."""
        with self._changed:
            if len(self.waiting()) >= MOST_WAITING:
                return None
            job = Job(next(self._numbers), task, progress, icon)
            self._jobs.append(job)
            self._touch()
            return job

    def cancel(self, number: int) -> None:
        """Take a waiting job out, or stop the running one at its next step. Does nothing to one that is over or unknown."""
        with self._changed:
            job = self.find(number)
            if job is None or job.over:
                return
            job.stop.set()
            if job.state == "waiting":
                job.state = "cancelled"
            self._touch()

    def next(self) -> Job | None:
        """Wait for a job and take it; None once the queue is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self.waiting())
            if self._closed:
                return None
            job = self.waiting()[0]
            job.state = "running"
            self._touch()
            return job

    def change(self, change: Callable[[], None]) -> None:
        """Change a job so that everybody sees it."""
        with self._changed:
            change()
            self._touch()

    def finish(self, job: Job, state: State, message: str = "", entry: Entry | None = None) -> None:
        with self._changed:
            job.state, job.message, job.entry = state, message, entry
            over = [each for each in self._jobs if each.over]
            for each in over[:-MOST_KEPT]:
                self._jobs.remove(each)
            self._touch()

    def close(self) -> None:
        """Stop the running job and hand out no more."""
        with self._changed:
            self._closed = True
            for job in self._jobs:
                job.stop.set()
            self._touch()

    def jobs(self) -> list[Job]:
        with self._changed:
            return list(self._jobs)

    def waiting(self) -> list[Job]:
        return [job for job in self.jobs() if job.state == "waiting"]

    def running(self) -> Job | None:
        return next((job for job in self.jobs() if job.state == "running"), None)

    def find(self, number: int) -> Job | None:
        return next((job for job in self.jobs() if job.number == number), None)

    def position(self, job: Job) -> int:
        """1 for the next job; 0 if it is not waiting."""
        waiting = self.waiting()
        return waiting.index(job) + 1 if job in waiting else 0

    def _touch(self) -> None:
        self.version += 1
        self._changed.notify_all()
