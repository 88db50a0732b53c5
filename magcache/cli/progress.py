"""Progress of runs, on stderr."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ..server.runs import Told


class Bars:
    """A bar for all runs, and below it one for each server, with the steps of its present run."""

    def __init__(self, bars: Progress, runs: int) -> None:
        self._bars, self._runs = bars, runs
        self._all = bars.add_task("runs", total=runs)

    def server(self, prefix: str = "") -> Told:
        bar, said = self._bars.add_task(prefix or "preparing", total=None), ""

        def told(what: str, done: int, of: int) -> None:
            nonlocal said
            if what != said:
                self._bars.advance(self._all, bool(said))
                said = what
            self._bars.update(bar, description=f"{prefix}{what}", completed=done, total=of or None)

        return told

    def complete(self) -> None:
        self._bars.update(self._all, completed=self._runs)


@contextmanager
def run_bars(runs: int) -> Iterator[Bars]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        yield Bars(bars, runs)
