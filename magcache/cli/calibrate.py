"""`magcache calibrate`: measure the model of a workflow without opening ComfyUI."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.box import SIMPLE
from rich.markup import escape
from rich.table import Table

from ..curves.shipped import check_own_name
from .common import LOCAL_SERVER, AsJson, ServerAddress, WorkflowFile, console, errors_as_messages, print_json
from .files import existing_file


def calibrate(
    workflow: WorkflowFile,
    server: ServerAddress = LOCAL_SERVER,
    name: Annotated[str, typer.Option(metavar="NAME", help="Name of the curve; the model's own if left out.")] = "",
    runs: Annotated[int, typer.Option(metavar="N", min=1, max=1000, help="Runs with different seeds to average.")] = 1,
    thorough: Annotated[
        bool, typer.Option("--thorough", help="Also try plans, to measure whether early errors grow or shrink in this model.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Measure the model of a workflow on a ComfyUI that is running. From then on `auto` uses the curve, unless it has a --name."""
    with errors_as_messages("bench"):
        from ..server.calibrate import calibrate as run_calibration
        from ..server.calibrate import calibration_facts, full_runs
        from ..server.client import Client
        from ..server.workflow import classes, read_workflow
        from .progress import progress_bars

        name, given = name and check_own_name(name), read_workflow(existing_file(workflow))
        if thorough and not as_json:
            console.print(f"With its trial runs this takes about as long as {full_runs(runs, thorough):.1f} runs of the workflow.")
        with Client(server) as client, progress_bars(runs) as bars:
            types = client.types(classes(given) | {"MagCacheCalibration"})
            found = run_calibration(client, given, types, name=name, runs=runs, thorough=thorough, on_progress=bars.add_server())
            bars.complete()
        facts = calibration_facts(found)
        if as_json:
            print_json(facts)
            return
        for each in facts:
            _print(each)


def _print(facts: dict[str, Any]) -> None:
    mean = f", the mean of {facts['runs']} runs" if facts["runs"] > 1 else ""
    console.print(f"{facts['name']}: {facts['steps']} steps, {' and '.join(facts['branches'])}{mean}", highlight=False)
    early = facts["early_errors"]
    console.print(f"Early errors {'grow' if early['grow'] else 'shrink'} on their way to the picture ({early['source']}).", highlight=False)
    console.print(f"The last residual is {facts['magnitude']:.2f} times as large as the first. What MagCache Auto would do with it:")
    table = Table("speed-up", "evaluations", "predicted error", "in the worst step", box=SIMPLE)
    for row in facts["forecast"]:
        table.add_row(f"{row['speedup']:.2f}×", str(row["nfe"]), f"{row['error']:.4f}", f"{row['worst']:.4f}")
    console.print(table)
    kept = (
        f"Kept in the server's memory until it stops, because {facts['problem']}"
        if facts["problem"]
        else f"Saved on the server: {facts['path']}"
    )
    console.print(escape(kept), soft_wrap=True, highlight=False)
