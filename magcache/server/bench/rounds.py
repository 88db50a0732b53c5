"""A workflow with and without MagCache, side by side: times and how close the pictures are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

from ...reports.comparison import Comparison
from ..client import Client
from ..quality import compared, together
from ..runs import Sampled, Told, doing, sample
from ..workflow import ASIDE, SKIPPING, Types, Workflow, bypassed, classes, patched

FULL, MAGCACHE, EASYCACHE = "all steps", "MagCache", "EasyCache"
DEFAULT_SPEEDUP = 2.0
"""Of the MagCache Auto that is put into a workflow without MagCache."""
FIRST_SEED = 1000
_WARM_UP_SEED = FIRST_SEED - 1
_SHOWN = 2
"""Pictures of each run that are kept for the report."""


@dataclass(frozen=True, slots=True)
class Round:
    """Every way to sample once, with one seed."""

    seed: int
    runs: Mapping[str, Sampled] = field(repr=False)
    quality: Mapping[str, Comparison]
    """To the pictures of all steps, of the other ways."""

    def speedup(self, way: str) -> float:
        return self.runs[FULL].seconds / self.runs[way].seconds

    def sampler_speedup(self, way: str) -> float:
        return self.runs[FULL].sampler_seconds / self.runs[way].sampler_seconds


def ways(workflow: Workflow, types: Types, speedup: float, easycache: bool) -> dict[str, Workflow]:
    """The workflow in each way to sample: without any cache, with MagCache, and with EasyCache if asked for.

    A cache that is in the workflow stays as it is set there; one that is not is put in front of each sampler.
    """
    plain = bypassed(workflow, ASIDE)
    made = {FULL: plain, MAGCACHE: with_magcache(workflow, types, speedup)}
    if easycache:
        own = "EasyCache" in classes(workflow)
        made[EASYCACHE] = bypassed(workflow, ASIDE - {"EasyCache"}) if own else patched(plain, types, "EasyCache")
    return made


def with_magcache(workflow: Workflow, types: Types, speedup: float = DEFAULT_SPEEDUP) -> Workflow:
    """With its own MagCache nodes only, or with MagCache Auto if it has none."""
    if classes(workflow) & set(SKIPPING):
        return bypassed(workflow, ASIDE - set(SKIPPING))
    return patched(bypassed(workflow, ASIDE), types, "MagCacheAuto", speedup=speedup)


def run_bench(client: Client, made: Mapping[str, Workflow], types: Types, repeats: int, told: Told) -> Iterator[Round]:
    """`repeats` rounds, each with a seed of its own. Before them every way runs once, to load and to calibrate.

    The order changes from round to round, so that what else the machine does falls on all alike. Raises `WorkflowError`, `ServerError`.
    """
    for way, workflow in made.items():
        sample(client, workflow, types, _WARM_UP_SEED, doing(told, f"warming up · {way}"))
    names = list(made)
    for index in range(repeats):
        seed, turn = FIRST_SEED + index, index % len(names)
        order = names[turn:] + names[:turn]
        runs = {way: sample(client, made[way], types, seed, doing(told, f"seed {seed} · {way}")) for way in order}
        full = runs[FULL].pictures
        quality = {way: compared(full, runs[way].pictures) for way in names if way != FULL}
        yield Round(seed, {way: _thinned(runs[way]) for way in names}, quality)


def runs_needed(made: Mapping[str, Workflow], repeats: int) -> int:
    return len(made) * (repeats + 1)


def facts_of(rounds: Sequence[Round], workflow: str, client: Client) -> dict[str, Any]:
    """The result as JSON."""
    found = {way: _facts_of_way(rounds, way) for way in rounds[0].runs}
    found[FULL]["nfe"] = rounds[-1].runs[MAGCACHE].evaluations or None
    return {
        "workflow": workflow,
        "server": client.url,
        "comfyui": client.version,
        "device": client.device,
        "seeds": [each.seed for each in rounds],
        "ways": found,
    }


def _facts_of_way(rounds: Sequence[Round], way: str) -> dict[str, Any]:
    runs = [each.runs[way] for each in rounds]
    facts: dict[str, Any] = {
        "nfe": runs[-1].nfe or None,
        "seconds": [run.seconds for run in runs],
        "seconds_median": median(run.seconds for run in runs),
        "sampler_seconds_median": median(run.sampler_seconds for run in runs),
    }
    if way != FULL:
        facts |= {
            "speedup": median(each.speedup(way) for each in rounds),
            "sampler_speedup": median(each.sampler_speedup(way) for each in rounds),
            **together(each.quality[way] for each in rounds).to_json(),
            "reports": runs[-1].reports,
        }
    return facts


def _thinned(run: Sampled) -> Sampled:
    """Only some pictures of it, evenly spread: a video has hundreds of frames."""
    every = -(-len(run.pictures) // _SHOWN)
    return replace(run, pictures=run.pictures[every // 2 :: every])
