"""`magcache demo`: the same pictures with and without MagCache on a real ComfyUI, with a small model that comes along."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE
from rich.table import Table

from .common import AsJson, console, errors_as_messages, print_json


def demo(
    steps: Annotated[int, typer.Option(min=4, max=200, help="Steps of the sampling without MagCache.")] = 28,
    speedup: Annotated[float, typer.Option(min=1.1, max=4, help="How many times fewer evaluations, at least.")] = 2.8,
    out: Annotated[Path, typer.Option(help="Folder for the report.")] = Path("magcache-demo"),
    comfyui: Annotated[Path | None, typer.Option(help="A ComfyUI to use; else COMFYUI_PATH, else a pinned one is fetched.")] = None,
    as_json: AsJson = False,
) -> None:
    """Sample the same pictures with and without MagCache on a real ComfyUI, and write a report."""
    with errors_as_messages("demo"):
        from ..demo.report import write_report
        from ..demo.run import TASKS, run_demo
        from .progress import progress_bars

        with progress_bars(TASKS) as bars:
            result = run_demo(steps, speedup, comfyui, bars.add_server())
            bars.complete()
        page = write_report(result, out)
        facts = result.to_json()
        if as_json:
            print_json(facts)
        else:
            _print(facts, page)


def _print(facts: dict[str, Any], page: Path) -> None:
    table = Table("sampling", "evaluations", "seconds", "PSNR in dB", "SSIM", box=SIMPLE, caption="PSNR and SSIM: mean / worst")
    seconds = facts["seconds_per_run"]
    table.add_row("all steps", str(facts["steps"]), f"{seconds['full']:.2f}", "reference", "")
    for name, way, key in (("MagCache", "cached", "magcache"), ("plain, as few steps", "fewer", "plain_with_as_few_steps")):
        quality = facts[key]
        table.add_row(
            name, str(facts["nfe"]), f"{seconds[way]:.2f}", f"{quality['psnr_mean']:.1f} / {quality['psnr_worst']:.1f}",
            f"{quality['ssim_mean']:.3f} / {quality['ssim_worst']:.3f}",
        )  # fmt: skip
    console.print(table)
    console.print(f"[bold]{facts['measured_speedup']:.2f}× faster[/bold] (predicted {facts['predicted_speedup']:.2f}×). Report: {page}")
