"""Measure settings against the same workflow with all steps."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from ...errors import MagCacheError
from ...reports.comparison import Comparison
from ...reports.metrics import Picture
from ..client import Client
from ..quality import combined, compare_pictures
from ..runs import OnProgress, RunResult, begin_task, run_with_seed
from .space import NodeSettings
from .task import TuningTask


@dataclass(frozen=True, slots=True)
class Measurement:
    """What settings gave on some seeds."""

    relative_seconds: float
    """Time of the whole workflow divided by its time with all steps, median over the seeds."""
    quality: Comparison
    """How close the pictures are to those of all steps."""
    nfe: int
    """Evaluations that ran the model's blocks, the most of any seed."""
    evaluations: int
    curves: frozenset[str]
    """Names of the curves that were used."""
    pictures: list[Picture]
    """The first of each seed."""


class Baseline:
    """A workflow with all steps, sampled on one server with as many seeds from `first_seed` as the task asks for."""

    def __init__(self, client: Client, task: TuningTask, first_seed: int, on_progress: OnProgress) -> None:
        self._client, self._task, self._on_progress = client, task, on_progress
        self._runs: dict[int, RunResult] = {}
        for seed in range(first_seed, first_seed + task.seeds):
            on_step = begin_task(on_progress, f"seed {seed} · all steps")
            self._runs[seed] = run_with_seed(client, task.plain, task.types, seed, on_step)

    @property
    def seconds(self) -> float:
        """Time of the whole workflow, median over the seeds."""
        return median(run.seconds for run in self._runs.values())

    @property
    def pictures(self) -> list[Picture]:
        """The first of each seed."""
        return [run.pictures[0] for run in self._runs.values()]

    def shortest_seconds(self, speedup: float) -> float:
        """Time of the whole workflow if its sampling were `speedup` times faster and nothing else changed."""
        return median(run.seconds - run.sampler_seconds * (1 - 1 / speedup) for run in self._runs.values())

    def measure(self, title: str, settings: NodeSettings) -> Measurement:
        """Run the workflow with these settings and every seed; `title` is shown as progress.

        Raises `WorkflowError`, `ServerError`, and `MagCacheError` if MagCache did not take part or the pictures cannot be compared.
        """
        workflow = self._task.with_settings(settings)
        runs: dict[int, RunResult] = {}
        for seed in self._runs:
            on_step = begin_task(self._on_progress, f"seed {seed} · {title}")
            runs[seed] = run_with_seed(self._client, workflow, self._task.types, seed, on_step)
        if not all(run.evaluations for run in runs.values()):
            raise MagCacheError(f"MagCache did not take part in the workflow on {self._client.url}. The log of that server says why.")
        return Measurement(
            median(run.seconds / self._runs[seed].seconds for seed, run in runs.items()),
            combined(compare_pictures(self._runs[seed].pictures, run.pictures) for seed, run in runs.items()),
            max(run.nfe for run in runs.values()),
            max(run.evaluations for run in runs.values()),
            frozenset(report["curve"] for run in runs.values() for report in run.reports if report["kind"] == "skipping"),
            [run.pictures[0] for run in runs.values()],
        )
