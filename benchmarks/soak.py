"""Queue hundreds of prompts on one real server and cancel many of them: all must end, and the server's memory must not grow.

    python -m benchmarks.soak --prompts 300

The same prompts are then sampled without MagCache's nodes, which shows how much memory ComfyUI itself takes.
"""

from __future__ import annotations

import json
import random
import re
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import httpx
import psutil
import typer
from rich.console import Console
from rich.progress import track

from magcache.demo.run import PROMPTS, demo_workflow, server_folder
from magcache.server.events import EventStream, ServerError, ServerEvent
from magcache.server.launch import NEWEST, Server, fetch_comfyui, serve
from magcache.server.workflow import Workflow, WorkflowError, insert_node

BATCH = 10
"""Number of prompts that are queued together."""
_MOST_SILENCES = 60
"""A server that sends nothing this many times in a row, ten seconds each, hangs."""
NODES: dict[str, dict[str, dict[str, Any]]] = {
    "plain": {},
    "rule": {"MagCache": {"model_type": "flux", "magcache_thresh": 0.24, "retention_ratio": 0.1, "magcache_K": 5}},
    "auto": {"MagCacheAuto": {"speedup": 2.0}},
    "auto, fast": {"MagCacheAuto": {"speedup": 3.0, "reuse": "hold", "cache_device": "cpu"}},
    "calibration": {"MagCacheCalibration": {"model_type": "auto"}},
    "calibration, named": {"MagCacheCalibration": {"model_type": "auto", "name": "soak"}},
    "compiled": {
        "CompileModel": {"mode": "default", "backend": "eager", "fullgraph": False, "dynamic": False},
        "MagCacheAuto": {"speedup": 2.0},
    },
}
"""Nodes between the model and the sampler, with their inputs: a name of each choice, and the chain of nodes."""

console = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Job:
    """A prompt, and how it is cancelled if it is."""

    nodes: str
    """One of `NODES`."""
    workflow: Workflow
    delete: bool = False
    """Whether it is deleted from the queue before its turn."""
    interrupt_at: int | None = None
    """The step after which it is interrupted; None if it is not."""


@dataclass(frozen=True, slots=True)
class JobEnd:
    """How a prompt ended. A deleted prompt ends with its batch."""

    how: str
    """`finished`, `interrupted` or `deleted`."""
    rss_mb: float
    """Resident memory of the server at that moment, in MiB."""


def make_jobs(count: int, seed: int, magcache: bool = True) -> list[Job]:
    """`count` jobs, the same ones for the same seed. Without `magcache` they are the same but for MagCache's nodes, which are left out."""
    chance, jobs = random.Random(seed), list[Job]()
    for number in range(count):
        steps = chance.randint(6, 12)
        workflow = demo_workflow(chance.choice(PROMPTS), chance.getrandbits(32), steps)
        workflow["latent"]["inputs"].update(
            width=chance.choice((96, 128, 192)), height=chance.choice((96, 128, 192)), batch_size=chance.randint(1, 3)
        )
        nodes = chance.choice(list(NODES))
        for node, inputs in NODES[nodes].items():
            if magcache or not node.startswith("MagCache"):
                workflow = insert_node(workflow, node, inputs, [("sampler", "model")], name=node)
        fate, step = chance.random(), chance.randrange(1, steps - 2)
        last = number + 1 == count or (number + 1) % BATCH == 0  # Never cancelled: its end is that of the batch.
        jobs.append(Job(nodes, workflow, delete=fate < 0.15 and not last, interrupt_at=step if fate > 0.8 and not last else None))
    return jobs


