"""Measure MagCache at full size on a GPU, inside real ComfyUI: FLUX.1-dev at 1024² and Wan2.1-T2V-14B at 832×480×81.

    python -m benchmarks.gpu
    python -m benchmarks.gpu --model wan --only compiled

The weights are random, since the time of a forward does not depend on them; the pictures mean nothing. `--tiny` runs the same code on
a CPU in seconds. Results are written after every measurement; those of a later run on the same machine are added to them.
"""

from __future__ import annotations

import gc
import importlib
import json
import platform
import sys
import time
from datetime import datetime, timezone
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table

from magcache.server.launch import find_comfyui

if TYPE_CHECKING:
    from benchmarks.gpu.measure import GpuMeasurement

RESULTS = Path(__file__).parents[1] / "results" / "gpu.json"

Document = dict[str, Any]
console = Console(width=None if sys.stdout.isatty() else 150)


class ModelName(str, Enum):
    flux = "flux"
    wan = "wan"


class Results:
    """The file of results. It is replaced in one piece after every measurement, so an interruption loses none."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.document: Document = json.loads(path.read_text()) if path.exists() else {}

    def entry(self, name: str, machine: Document, dimensions: Document) -> Document:
        """The results of a model. Figures of another machine or size are dropped: they must not stand beside new ones."""
        found = self.document.get(name, {})
        same = found.get("machine") == machine and found.get("dimensions") == json.loads(json.dumps(dimensions))
        fresh = {"machine": machine, "dimensions": dimensions, "figures": found["figures"] if same else {}, "left_out": [], "failed": {}}
        self.document[name] = fresh
        return fresh

    def write(self) -> None:
        """Write the file."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        scratch = self._path.with_name(self._path.name + ".part")
        scratch.write_text(json.dumps(self.document, indent=1) + "\n")
        scratch.replace(self._path)


def enter_comfyui(folder: Path, cpu: bool) -> str:
    """Make ComfyUI importable, set it to the CPU or the GPU, register MagCache's model folder, and return ComfyUI's version."""
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    arguments = importlib.import_module("comfy.cli_args").args
    arguments.cpu = cpu
    arguments.use_pytorch_cross_attention = True
    importlib.import_module("magcache.comfyui.curve_folders").register_folder()
    return importlib.import_module("comfyui_version").__version__


def machine_of(device: torch.device, comfyui: str) -> Document:
    """The hardware and software that times depend on."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {"gpu": gpu, "torch": torch.__version__, "cuda": torch.version.cuda, "comfyui": comfyui, "python": platform.python_version()}


def measure(results: Results, name: ModelName, tiny: bool, device: torch.device, comfyui: str, until: float, only: str) -> None:
    """Take all measurements of a model whose names contain `only` and which should end before `until` on the monotonic clock."""
    from benchmarks.gpu.measure import GpuBench
    from benchmarks.gpu.models import workload_of

    workload = workload_of(name.value, tiny)
    entry = results.entry(workload.name, machine_of(device, comfyui), workload.describe())
    bench = GpuBench(workload, device, entry["figures"])
    entry["parameters"] = bench.parameters
    chosen = [measurement for measurement in bench.measurements() if only in measurement.name]
    entry["left_out"] = [measurement.name for measurement in chosen]
    results.write()
    for measurement in chosen:
        expected = measurement.expected_seconds() or 0.0
        if time.monotonic() + expected >= until:
            continue
        _take(measurement, entry)
        entry["left_out"].remove(measurement.name)
        entry["date"] = datetime.now(timezone.utc).isoformat(timespec="seconds")
        results.write()


def _take(measurement: GpuMeasurement, entry: Document) -> None:
    """Take one measurement. If it fails, for want of memory or of a compiler, the others go on."""
    console.print(f"{measurement.name} …", style="dim")
    try:
        entry["figures"][measurement.name] = measurement.take()
    except RuntimeError as error:
        entry["figures"].pop(measurement.name, None)
        entry["failed"][measurement.name] = f"{type(error).__name__}: {error}"[:500]


def table(name: str, entry: Document) -> Table:
    """The most important figures, a line each."""
    made = Table("measurement", "full step", "skipped step", "loop", "predicted", "measured", "ratio", "peak", "residuals", title=name)
    for measured, figures in entry["figures"].items():
        for kind in ("without", "on_device", "offloaded"):
            if kind in figures:
                made.add_row(f"{measured} {kind}", *_cells(figures[kind]))
        if "loop_seconds" in figures:
            made.add_row(measured, *_cells(figures))
        if "auto_added_per_step" in figures:
            auto, offloaded = (_waits_added(figures[f"{place}_added_per_step"]) for place in ("auto", "offloaded"))
            made.add_row(f"{measured}, added a step: {auto}, offloaded {offloaded}")
    made.caption = "; ".join(
        f"{label}: {', '.join(entry[key])}" for key, label in (("left_out", "left out"), ("failed", "failed")) if entry[key]
    )
    return made


def _waits_added(added: dict[str, float]) -> str:
    """Calls that wait, and numbers read, which cause such calls. Copies to the host are left out: each waits by a call of its own."""
    from benchmarks.gpu.runs import READ

    calls = sum(count for name, count in added.items() if name != READ and "DtoH" not in name)
    return f"{calls:+.2f} waits ({added.get(READ, 0.0):+.2f} reads)"


def _cells(figures: Document) -> list[str]:
    def cell(key: str, scale: float, unit: str) -> str:
        value = figures.get(key)
        return "" if value is None else f"{value * scale:.2f}{unit}"

    return [
        cell("full_step_seconds", 1e3, " ms"), cell("skipped_step_seconds", 1e3, " ms"), cell("loop_seconds", 1, " s"),
        cell("predicted_speedup", 1, "×"), cell("measured_speedup", 1, "×"), cell("measured_over_predicted", 1, ""),
        cell("peak_memory_bytes", 1e-9, " GB"), cell("residual_bytes", 1e-9, " GB"),
    ]  # fmt: skip


def release(device: torch.device) -> None:
    """Free the memory of a model for the next one."""
    importlib.import_module("comfy.model_management").unload_all_models()
    torch._dynamo.reset()
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def main(
    model: Annotated[ModelName | None, typer.Option(help="The model to measure; by default both, which share the time.")] = None,
    out: Annotated[Path | None, typer.Option(help="File of results, to which new ones are added.")] = None,
    minutes: Annotated[float, typer.Option(help="Measurements that do not fit into this time are left out.")] = 9.0,
    only: Annotated[str, typer.Option(help="Only measurements whose name contains this, such as 'compiled' or 'steps'.")] = "",
    tiny: Annotated[bool, typer.Option(help="Tiny models on the CPU, to try the benchmark.")] = False,
    comfyui: Annotated[Path | None, typer.Option(help="A ComfyUI folder; by default COMFYUI_PATH, else the pinned one.")] = None,
) -> None:
    if not tiny and not torch.cuda.is_available():
        raise typer.BadParameter("There is no CUDA device. --tiny runs on the CPU.")
    began = time.monotonic()
    device = torch.device("cpu" if tiny else "cuda:0")
    version = enter_comfyui(find_comfyui(comfyui), cpu=tiny)
    results = Results(out or RESULTS.with_stem("gpu_tiny" if tiny else "gpu"))
    names = list(ModelName) if model is None else [model]
    for index, name in enumerate(names):
        measure(results, name, tiny, device, version, began + minutes * 60 * (index + 1) / len(names), only)
        console.print(table(name.value, results.document[name.value]))
        release(device)


if __name__ == "__main__":
    typer.run(main)
