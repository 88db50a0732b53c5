"""Plans made for the sampler that runs beside plans made as if it were Euler, in a real ComfyUI.

    python -m benchmarks.samplers

Both have the same number of evaluations and come from one calibration with Euler. "As for Euler" is what MagCache did until November
2026 with every other sampler: an error counts by Δσ, and nothing is corrected.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmarks.small.cases import BENCHES, Bench, calibration_cases, make_cases, pictures
from benchmarks.small.comfyui_host import Host, start_comfyui, with_magcache
from magcache.curves.store import CurveStore
from magcache.reports.metrics import psnr
from magcache.runtime.calibration_mode import CalibrationMode
from magcache.runtime.modes import SpeedupMode
from magcache.runtime.run_setup import RunFacts, RunSetup

SAMPLERS = ("euler", "dpmpp_2m", "uni_pc", "res_multistep", "heun", "deis", "ipndm")
SPEEDUPS = (2.0, 3.0)
console = Console()


@dataclass(frozen=True, slots=True)
class AsForEuler:
    """The speed-up mode without knowledge of the sampler."""

    mode: SpeedupMode

    def setup(self, run: RunFacts, store: CurveStore) -> RunSetup:
        return self.mode.setup(replace(run, influence=None), store)


def run_bench(bench: Bench, prompts: int, samplers: list[str]) -> list[dict[str, Any]]:
    """A row for each sampler and speed-up, with the PSNR of each prompt to sampling in full."""
    tuning, cases = calibration_cases(bench.small, 1)[0], make_cases(bench.small, prompts)[1]
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        host = Host(bench.small, Path(folder))
        model = host.model(bench.setting.shift)
        recording = with_magcache(model, CalibrationMode("auto", "own", thorough=True))[0]
        host.sample(recording, tuning.prompt, tuning.noise, bench.setting)
        for sampler in samplers:
            setting = replace(bench.setting, sampler=sampler)
            full = [pictures(bench.small, host.sample(model, case.prompt, case.noise, setting)) for case in cases]
            for speedup in SPEEDUPS:
                row: dict[str, Any] = {"sampler": sampler, "speedup": speedup}
                mode = SpeedupMode(speedup, "own")
                for name, each in (("as for euler", AsForEuler(mode)), ("for the sampler", mode)):
                    cached, reports = with_magcache(model, each)
                    drawn = [pictures(bench.small, host.sample(cached, case.prompt, case.noise, setting)) for case in cases]
                    row[name] = [psnr(one, other) for one, other in zip(full, drawn, strict=True)]
                    row["nfe"] = sum(not reused for reused in reports[-1].plan.reused)
                console.print(
                    bench.name, sampler, speedup, {name: round(fmean(row[name]), 1) for name in ("as for euler", "for the sampler")}
                )
                rows.append(row)
    return rows


def lines(models: dict[str, Any]) -> Iterator[str]:
    """The lines of the page with the results."""
    yield "# Plans for the sampler that runs"
    yield ""
    yield "PSNR in dB to sampling in full, mean / worst prompt, at the same number of computed steps. Measured by"
    yield "`python -m benchmarks.samplers`; calibrated once, with Euler."
    for name, model in models.items():
        yield ""
        yield f"| {name}, {model['prompts']} prompts | computed steps | as for Euler, uncorrected | for the sampler | difference |"
        yield "| --- | --- | --- | --- | --- |"
        for row in model["rows"]:
            before, now = row["as for euler"], row["for the sampler"]
            shown = " | ".join(f"{fmean(values):.1f} / {min(values):.1f}" for values in (before, now))
            yield f"| {row['sampler']} | {row['nfe']} | {shown} | {fmean(now) - fmean(before):+.1f} |"


def main(
    out: Annotated[Path, typer.Option(help="Folder for samplers.json and samplers.md.")] = Path(__file__).parent / "results",
    prompts: Annotated[int, typer.Option(min=1)] = 8,
    only: Annotated[str | None, typer.Option(help="image, video or emoji: measure this model and keep the results of the others.")] = None,
    samplers: Annotated[str, typer.Option(help="Names of ComfyUI's samplers, with commas between.")] = ",".join(SAMPLERS),
) -> None:
    start_comfyui()
    out.mkdir(parents=True, exist_ok=True)
    path = out / "samplers.json"
    models: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for bench in BENCHES:
        if only in (None, bench.name):
            models[bench.name] = {"prompts": prompts, "rows": run_bench(bench, prompts, samplers.split(","))}
    path.write_text(json.dumps(models, indent=1) + "\n", encoding="utf-8")
    (out / "samplers.md").write_text("\n".join(lines(models)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
