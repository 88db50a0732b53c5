"""The demo: a real ComfyUI server, a real small model, the same pictures with and without MagCache."""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

from ..reports.comparison import Comparison
from ..reports.metrics import Picture
from ..server.client import Client, Outcome
from ..server.launch import find_comfyui, install_node, serve
from ..server.runs import Told, doing
from ..server.workflow import Workflow

_HERE = Path(__file__).parent
CHECKPOINT = _HERE / "checkpoints" / "magcache_demo_flux.safetensors"
CALIBRATION = ("a green circle on night", 1)
"""Prompt and seed of the calibration; none of those that are evaluated."""
PROMPTS = (
    "a red star on sand",
    "a blue circle on snow",
    "a yellow triangle on night",
    "a purple square on sky",
    "a green star on night",
    "an orange circle on sky",
    "a red triangle on snow",
    "a blue square on sand",
)
FIRST_SEED = 1000


@dataclass(frozen=True, slots=True)
class Measured:
    """Pictures of one way to sample, and how long they took."""

    pictures: list[Picture]
    seconds: float
    nfe: int


@dataclass(frozen=True, slots=True)
class Row:
    """One prompt: all steps, MagCache, and plain sampling with as few evaluations."""

    prompt: str
    seed: int
    full: Measured
    cached: Measured
    fewer: Measured


@dataclass(frozen=True, slots=True)
class DemoResult:
    """Everything the report shows."""

    steps: int
    speedup: float
    rows: list[Row]
    plan: dict[str, Any] = field(repr=False)

    @property
    def predicted(self) -> float:
        return self.steps / self.rows[0].cached.nfe

    @property
    def measured(self) -> float:
        """Sampling time of all prompts without MagCache by that with it."""
        return sum(row.full.seconds for row in self.rows) / sum(row.cached.seconds for row in self.rows)

    @property
    def cached(self) -> Comparison:
        return self._quality(lambda row: row.cached)

    @property
    def fewer(self) -> Comparison:
        return self._quality(lambda row: row.fewer)

    def _quality(self, way: Callable[[Row], Measured]) -> Comparison:
        """Closeness to the pictures of all steps."""
        return Comparison.of(pair for row in self.rows for pair in zip(row.full.pictures, way(row).pictures, strict=True))

    def to_json(self) -> dict[str, Any]:
        seconds = {way: mean(getattr(row, way).seconds for row in self.rows) for way in ("full", "cached", "fewer")}
        return {
            "steps": self.steps,
            "nfe": self.rows[0].cached.nfe,
            "prompts": len(self.rows),
            "pictures": sum(len(row.full.pictures) for row in self.rows),
            "predicted_speedup": self.predicted,
            "measured_speedup": self.measured,
            "seconds_per_run": seconds,
            "magcache": self.cached.to_json(),
            "plain_with_as_few_steps": self.fewer.to_json(),
            "target_speedup": self.speedup,
            "decisions": self.plan["decisions"],
            "sigmas": self.plan["sigmas"],
        }


def run_demo(steps: int, speedup: float, comfyui: Path | None, told: Told) -> DemoResult:
    """Calibrate on one prompt, then sample `PROMPTS` three ways. Raises `MagCacheError` when ComfyUI or a workflow fails."""
    folder = find_comfyui(comfyui)
    with server_folder() as base:
        told("starting ComfyUI", 0, 1)
        with serve(folder, base, ["--cpu", "--disable-metadata"]) as server, Client(server.address) as client:
            return _sample_all(client, steps, speedup, told)


def _sample_all(client: Client, steps: int, speedup: float, told: Told) -> DemoResult:
    def sample(what: str, workflow: Workflow) -> Outcome:
        return client.run(workflow, doing(told, what))

    prompt, seed = CALIBRATION
    sample("calibrating", with_node(demo_workflow(prompt, seed, steps), "MagCacheCalibration", model_type="auto"))
    rows, plan = [], {}
    for index, prompt in enumerate(PROMPTS):
        seed = FIRST_SEED + index
        plain = demo_workflow(prompt, seed, steps)
        full = sample(f"{prompt} · all steps", plain)
        cached = sample(f"{prompt} · MagCache", with_node(plain, "MagCacheAuto", speedup=speedup))
        plan = cached.reports[-1]
        fewer = sample(f"{prompt} · fewer steps", demo_workflow(prompt, seed, plan["nfe"]))
        rows.append(Row(prompt, seed, _measured(full, steps), _measured(cached, plan["nfe"]), _measured(fewer, plan["nfe"])))
    return DemoResult(steps, speedup, rows, plan)


def demo_workflow(prompt: str, seed: int, steps: int) -> Workflow:
    """The bundled workflow, plain, for `prompt`."""
    workflow: Workflow = json.loads((_HERE / "workflows" / "text_to_image.json").read_text(encoding="utf-8"))
    workflow["positive"]["inputs"]["text"] = prompt
    workflow["sampler"]["inputs"].update(seed=seed, steps=steps)
    return workflow


def with_node(workflow: Workflow, node: str, **inputs: Any) -> Workflow:
    """A copy of `workflow` with a MagCache node between its model and its sampler."""
    workflow = copy.deepcopy(workflow)
    workflow["magcache"] = {"class_type": node, "inputs": {"model": workflow["sampler"]["inputs"]["model"], **inputs}}
    workflow["sampler"]["inputs"]["model"] = ["magcache", 0]
    return workflow


def _measured(outcome: Outcome, nfe: int) -> Measured:
    return Measured(outcome.pictures, outcome.seconds["sampler"], nfe)


@contextmanager
def server_folder() -> Iterator[Path]:
    """A folder for the server's models and outputs, with this MagCache in it."""
    with tempfile.TemporaryDirectory(prefix="magcache-demo-") as scratch:
        base = Path(scratch)
        install_node(base)
        yield base
