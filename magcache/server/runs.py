"""One run of a workflow with one seed, sampled and not taken from the server's cache, and what is measured of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..reports.metrics import Picture
from .client import Client
from .events import OnStep
from .workflow import Types, Workflow, WorkflowError, samplers, seeded, uncached

OnProgress = Callable[[str, int, int], None]
"""Called with the name of the current task, the number of its finished steps and the number of all its steps."""

CALIBRATION_SEED = 1
"""Seed of the first calibration run. Curves are never measured with seeds that pictures are compared on."""
FIRST_SEED = 1000
"""Seed of the first run that is measured; the next runs count up from it."""
WARM_UP_SEED = FIRST_SEED - 1
"""Seed of the runs before the measurement, which load the models."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """Pictures and times of one run."""

    pictures: list[Picture] = field(repr=False)
    seconds: float
    """Of the whole workflow, by the server's clock."""
    sampler_seconds: float
    """Of its sampling nodes, by the times at which their events arrived."""
    reports: list[dict[str, Any]]
    """The runs that MagCache nodes reported, as `magcache.reports.run_report.RunReport.to_json` gives them."""
    calibrations: list[dict[str, Any]]
    """The calibrations that MagCache nodes saved: `path` on the server, and `curve`."""
    texts: dict[str, list[str]]
    """The texts that each node showed on itself, by node id, in order."""
    log: list[str] = field(default_factory=list[str], repr=False)
    """What the server wrote to its log, if the client asked for it."""

    @property
    def evaluations(self) -> int:
        """Evaluations of the models that have MagCache on them; 0 without MagCache."""
        return sum(report["evaluations"] for report in self.reports)

    @property
    def nfe(self) -> int:
        """Evaluations of these that ran the model's blocks."""
        return sum(report["nfe"] for report in self.reports)


def run_with_seed(client: Client, workflow: Workflow, types: Types, seed: int, on_step: OnStep) -> RunResult:
    """Run `workflow` with `seed` at every node that draws noise. Raises `WorkflowError`, `ServerError`."""
    nodes = samplers(workflow, types)
    result = client.run(uncached(seeded(workflow, types, seed), nodes), on_step)
    if cached := sorted(nodes & result.cached):
        raise WorkflowError(f"The server did not sample but answered from its cache (nodes {', '.join(cached)}).")
    sampler_seconds = sum(result.seconds.get(node, 0.0) for node in nodes)
    if not sampler_seconds:
        raise WorkflowError("The workflow ended without sampling: no node that takes a model and gives latents or pictures was run.")
    events = result.events
    return RunResult(result.pictures, result.total_seconds, sampler_seconds, events.reports, events.calibrations, events.texts, events.log)


def begin_task(on_progress: OnProgress, task: str) -> OnStep:
    """Announce a task; returns what is to be called at its steps."""
    on_progress(task, 0, 0)
    return lambda done, total: on_progress(task, done, total)
