"""One run of a workflow with a seed, really executed, and what is measured of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..reports.metrics import Picture
from .client import Client
from .events import Progress
from .workflow import Types, Workflow, WorkflowError, samplers, seeded, unrepeatable

Told = Callable[[str, int, int], None]
"""Is told what is going on, and how many of how many steps of it are done."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """What one run gave."""

    pictures: list[Picture] = field(repr=False)
    seconds: float
    """Of the whole workflow, by the server's clock."""
    sampler_seconds: float
    """Of its sampling nodes, as heard over the websocket."""
    reports: list[dict[str, Any]]
    """What MagCache nodes reported, `magcache.reports.run_report.RunReport.to_json`."""
    calibrations: list[dict[str, Any]]

    @property
    def evaluations(self) -> int:
        """How often the model was called where MagCache is on it, 0 where it is not."""
        return sum(report["evaluations"] for report in self.reports)

    @property
    def nfe(self) -> int:
        """How many of these ran the model's blocks."""
        return sum(report["nfe"] for report in self.reports)


def sample(client: Client, workflow: Workflow, types: Types, seed: int, progress: Progress) -> Sampled:
    """Run `workflow` with this seed everywhere. Raises `WorkflowError`, `ServerError`."""
    nodes = samplers(workflow, types)
    outcome = client.run(unrepeatable(seeded(workflow, types, seed), nodes), progress)
    if nodes & outcome.cached:
        raise WorkflowError(f"The server did not sample but answered from its cache (nodes {', '.join(sorted(nodes & outcome.cached))}).")
    spent = sum(outcome.seconds.get(node, 0.0) for node in nodes)
    if not spent:
        raise WorkflowError("The workflow ended without sampling: no node that takes a model and gives latents or pictures was run.")
    return Sampled(outcome.pictures, outcome.total_seconds, spent, outcome.reports, outcome.heard.calibrations)


def doing(told: Told, what: str) -> Progress:
    """`told` for one thing that is going on."""
    told(what, 0, 0)
    return lambda done, total: told(what, done, total)