def run_jobs(server: Server, jobs: list[Job]) -> Iterator[JobEnd]:
    """Queue all of `jobs`, a batch at a time, and yield how each ended, in their order.

    Raises `WorkflowError` if one fails, and `ServerError` if the server stops or hangs.
    """
    name, process = uuid.uuid4().hex, psutil.Process(server.pid)
    url = f"http://{server.address}"
    with httpx.Client(base_url=url, timeout=600) as http, closing(EventStream(url, name)) as events:
        for first in range(0, len(jobs), BATCH):
            batch = jobs[first : first + BATCH]
            ids = [_queue(http, name, job.workflow) for job in batch]
            http.post("/queue", json={"delete": [id for id, job in zip(ids, batch, strict=True) if job.delete]})
            waiting = {id: job.interrupt_at for id, job in zip(ids, batch, strict=True) if job.interrupt_at is not None}
            ends: dict[str, JobEnd] = {}
            while ids[-1] not in ends:
                event = _next_event(events, url)
                data, id = event.data, event.data.get("prompt_id", "")
                if event.type == "execution_error":
                    raise WorkflowError(f"{data['node_type']} failed: {data['exception_message'].strip()}")
                if event.type == "progress" and data["value"] >= waiting.get(id, data["max"] + 1):
                    del waiting[id]
                    http.post("/interrupt", json={"prompt_id": id})
                elif event.type in ("execution_success", "execution_interrupted"):
                    how = "finished" if event.type == "execution_success" else "interrupted"
                    ends[id] = JobEnd(how, process.memory_info().rss / 2**20)
            yield from (ends.get(id) or JobEnd("deleted", ends[ids[-1]].rss_mb) for id in ids)


def complaints(log: str) -> list[str]:
    """The lines of a server's log that report a failure."""
    return re.findall(r"^.*(?:Traceback|\[ERROR\]|!!!|rror:).*$", log, re.MULTILINE)


def soak(count: int, seed: int, magcache: bool) -> dict[str, Any]:
    """Run `count` jobs on a server of their own; return how they ended, the complaints in its log and its memory in MiB."""
    jobs = make_jobs(count, seed, magcache)
    with server_folder() as base, serve(fetch_comfyui(NEWEST), base, ["--cpu", "--disable-metadata"]) as server:
        read = len(server.log.read_text())
        ends = list(track(run_jobs(server, jobs), "with MagCache" if magcache else "without", count, console=console))
        found = complaints(server.log.read_text()[read:])
    memory = [end.rss_mb for end in ends]
    early, late = median(memory[count // 5 : count * 2 // 5]), median(memory[count * 4 // 5 :])
    return {
        **Counter(end.how for end in ends),
        "jobs": Counter(job.nodes for job in jobs),
        "complaints_in_log": found,
        "rss_mb": {"second_fifth": early, "last_fifth": late, "after_every_tenth": [round(each, 1) for each in memory[9::10]]},
    }


def _queue(http: httpx.Client, client: str, workflow: Workflow) -> str:
    """The id under which the server queued a workflow. Raises `WorkflowError`."""
    answer = http.post("/prompt", json={"prompt": workflow, "client_id": client})
    if answer.is_error:
        raise WorkflowError(f"The server refused a workflow: {answer.text}")
    return answer.json()["prompt_id"]


def _next_event(events: EventStream, url: str) -> ServerEvent:
    """The next event that is no text of a node. Raises `ServerError`."""
    silences = 0
    while silences < _MOST_SILENCES:
        event = events.receive()
        if isinstance(event, ServerEvent):
            return event
        silences = silences + 1 if event is None else 0
    raise ServerError(url, "it sent nothing for ten minutes")


def main(
    prompts: Annotated[int, typer.Option(min=20, help="Number of prompts.")] = 300,
    seed: int = 0,
    out: Annotated[Path, typer.Option(help="Folder for soak.json.")] = Path(__file__).parent / "results",
) -> None:
    found = {name: soak(prompts, seed, magcache) for name, magcache in (("with_magcache", True), ("without_magcache", False))}
    result = {"comfyui": NEWEST, "prompts": prompts, "seed": seed, **found}
    out.mkdir(parents=True, exist_ok=True)
    (out / "soak.json").write_text(json.dumps(result, indent=1))
    console.print_json(data=result)


if __name__ == "__main__":
    typer.run(main)
