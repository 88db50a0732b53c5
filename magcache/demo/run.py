"""The demo: sample the same pictures with and without MagCache on a real ComfyUI server with a small model."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from ..reports.comparison import Comparison
from ..reports.metrics import Picture
from ..server.client import Client, WorkflowResult
from ..server.launch import find_comfyui, install_node, serve
from ..server.runs import CALIBRATION_SEED, FIRST_SEED, WARM_UP_SEED, OnProgress, begin_task
from ..server.workflow import Workflow, insert_node

_HERE = Path(__file__).parent
CHECKPOINT = _HERE / "checkpoints" / "magcache_demo_flux.safetensors"
CALIBRATION_PROMPT = "a pig on rose"
"""Not among the prompts that are compared."""
PROMPTS = (
    "a fox on mint",
    "a panda on rose",
    "an owl on sky",
    "a ladybug on mint",
    "a strawberry on lilac",
    "a hamburger on night",
    "a cactus on sand",
    "a cupcake on lilac",
    "a frog on sky",
    "a tiger on night",
    "a rabbit on sand",
    "a butterfly on rose",
    "an avocado on night",
    "a mushroom on sky",
    "a sunflower on mint",
    "a doughnut on rose",
)
TASKS = 3 + 3 * len(PROMPTS)
"""Tasks that `run_demo` announces: the start of the server, a warm-up, the calibration, and three runs of each prompt."""
_BUSY = 0.2
"""The machine was busy if the middle half of the times of the same work spreads over more than this part of their median."""


@dataclass(frozen=True, slots=True)
class TimedPictures:
    """The pictures of one run, and what they took."""

    pictures: list[Picture]
    seconds: float
    """Of the sampling node."""
    nfe: int
    """Evaluations that ran the model's blocks."""


@dataclass(frozen=True, slots=True)
class DemoRow:
    """One prompt and seed, sampled in three ways."""

    prompt: str
    seed: int
    full: TimedPictures
    """With all steps."""
    cached: TimedPictures
    """With MagCache."""
    fewer: TimedPictures
    """Without MagCache, with as many steps as MagCache needed evaluations."""


@dataclass(frozen=True, slots=True)
class DemoResult:
    """Everything the report shows."""

    steps: int
    speedup: float
    """The speed-up that was asked for."""
    rows: list[DemoRow]
    report: dict[str, Any] = field(repr=False)
    """The last run with MagCache, as `magcache.reports.run_report.RunReport.to_json` gives it."""

    @property
    def predicted(self) -> float:
        """Steps per evaluation that ran the model's blocks."""
        return self.steps / self.rows[0].cached.nfe

    @property
    def speedups(self) -> list[float]:
        """The measured speed-up of each prompt: its sampling time with all steps divided by that with MagCache right after."""
        return [row.full.seconds / row.cached.seconds for row in self.rows]

    @property
    def busy(self) -> bool:
        """Whether the runs with all steps, which are the same work, took times too different to trust."""
        seconds = [row.full.seconds for row in self.rows]
        low, high = _middle_half(seconds)
        return high - low > _BUSY * median(seconds)

    @property
    def cached(self) -> Comparison:
        """How close the pictures with MagCache are to those of all steps."""
        return self._quality(lambda row: row.cached)

    @property
    def fewer(self) -> Comparison:
        """How close the pictures of plain sampling with fewer steps are to those of all steps."""
        return self._quality(lambda row: row.fewer)

    def _quality(self, way: Callable[[DemoRow], TimedPictures]) -> Comparison:
        return Comparison.of(pair for row in self.rows for pair in zip(row.full.pictures, way(row).pictures, strict=True))

    def to_json(self) -> dict[str, Any]:
        return {
            "steps": self.steps,
            "nfe": self.rows[0].cached.nfe,
            "prompts": len(self.rows),
            "pictures": sum(len(row.full.pictures) for row in self.rows),
            "predicted_speedup": self.predicted,
            "measured_speedup": median(self.speedups),
            "middle_half_of_speedups": _middle_half(self.speedups),
            "machine_was_busy": self.busy,
            "seconds_per_run": {way: median(getattr(row, way).seconds for row in self.rows) for way in ("full", "cached", "fewer")},
            "magcache": self.cached.to_json(),
            "plain_with_as_few_steps": self.fewer.to_json(),
            "target_speedup": self.speedup,
            "decisions": self.report["decisions"],
            "sigmas": self.report["sigmas"],
        }


def run_demo(steps: int, speedup: float, comfyui: Path | None, on_progress: OnProgress) -> DemoResult:
    """Calibrate on one prompt, then sample `PROMPTS` in three ways. Raises `MagCacheError` if ComfyUI or a workflow fails."""
    folder = find_comfyui(comfyui)
    with server_folder() as base:
        on_progress("starting ComfyUI", 0, 1)
        with serve(folder, base, ["--cpu", "--disable-metadata"]) as server, Client(server.address) as client:
            return _sample_all(client, steps, speedup, on_progress)


def _sample_all(client: Client, steps: int, speedup: float, on_progress: OnProgress) -> DemoResult:
    def run(task: str, workflow: Workflow) -> WorkflowResult:
        return client.run(workflow, begin_task(on_progress, task))

    calibration = demo_workflow(CALIBRATION_PROMPT, CALIBRATION_SEED, steps)
    run("warming up", demo_workflow(CALIBRATION_PROMPT, WARM_UP_SEED, 2))
    run("calibrating", with_node(calibration, "MagCacheCalibration", model_type="auto"))
    rows, report = list[DemoRow](), dict[str, Any]()
    for seed, prompt in enumerate(PROMPTS, FIRST_SEED):
        plain = demo_workflow(prompt, seed, steps)
        full = run(f"{prompt} · all steps", plain)
        cached = run(f"{prompt} · MagCache", with_node(plain, "MagCacheAuto", speedup=speedup))
        report = cached.reports[-1]
        nfe = report["nfe"]
        fewer = run(f"{prompt} · fewer steps", demo_workflow(prompt, seed, nfe))
        rows.append(DemoRow(prompt, seed, _timed(full, steps), _timed(cached, nfe), _timed(fewer, nfe)))
    return DemoResult(steps, speedup, rows, report)


def demo_workflow(prompt: str, seed: int, steps: int) -> Workflow:
    """The demo's workflow without MagCache, for this prompt."""
    workflow: Workflow = json.loads((_HERE / "workflows" / "text_to_image.json").read_text(encoding="utf-8"))
    workflow["positive"]["inputs"]["text"] = prompt
    workflow["sampler"]["inputs"].update(seed=seed, steps=steps)
    return workflow


def with_node(workflow: Workflow, kind: str, **values: Any) -> Workflow:
    """A copy of a demo workflow with a node of this kind, named `magcache`, between the model and the sampler."""
    return insert_node(workflow, kind, values, [("sampler", "model")], name="magcache")


def _timed(result: WorkflowResult, nfe: int) -> TimedPictures:
    return TimedPictures(result.pictures, result.seconds["sampler"], nfe)


def _middle_half(values: Sequence[float]) -> tuple[float, float]:
    """The quartiles between which the middle half of `values` lies."""
    low, _, high = quantiles(values, n=4, method="inclusive")
    return low, high


@contextmanager
def server_folder() -> Generator[Path, None, None]:
    """A temporary folder for a server's models and outputs, with this MagCache among its custom nodes."""
    with tempfile.TemporaryDirectory(prefix="magcache-demo-") as scratch:
        base = Path(scratch)
        install_node(base)
        yield base
