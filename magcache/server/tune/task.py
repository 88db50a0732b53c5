"""What is tuned: a workflow, its node with the settings, and the number of seeds."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from ..bench.rounds import with_magcache
from ..workflow import CACHE_NODES, Types, Workflow, bypassed, configured
from .space import NodeSettings, SearchSpace, space_of

_WARM_UP_RUNS = 2
"""Runs on each server before the first measurement: one of each workflow."""


@dataclass(frozen=True, slots=True)
class TuningTask:
    """What is tuned."""

    plain: Workflow
    """Without a cache."""
    cached: Workflow
    """With the node whose settings are tuned."""
    space: SearchSpace
    types: Types
    seeds: int
    """Number of seeds to tune on, and of others to confirm with."""

    @classmethod
    def of(cls, workflow: Workflow, types: Types, seeds: int) -> TuningTask:
        return cls(bypassed(workflow, CACHE_NODES), with_magcache(workflow, types), space_of(workflow), types, seeds)

    def key(self) -> dict[str, Any]:
        """Identifies the task, as JSON: a study may only be resumed for the same one."""
        graph = json.dumps([self.plain, self.cached], sort_keys=True)
        return {"workflow": hashlib.sha256(graph.encode()).hexdigest(), "node": self.space.kind, "seeds": self.seeds}

    def runs_needed(self, servers: int, trials: int) -> int:
        """How often a workflow will run if the first choice is confirmed."""
        return servers * (_WARM_UP_RUNS + self.seeds) + trials * self.seeds + 2 * self.seeds

    def with_settings(self, settings: NodeSettings) -> Workflow:
        """The workflow with these settings at its node."""
        return configured(self.cached, self.space.kind, settings)
