"""Run a workflow in several variants (all steps, MagCache, EasyCache), a round of all of them for each seed."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

from ...reports.comparison import Comparison
from ..client import Client
from ..quality import compare_pictures
from ..runs import FIRST_SEED, WARM_UP_SEED, OnProgress, RunResult, begin_task, run_with_seed
from ..workflow import CACHE_NODES, MAGCACHE_NODES, Types, Workflow, bypassed, classes, insert_before_samplers

FULL, MAGCACHE, EASYCACHE = "all steps", "MagCache", "EasyCache"
"""Names of the variants."""
CACHES: Mapping[str, Collection[str]] = {FULL: (), MAGCACHE: MAGCACHE_NODES, EASYCACHE: ("EasyCache",)}
"""The nodes whose settings each variant runs with."""
_SKIPPED = re.compile(r"EasyCache - skipped (\d+)/\d+ steps")
"""What EasyCache logs after each sampling. It tells it nowhere else."""
_KEPT_PICTURES = 2
"""Pictures of each run that are kept for the report."""


@dataclass(frozen=True, slots=True)
class BenchRound:
    """One run of every variant with one seed."""

    seed: int
    runs: Mapping[str, RunResult] = field(repr=False)
    """By variant."""
    quality: Mapping[str, Comparison]
    """How close the pictures of each other variant are to those of all steps."""

    def speedup(self, variant: str) -> float:
        """Of the whole workflow."""
        return self.runs[FULL].seconds / self.runs[variant].seconds

    def sampler_speedup(self, variant: str) -> float:
        """Of the sampling nodes alone."""
        return self.runs[FULL].sampler_seconds / self.runs[variant].sampler_seconds


def variants(workflow: Workflow, types: Types, speedup: float, easycache: bool) -> dict[str, Workflow]:
    """The workflow without any cache, with MagCache, and with EasyCache if asked for.

    A cache that is in the workflow keeps its settings; one that is not is inserted before each sampler.
    """
    plain = bypassed(workflow, CACHE_NODES)
    found = {FULL: plain, MAGCACHE: with_magcache(workflow, types, speedup=speedup)}
    if easycache:
        has_easycache = "EasyCache" in classes(workflow)
        found[EASYCACHE] = (
            bypassed(workflow, CACHE_NODES - {"EasyCache"}) if has_easycache else insert_before_samplers(plain, types, "EasyCache")
        )
    return found


def with_magcache(workflow: Workflow, types: Types, **values: float) -> Workflow:
    """A copy with its own MagCache nodes as the only caches, or with MagCache Auto, set to `values`, if it has none."""
    if classes(workflow) & set(MAGCACHE_NODES):
        return bypassed(workflow, CACHE_NODES - set(MAGCACHE_NODES))
    return insert_before_samplers(bypassed(workflow, CACHE_NODES), types, "MagCacheAuto", **values)


def run_bench(
    client: Client, workflows: Mapping[str, Workflow], types: Types, repeats: int, on_progress: OnProgress
) -> Iterator[BenchRound]:
    """`repeats` rounds of the variants in `workflows`, each with its own seed.

    Before the rounds every variant runs once, which loads the models and may calibrate them. The order of the variants rotates from
    round to round, so that other load on the machine affects all of them alike. Raises `WorkflowError`, `ServerError`.
    """
    for name, workflow in workflows.items():
        run_with_seed(client, workflow, types, WARM_UP_SEED, begin_task(on_progress, f"warming up · {name}"))
    names = list(workflows)
    for index in range(repeats):
        seed, turn = FIRST_SEED + index, index % len(names)
        runs = {
            name: run_with_seed(client, workflows[name], types, seed, begin_task(on_progress, f"seed {seed} · {name}"))
            for name in names[turn:] + names[:turn]
        }
        full = runs[FULL].pictures
        quality = {name: compare_pictures(full, runs[name].pictures) for name in names if name != FULL}
        yield BenchRound(seed, {name: _with_few_pictures(runs[name]) for name in names}, quality)


def skipped_by_easycache(run: RunResult) -> int | None:
    """How many evaluations EasyCache skipped, by the server's log; None if that is not known."""
    found = _SKIPPED.findall("".join(run.log))
    return sum(map(int, found)) if found else None


def runs_needed(workflows: Mapping[str, Workflow], repeats: int) -> int:
    """How often `run_bench` runs a workflow."""
    return len(workflows) * (repeats + 1)


def _with_few_pictures(run: RunResult) -> RunResult:
    """The run with only some of its pictures, evenly spread: a video has hundreds of frames."""
    every = -(-len(run.pictures) // _KEPT_PICTURES)
    return replace(run, pictures=run.pictures[every // 2 :: every])
