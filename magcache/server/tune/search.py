"""Measure settings of MagCache for a workflow, on one or several servers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from statistics import median
from typing import Any

from ...errors import MagCacheError
from ...reports.comparison import Comparison
from ...reports.metrics import Picture
from ..bench.rounds import FIRST_SEED, with_magcache
from ..client import Client
from ..quality import compared, together
from ..runs import Sampled, Told, doing, sample
from ..workflow import ASIDE, Types, Workflow, WorkflowError, bypassed, configured
from .space import Setting, Space, space_of
from .study import Study

_WARM_UP_SEED = FIRST_SEED - 1
_MOST_FAILURES = 3
"""So many settings in a row may fail on a server before it counts as broken."""
_PATIENCE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Job:
    """What is tuned."""

    plain: Workflow
    cached: Workflow
    """With the node whose settings are sought."""
    space: Space
    types: Types
    seeds: int
    """So many seeds to tune on, and as many fresh ones to confirm with."""

    @classmethod
    def of(cls, workflow: Workflow, types: Types, seeds: int) -> Job:
        return cls(bypassed(workflow, ASIDE), with_magcache(workflow, types), space_of(workflow), types, seeds)

    def about(self) -> dict[str, Any]:
        """What a study must have been begun about for its results to count here."""
        graph = json.dumps([self.plain, self.cached], sort_keys=True)
        return {"workflow": hashlib.sha256(graph.encode()).hexdigest(), "node": self.space.kind, "seeds": self.seeds}

    def runs(self, servers: int, trials: int) -> int:
        """How often the workflow will run, if the first choice is confirmed."""
        return servers * (2 + self.seeds) + trials * self.seeds + 2 * self.seeds

    def with_setting(self, setting: Setting) -> Workflow:
        return configured(self.cached, self.space.kind, setting)


@dataclass(frozen=True, slots=True)
class Score:
    """How a setting did on some seeds."""

    part: float
    """Time that the whole workflow took as a part of that of all steps, the median of the seeds."""
    quality: Comparison
    nfe: int
    evaluations: int
    curves: frozenset[str]
    pictures: list[Picture]
    """The first of each seed."""


class Yardstick:
    """A workflow sampled in full with some seeds on one server, to measure settings by."""

    def __init__(self, client: Client, job: Job, first_seed: int, told: Told) -> None:
        self._client, self._job, self._told = client, job, told
        self.full: dict[int, Sampled] = {}
        for seed in range(first_seed, first_seed + job.seeds):
            self.full[seed] = sample(client, job.plain, job.types, seed, doing(told, f"seed {seed} · all steps"))

    @property
    def seconds(self) -> float:
        """Of the whole workflow."""
        return median(run.seconds for run in self.full.values())

    def seconds_at_best(self, speedup: float) -> float:
        """Of the whole workflow if its sampling were so many times faster."""
        return median(run.seconds - run.sampler_seconds * (1 - 1 / speedup) for run in self.full.values())

    def measure(self, what: str, setting: Setting) -> Score:
        """Raises `WorkflowError`, `ServerError`; `MagCacheError` if MagCache did not take part or the pictures cannot be compared."""
        workflow = self._job.with_setting(setting)
        runs = {
            seed: sample(self._client, workflow, self._job.types, seed, doing(self._told, f"seed {seed} · {what}")) for seed in self.full
        }
        if not all(run.evaluations for run in runs.values()):
            raise MagCacheError(f"MagCache did not take part in the workflow on {self._client.url}. The log of that server says why.")
        return Score(
            median(run.seconds / self.full[seed].seconds for seed, run in runs.items()),
            together(compared(self.full[seed].pictures, run.pictures) for seed, run in runs.items()),
            max(run.nfe for run in runs.values()),
            max(run.evaluations for run in runs.values()),
            frozenset(report["curve"] for run in runs.values() for report in run.reports),
            [run.pictures[0] for run in runs.values()],
        )


def search(servers: Mapping[Client, Told], job: Job, study: Study) -> dict[Client, MagCacheError]:
    """Measure what the study asks for, on every server at once.

    Returns which servers dropped out and why, if others finished the work; raises that if none did. Ctrl-C stops what runs on the servers.
    """
    with ThreadPoolExecutor(len(servers)) as pool:
        workers = {client: pool.submit(_work, client, job, study, told) for client, told in servers.items()}
        try:
            while wait(workers.values(), timeout=_PATIENCE_SECONDS).not_done:
                pass
        except BaseException:
            study.stop()
            _call_off(workers)
            raise
    dropped: dict[Client, MagCacheError] = {}
    for client, worker in workers.items():
        try:
            worker.result()
        except MagCacheError as error:
            dropped[client] = error
    if len(dropped) == len(servers):
        raise next(iter(dropped.values()))
    return dropped


def _call_off(workers: Mapping[Client, Future[None]]) -> None:
    """Until every worker has noticed: one may just have queued its next run."""
    while wait(workers.values(), timeout=_PATIENCE_SECONDS).not_done:
        for client in workers:
            client.take_back()


def _work(client: Client, job: Job, study: Study, told: Told) -> None:
    """Measure settings on one server until none is left."""
    for name, workflow in (("all steps", job.plain), ("MagCache", job.cached)):
        sample(client, workflow, job.types, _WARM_UP_SEED, doing(told, f"warming up · {name}"))
    if not study.left:
        return
    yardstick, failures = Yardstick(client, job, FIRST_SEED, told), 0
    while (asked := study.next()) is not None:
        number, setting = asked
        try:
            score = yardstick.measure(f"trial {number}", setting)
        except WorkflowError:
            failures += 1
            if study.stopped:
                study.given_back(number)
                return
            study.failed(number)
            if failures == _MOST_FAILURES:
                raise
        except BaseException:
            study.given_back(number)
            raise
        else:
            failures = 0
            study.measured(number, score.nfe, score.evaluations, min(score.quality.psnr))
