"""Hundreds of prompts on one real server, many of them cancelled: all must end, and the server's memory must stay as it is.

    python -m benchmarks.soak --prompts 300

The same prompts are then sampled without MagCache's nodes, which shows what ComfyUI itself takes.
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
import websocket
from rich.console import Console
from rich.progress import track

from magcache.demo.run import PROMPTS, demo_workflow, server_folder
from magcache.server.launch import NEWEST, Server, fetch_comfyui, serve
from magcache.server.workflow import Workflow, WorkflowError

WAITING = 10
"""Prompts that are queued together."""
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
"""What stands between the model and the sampler."""

console = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Job:
    """A prompt and its fate."""

    nodes: str
    workflow: Workflow
    delete: bool = False
    """Taken out of the queue before its turn."""
    interrupt_at: int | None = None
    """The step at which it is interrupted."""


@dataclass(frozen=True, slots=True)
class End:
    """How a prompt ended, and the server's memory then. A deleted prompt ends with its batch."""

    how: str
    rss_mb: float


def make_jobs(count: int, seed: int, magcache: bool = True) -> list[Job]:
    """The same for the same seed; without `magcache` its nodes are left out of the same jobs."""
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
                workflow[node] = {"class_type": node, "inputs": {"model": workflow["sampler"]["inputs"]["model"], **inputs}}
                workflow["sampler"]["inputs"]["model"] = [node, 0]
        fate, step = chance.random(), chance.randrange(1, steps - 2)
        last = number + 1 == count or (number + 1) % WAITING == 0  # Tells when all of a batch have ended.
        jobs.append(Job(nodes, workflow, delete=fate < 0.15 and not last, interrupt_at=step if fate > 0.8 and not last else None))
    return jobs


def run_jobs(server: Server, jobs: list[Job]) -> Iterator[End]:
    """Queue all of `jobs`, a batch at a time. Raises `WorkflowError` when one fails."""
    name, process = uuid.uuid4().hex, psutil.Process(server.pid)
    events = websocket.create_connection(f"ws://{server.address}/ws?clientId={name}", timeout=600)
    with httpx.Client(base_url=f"http://{server.address}", timeout=600) as http, closing(events):
        for first in range(0, len(jobs), WAITING):
            batch = jobs[first : first + WAITING]
            ids = [_queue(http, name, job.workflow) for job in batch]
            http.post("/queue", json={"delete": [id for id, job in zip(ids, batch, strict=True) if job.delete]})
            waiting = {id: job.interrupt_at for id, job in zip(ids, batch, strict=True) if job.interrupt_at is not None}
            ends: dict[str, End] = {}
            while ids[-1] not in ends:
                kind, data = _next(events)
                id = data.get("prompt_id", "")
                if kind == "execution_error":
                    raise WorkflowError(f"{data['node_type']} failed: {data['exception_message'].strip()}")
                if kind == "progress" and data["value"] >= waiting.get(id, data["max"] + 1):
                    del waiting[id]
                    http.post("/interrupt", json={"prompt_id": id})
                elif kind in ("execution_success", "execution_interrupted"):
                    ends[id] = End("finished" if kind == "execution_success" else "interrupted", process.memory_info().rss / 2**20)
            yield from (ends.get(id) or End("deleted", ends[ids[-1]].rss_mb) for id in ids)


def complaints(log: str) -> list[str]:
    """The lines of a server's log that tell of a failure."""
    return re.findall(r"^.*(?:Traceback|\[ERROR\]|!!!|rror:).*$", log, re.MULTILINE)


def soak(count: int, seed: int, magcache: bool) -> dict[str, Any]:
    jobs = make_jobs(count, seed, magcache)
    with server_folder() as base, serve(fetch_comfyui(NEWEST), base, ["--cpu", "--disable-metadata"]) as server:
        read = len(server.log.read_text())
        ends = list(track(run_jobs(server, jobs), "with MagCache" if magcache else "without", count, console=console))
        said = complaints(server.log.read_text()[read:])
    memory = [end.rss_mb for end in ends]
    early, late = median(memory[count // 5 : count * 2 // 5]), median(memory[count * 4 // 5 :])
    return {
        **Counter(end.how for end in ends),
        "jobs": Counter(job.nodes for job in jobs),
        "complaints_in_log": said,
        "rss_mb": {"second_fifth": early, "last_fifth": late, "after_every_tenth": [round(each, 1) for each in memory[9::10]]},
    }


def _queue(http: httpx.Client, client: str, workflow: Workflow) -> str:
    answer = http.post("/prompt", json={"prompt": workflow, "client_id": client})
    if answer.is_error:
        raise WorkflowError(f"The server refused a workflow: {answer.text}")
    return answer.json()["prompt_id"]


def _next(events: websocket.WebSocket) -> tuple[str, dict[str, Any]]:
    while True:
        message = events.recv()
        if isinstance(message, str):  # Others are previews.
            event = json.loads(message)
            return event["type"], event["data"]


def main(
    prompts: Annotated[int, typer.Option(min=20)] = 300,
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
