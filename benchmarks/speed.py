"""The cost of a skipped step, and the measured beside the predicted speed-up of whole runs, on the small models in ComfyUI.

    python -m benchmarks.speed

It measures at the size that the models draw and at a larger one, where a step is more like that of a full-size model: more of its time
is spent in the blocks. Runs with and without MagCache take turns; figures are medians.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import torch
import typer
from rich.console import Console

from benchmarks.small.cases import BENCHES, Bench, Case, make_cases
from benchmarks.small.comfyui_host import Host, start_comfyui, with_magcache
from magcache.runtime.calibration_mode import CalibrationMode
from magcache.runtime.modes import SpeedupMode

LARGER = {"image": 4, "video": 2, "emoji": 2}
"""Factor of the width and of the height of the larger size."""
console = Console()


def enlarged(case: Case, factor: int) -> Case:
    """The same prompt with new noise for a picture `factor` times as wide and as high."""
    *rest, height, width = case.noise.shape
    return Case(case.prompt, torch.randn(*rest, height * factor, width * factor, generator=torch.Generator().manual_seed(0)))


def run_bench(bench: Bench, factor: int, repeats: int, speedups: tuple[float, ...] = (2.0, 3.0)) -> dict[str, Any]:
    """The figures of each speed-up, medians over `repeats` runs."""
    first, (second, *_) = make_cases(bench.small, 1)
    tuning, case = enlarged(first, factor), enlarged(second, factor)
    setting, full_runs, results = bench.setting, list[float](), dict[str, Any]()
    with tempfile.TemporaryDirectory() as folder:
        host = Host(bench.small, Path(folder))
        plain = host.model(setting.shift)

        def seconds(model: Any) -> float:
            began = time.perf_counter()
            host.sample(model, case.prompt, case.noise, setting)
            return time.perf_counter() - began

        host.sample(with_magcache(plain, CalibrationMode("auto", "own"))[0], tuning.prompt, tuning.noise, setting)
        cached = {speedup: with_magcache(plain, SpeedupMode(speedup, "own")) for speedup in speedups}
        spent: dict[float, list[float]] = {speedup: [] for speedup in speedups}
        seconds(plain)
        for _ in range(repeats):
            full_runs.append(seconds(plain))
            for speedup, (model, _) in cached.items():
                spent[speedup].append(seconds(model))
    for speedup, (_, reports) in cached.items():
        events = [(took, event.reused) for report in reports for took, event in zip(report.seconds, report.events, strict=True)]
        full, skipped = (median(took for took, reused in events if reused is kind) for kind in (False, True))
        ratios = [plain_run / run for plain_run, run in zip(full_runs, spent[speedup], strict=True)]
        results[f"{speedup}×"] = {
            "full_step_ms": full * 1000,
            "skipped_step_ms": skipped * 1000,
            "skipped_by_full": skipped / full,
            "predicted_speedup": reports[-1].predicted,
            "measured_speedup": median(ratios),
            "measured_by_predicted": median(ratios) / reports[-1].predicted,
        }
    return results


def main(
    out: Annotated[Path, typer.Option(help="Folder for speed.json.")] = Path(__file__).parent / "results",
    repeats: Annotated[int, typer.Option(min=1)] = 7,
    only: Annotated[str | None, typer.Option(help="image, video or emoji; all by default.")] = None,
) -> None:
    start_comfyui()
    results = {
        title: run_bench(bench, factor, repeats)
        for bench in BENCHES
        for title, factor in ((bench.name, 1), (f"{bench.name}, {LARGER[bench.name]} times as wide and high", LARGER[bench.name]))
        if only in (None, bench.name)
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "speed.json").write_text(json.dumps({"threads": torch.get_num_threads(), "repeats": repeats, "models": results}, indent=1))
    console.print_json(data=results)


if __name__ == "__main__":
    typer.run(main)
