"""Whether one calibration serves other settings: plans from a calibration at 30 Euler steps beside plans from one at the same settings.

    python -m benchmarks.transfer

Both plans have the same speed-up. They are compared on prompts that were not calibrated on.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmarks.small.cases import BENCHES, Bench, Case, make_cases, pictures
from benchmarks.small.comfyui_host import Host, SamplingSetting, start_comfyui, with_magcache
from magcache.reports.metrics import psnr
from magcache.runtime.calibration_mode import CalibrationMode
from magcache.runtime.modes import SpeedupMode

CALIBRATED = SamplingSetting(30, 2.5)
"""The setting of the one calibration. The guidance is that of the model's bench."""
CHANGES: dict[str, dict[str, Any]] = {
    "the same": {},
    "20 steps": {"steps": 20},
    "50 steps": {"steps": 50},
    "shift 1.5": {"shift": 1.5},
    "shift 6": {"shift": 6.0},
    "dpmpp_2m": {"sampler": "dpmpp_2m"},
    "uni_pc": {"sampler": "uni_pc"},
    "beta scheduler": {"scheduler": "beta"},
}
"""The other settings, by what they change in `CALIBRATED`."""
console = Console()


def compare(bench: Bench, host: Host, setting: SamplingSetting, tuning: Case, cases: list[Case], speedup: float) -> dict[str, float]:
    """Mean PSNR in dB to sampling in full, planned from the curve `base` and from `special`, which is calibrated at `setting` first."""
    model = host.model(setting.shift)
    host.sample(with_magcache(model, CalibrationMode("auto", "special", thorough=True))[0], tuning.prompt, tuning.noise, setting)
    full = [pictures(bench.small, host.sample(model, case.prompt, case.noise, setting)) for case in cases]
    result: dict[str, float] = {}
    for name in ("base", "special"):
        cached, reports = with_magcache(model, SpeedupMode(speedup, name))
        drawn = [pictures(bench.small, host.sample(cached, case.prompt, case.noise, setting)) for case in cases]
        result[name] = fmean(psnr(one, other) for one, other in zip(full, drawn, strict=True))
        result["nfe"] = reports[-1].nfe
    return result


def run_bench(bench: Bench, prompts: int, speedup: float) -> dict[str, dict[str, float]]:
    """The results of each of `CHANGES`."""
    tuning, cases = make_cases(bench.small, prompts)
    base = replace(CALIBRATED, guidance=bench.setting.guidance)
    with tempfile.TemporaryDirectory() as folder:
        host = Host(bench.small, Path(folder))
        recording = with_magcache(host.model(base.shift), CalibrationMode("auto", "base", thorough=True))[0]
        host.sample(recording, tuning.prompt, tuning.noise, base)
        results: dict[str, dict[str, float]] = {}
        for title, change in CHANGES.items():
            results[title] = compare(bench, host, replace(base, **change), tuning, cases, speedup)
            console.print(bench.name, title, results[title])
    return results


def lines(models: dict[str, Any]) -> Iterator[str]:
    """The lines of the page with the results."""
    yield "# One calibration for other settings"
    yield ""
    yield "Mean PSNR in dB to sampling in full: with a curve calibrated at 30 Euler steps (shift 3, simple) and with one calibrated under"
    yield "the very settings of the row. Measured by `python -m benchmarks.transfer`."
    for name, model in models.items():
        yield ""
        yield f"| {name}, {model['speedup']}×, {model['prompts']} prompts | NFE | 30 Euler steps | own calibration | difference |"
        yield "| --- | --- | --- | --- | --- |"
        for title, row in model["rows"].items():
            difference = row["base"] - row["special"]
            yield f"| {title} | {row['nfe']:.0f} | {row['base']:.1f} | {row['special']:.1f} | {difference:+.1f} |"


def main(
    out: Annotated[Path, typer.Option(help="Folder for transfer.json and transfer.md.")] = Path(__file__).parent / "results",
    prompts: Annotated[int, typer.Option(min=1)] = 8,
    speedup: float = 2.0,
    only: Annotated[str | None, typer.Option(help="image, video or emoji: measure this model and keep the results of the others.")] = None,
) -> None:
    start_comfyui()
    out.mkdir(parents=True, exist_ok=True)
    path = out / "transfer.json"
    models: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for bench in BENCHES:
        if only in (None, bench.name):
            models[bench.name] = {"prompts": prompts, "speedup": speedup, "rows": run_bench(bench, prompts, speedup)}
    path.write_text(json.dumps(models, indent=1), encoding="utf-8")
    (out / "transfer.md").write_text("\n".join(lines(models)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
