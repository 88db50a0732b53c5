"""Progress bars on stderr."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text

from ..server.runs import OnProgress


class _Times(ProgressColumn):
    """Time since the beginning and, once a part is done, the time left if the rest is as fast."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        elapsed, done = task.finished_time if task.finished else task.elapsed, task.completed
        shown = _clock(elapsed or 0.0)
        if elapsed and done and task.total and not task.finished:
            shown += f", {_clock(elapsed * (task.total - done) / done)} left"
        return Text(shown, style="progress.elapsed")


class _Count(ProgressColumn):
    """Whole parts that are done, of all. Rich shows fractions."""

    def render(self, task: Task) -> Text:
        return Text(f"{int(task.completed)}/{'?' if task.total is None else int(task.total)}", style="progress.download")


class ProgressBars:
    """A bar for all tasks, and below it one for each server with the steps of its current task."""

    def __init__(self, progress: Progress, tasks: int) -> None:
        self._progress, self._tasks = progress, tasks
        self._all = progress.add_task("runs", total=tasks)
        self._parts: list[Callable[[], float]] = []

    def add_server(self, prefix: str = "") -> OnProgress:
        """Add a bar; returns what updates it. A new task name means that the task before has ended."""
        bar, current, ended, part = self._progress.add_task(prefix or "preparing", total=None), "", 0, 0.0
        self._parts.append(lambda: ended + part)

        def on_progress(task: str, done: int, total: int) -> None:
            nonlocal current, ended, part
            if task != current:
                ended += bool(current)
                current = task
                self._progress.reset(bar, description=f"{prefix}{task}", total=total or None)
            part = done / total if total else 0.0
            self._progress.update(bar, completed=done, total=total or None)
            # With the part of each current task, so that the time left is known before the first one ends.
            self._progress.update(self._all, completed=min(self._tasks, sum(each() for each in self._parts)))

        return on_progress

    def complete(self) -> None:
        """Fill the bar of all tasks."""
        self._progress.update(self._all, completed=self._tasks)


@contextmanager
def progress_bars(tasks: int) -> Generator[ProgressBars, None, None]:
    """Show bars for this number of tasks."""
    name = TextColumn("{task.description}", table_column=Column(ratio=3, no_wrap=True, overflow="ellipsis"))
    bar = BarColumn(bar_width=None, table_column=Column(ratio=2, min_width=10))
    with Progress(name, bar, _Count(), _Times(), console=Console(stderr=True), expand=True) as progress:
        yield ProgressBars(progress, tasks)


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
