"""Progress bars on stderr."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ..server.runs import OnProgress


class ProgressBars:
    """A bar for all tasks, and below it one for each server with the steps of its current task."""

    def __init__(self, progress: Progress, tasks: int) -> None:
        self._progress, self._tasks = progress, tasks
        self._all = progress.add_task("runs", total=tasks)

    def add_server(self, prefix: str = "") -> OnProgress:
        """Add a bar; returns what updates it. A new task name means that the task before has ended."""
        bar, current = self._progress.add_task(prefix or "preparing", total=None), ""

        def on_progress(task: str, done: int, total: int) -> None:
            nonlocal current
            if task != current:
                self._progress.advance(self._all, bool(current))
                current = task
            self._progress.update(bar, description=f"{prefix}{task}", completed=done, total=total or None)

        return on_progress

    def complete(self) -> None:
        """Fill the bar of all tasks."""
        self._progress.update(self._all, completed=self._tasks)


@contextmanager
def progress_bars(tasks: int) -> Generator[ProgressBars, None, None]:
    """Show bars for this number of tasks."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield ProgressBars(progress, tasks)
