"""`magcache demo`: the same pictures with and without MagCache on a real ComfyUI, with a small model that comes along."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE
from rich.table import Table

from .common import AsJson, console, errors_as_messages, print_json
from .extras import require
from .files import report_folder


def demo(
    steps: Annotated[int, typer.Option(metavar="N", min=4, max=200, help="Steps of the sampling without MagCache.")] = 30,
    speedup: Annotated[float, typer.Option(metavar="X", min=1.1, max=4, help="How many times fewer evaluations, at least.")] = 2.5,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the report. One that is there is kept.")] = Path("magcache-demo"),
    comfyui: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A ComfyUI to use; else COMFYUI_PATH, else a pinned one is fetched.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Sample the same pictures with and without MagCache on a real ComfyUI, and write a report."""
    with errors_as_messages("demo"):
        require("torch")  # Only ComfyUI's process imports it, which would say so in its log alone.
        from ..demo.report import write_report
        from ..demo.run import TASKS, run_demo
        from .progress import progress_bars

        folder = report_folder(out)
        with progress_bars(TASKS) as bars:
            result = run_demo(steps, speedup, comfyui, bars.add_server())
            bars.complete()
        page = write_report(result, folder)
        facts = result.to_json()
        if as_json:
            print_json(facts)
        else:
            _print(facts, page)


def _print(facts: dict[str, Any], page: Path) -> None:
    from ..demo.report import summary

    caption = "seconds: median · PSNR and SSIM: mean / worst"
    table = Table("sampling", "steps computed", "seconds", "faster", "PSNR in dB", "SSIM", box=SIMPLE, caption=caption)
    for way in summary(facts):
        compared = ("", "reference", "")
        if quality := way["quality"]:
            psnr, ssim = ([quality[f"{name}_{part}"] for part in ("mean", "worst")] for name in ("psnr", "ssim"))
            compared = (f"{way['speedup']:.2f}×", f"{psnr[0]:.1f} / {psnr[1]:.1f}", f"{ssim[0]:.3f} / {ssim[1]:.3f}")
        table.add_row(way["name"], str(way["nfe"]), f"{way['seconds']:.2f}", *compared)
    console.print(table)
    low, high = facts["middle_half_of_speedups"]
    console.print(
        f"[bold]{facts['measured_speedup']:.2f}× faster[/bold] (in the middle half of the pictures {low:.2f}× to {high:.2f}×; "
        f"at most {facts['predicted_speedup']:.2f}×)."
    )
    if facts["machine_was_busy"]:
        console.print("This machine was busy with something else, so do not trust the times. Run the demo again.")
    console.print(f"Report: {page}", soft_wrap=True)
