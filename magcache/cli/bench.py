"""`magcache bench`: how much faster MagCache makes a workflow, and how close its pictures stay."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE
from rich.markup import escape
from rich.table import Table

from ..errors import MagCacheError
from .common import LOCAL_SERVER, AsJson, ServerAddress, UsageError, WorkflowFile, console, errors_as_messages, print_json
from .files import existing_file, report_folder

_SPEEDUP = 2.0


def bench(
    workflow: WorkflowFile,
    server: ServerAddress = LOCAL_SERVER,
    repeats: Annotated[int, typer.Option(metavar="N", min=1, max=1000, help="Seeds to run each way with.")] = 3,
    speedup: Annotated[
        float | None,
        typer.Option(metavar="X", min=1.1, max=4, help=f"For a workflow without MagCache: the speed-up to ask for (default {_SPEEDUP:g})."),
    ] = None,
    easycache: Annotated[bool, typer.Option("--easycache", help="Compare with ComfyUI's EasyCache too.")] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for the report; WORKFLOW.bench if left out. One that is there is kept.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run a workflow with and without MagCache on a ComfyUI that is running, and compare times and pictures."""
    with errors_as_messages("bench"):
        from ..server.bench.report import bench_facts, write_report
        from ..server.bench.rounds import BenchRound, run_bench, runs_needed, variants
        from ..server.client import Client
        from ..server.workflow import MAGCACHE_NODES, classes, read_workflow
        from .progress import progress_bars

        given, rounds, stopped = read_workflow(existing_file(workflow)), list[BenchRound](), None
        if speedup is not None and (own := classes(given) & set(MAGCACHE_NODES)):
            raise UsageError(f"--speedup and the {own.pop()} node of {workflow} contradict each other: the node keeps its own settings.")
        folder = report_folder(out or workflow.with_suffix(".bench"))
        with Client(server) as client:
            types = client.types(classes(given) | {"MagCacheAuto"} | ({"EasyCache"} if easycache else set()))
            workflows = variants(given, types, speedup or _SPEEDUP, easycache)
            if easycache:
                client.subscribe_to_log()
            with progress_bars(runs_needed(workflows, repeats)) as bars:
                try:
                    for finished in run_bench(client, workflows, types, repeats, bars.add_server()):
                        rounds.append(finished)
                    bars.complete()
                except (KeyboardInterrupt, MagCacheError) as error:
                    stopped = error  # What was measured so far is reported all the same.
            if rounds:
                facts = bench_facts(rounds, workflow.name, client, workflows)
                page = write_report(facts, rounds, folder)
                if as_json:
                    print_json(facts)
                else:
                    _print(facts, page)
        if stopped:
            raise stopped


def _print(facts: dict[str, Any], page: Path) -> None:
    caption = "seconds: median · PSNR and SSIM: mean / worst picture"
    table = Table("sampling", "evaluations", "seconds", "speed-up", "PSNR in dB", "SSIM", box=SIMPLE, caption=caption)
    for name, way in facts["ways"].items():
        compared = ("", "reference", "")
        if "speedup" in way:
            psnr, ssim = (f"{way['psnr_mean']:.1f} / {way['psnr_worst']:.1f}", f"{way['ssim_mean']:.3f} / {way['ssim_worst']:.3f}")
            compared = (f"{way['speedup']:.2f}×", psnr, ssim)
        table.add_row(name, str(way["nfe"] or "unknown"), f"{way['seconds_median']:.2f}", *compared)
    console.print(table)
    for way in facts["ways"].values():
        for settings in way["settings"]:
            shown = ", ".join(f"{key} {value}" for key, value in settings.items() if key != "node")
            console.print(f"Settings of {escape(settings['node'])}: {escape(shown)}", highlight=False)
    if not facts["ways"]["MagCache"]["reports"]:
        console.print("MagCache did not report: this model runs in full. The server's log says why.")
    console.print(f"Report: {escape(str(page))}", soft_wrap=True, highlight=False)
