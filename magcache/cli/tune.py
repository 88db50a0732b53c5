"""`magcache tune`: the best settings of MagCache for a workflow, given a lowest PSNR or a longest time."""

from __future__ import annotations

import json
from contextlib import ExitStack, suppress
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE
from rich.markup import escape
from rich.table import Table

from ..documents import mapping, read_text, write_text
from ..errors import MagCacheError
from .common import LOCAL_SERVER, AsJson, WorkflowFile, console, errors_as_messages, print_error, print_json, print_note
from .files import existing_file, free_file, has_report, numbered, report_folder

if TYPE_CHECKING:
    from ..server.client import Client
    from ..server.tune.selection import Selection
    from ..server.tune.task import TuningTask

_MIN_PSNR = 35.0
_MAX_RESULT = 2**26
Servers = Annotated[
    list[str] | None, typer.Option(metavar="URL", help=f"The ComfyUI to use; several share the work (default {LOCAL_SERVER}).")
]
MinPsnr = Annotated[
    float | None, typer.Option(metavar="DB", min=1, max=100, help=f"Be as fast as this closeness allows, in dB (default {_MIN_PSNR:g}).")
]
MaxSeconds = Annotated[float | None, typer.Option(metavar="S", min=0.001, help="Be as close as this time for the whole workflow allows.")]


def tune(
    workflow: WorkflowFile,
    server: Servers = None,
    min_psnr: MinPsnr = None,
    max_seconds: MaxSeconds = None,
    trials: Annotated[int, typer.Option(metavar="N", min=1, max=10_000, help="Settings to try.")] = 30,
    seeds: Annotated[int, typer.Option(metavar="N", min=1, max=100, help="Seeds to tune on, and as many others to confirm with.")] = 2,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for the report and what is measured; WORKFLOW.tune if left out.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find the best settings of MagCache for a workflow. The same command goes on where it was stopped; when done it shows the result."""
    with errors_as_messages("tune"), ExitStack() as stack:
        from ..server.client import Client
        from ..server.tune.report import tune_facts, write_report
        from ..server.tune.search import search
        from ..server.tune.selection import Goal, confirm
        from ..server.tune.study import open_study
        from ..server.tune.task import TuningTask
        from ..server.workflow import classes, digest, read_workflow
        from .progress import progress_bars

        goal = Goal(min_psnr, max_seconds) if min_psnr or max_seconds else Goal(min_psnr=_MIN_PSNR)
        given, folder = read_workflow(existing_file(workflow)), out or workflow.with_suffix(".tune")
        servers_given = server or [LOCAL_SERVER]
        asked = {"workflow": digest(given), "goal": str(goal), "trials": trials, "seeds": seeds, "servers": servers_given}
        if done := _earlier_result(folder, asked):
            facts, place = done
            print_note(f"This is done: nothing was measured again. To measure anew, delete {folder} or choose another --out.")
            _finish(facts, place / "index.html", str(goal), as_json)
            return
        report = report_folder(folder)
        clients = [stack.enter_context(Client(address)) for address in servers_given]
        types = [client.types(classes(given) | {"MagCacheAuto", "MagCachePreset"}) for client in clients]
        task = TuningTask.of(given, types[0], seeds)
        study = stack.enter_context(open_study(folder, task.space, task.key(), trials))

        with progress_bars(task.runs_needed(len(clients), study.remaining)) as bars:
            servers = {client: bars.add_server(f"{client.url.partition('//')[2]} · " if len(clients) > 1 else "") for client in clients}
            try:
                failed = search(servers, task, study)
            except (KeyboardInterrupt, MagCacheError):
                print_error(f"{trials - study.remaining} of {trials} settings are measured and kept in {folder}. The same command goes on.")
                raise
            working = [client for client in clients if client not in failed]
            selection = confirm(working[0], task, goal, study.pareto_front(), servers[working[0]])
            bars.complete()
        for error in failed.values():
            print_error(f"went on without a server. {error}")

        facts = tune_facts(workflow.name, goal, study.trials(), study.pareto_front(), selection)
        facts |= {"asked": asked, **_save_choice(workflow, task, selection, working)}
        _finish(facts, write_report(facts, goal, selection, report), str(goal), as_json)


def _earlier_result(folder: Path, asked: dict[str, Any]) -> tuple[dict[str, Any], Path] | None:
    """The result of an earlier call that asked for the same, and the folder of its report; None if there is none.

    It is found in the folder or in those that are numbered beside it. One whose workflow is gone does not count.
    """
    for place in takewhile(has_report, numbered(folder)):
        with suppress(OSError, ValueError, TypeError):
            facts = mapping(json.loads(read_text(place / "result.json", _MAX_RESULT)))
            if facts.get("asked") == asked and (not facts["chosen"] or Path(facts["tuned_workflow"]).exists()):
                return facts, place
    return None


def _finish(facts: dict[str, Any], page: Path, goal: str, as_json: bool) -> None:
    """Print the result. Raises `MagCacheError` if nothing met the goal."""
    if as_json:
        print_json(facts)
    else:
        _print(facts, page)
    if all(each["predicted_speedup"] == 1 for each in facts["trials"]):
        print_note("No setting skips a step of this workflow, so none makes it faster. The server's log says why; more steps may help.")
    if not facts["chosen"]:
        raise MagCacheError(_no_choice(facts, goal))


def _save_choice(workflow: Path, task: TuningTask, selection: Selection, clients: list[Client]) -> dict[str, Any]:
    """Save the chosen settings as a workflow and as presets on the servers; returns where. Does nothing without a choice."""
    from ..server.tune.selection import save_preset

    if not selection.chosen:
        return {}
    path = str(free_file(workflow.with_suffix(".tuned.json")))
    write_text(path, json.dumps(task.with_settings(selection.chosen.trial.settings), indent=1) + "\n")
    return {"tuned_workflow": path, "presets": {client.url: save_preset(client, task, selection.chosen) for client in clients}}


def _no_choice(facts: dict[str, Any], goal: str) -> str:
    best = max(facts["trials"], key=lambda each: each["psnr_worst"])
    return (
        f"No setting of {len(facts['trials'])} gives {goal} on fresh seeds too. The closest has {best['psnr_worst']:.1f} dB with "
        f"{best['nfe']} evaluations; all steps take {facts['seconds_all_steps']:.2f} seconds. Ask for less, or raise --trials."
    )


def _print(facts: dict[str, Any], page: Path) -> None:
    table = Table("setting", "evaluations", "predicted", "PSNR worst", box=SIMPLE, title="Pareto front")
    by_number = {each["number"]: each for each in facts["trials"]}
    for row in (by_number[number] for number in facts["front"]):
        table.add_row(_settings_text(row), str(row["nfe"]), f"{row['predicted_speedup']:.2f}×", f"{row['psnr_worst']:.1f} dB")
    console.print(table)
    for row in facts["confirmed_on_fresh_seeds"]:
        console.print(f"{'Chosen' if row['met'] else 'Not confirmed'}: {_settings_text(row)}", soft_wrap=True)
        console.print(
            f"  on fresh seeds {row['speedup']:.2f}× faster ({row['seconds']:.2f} of {facts['seconds_all_steps']:.2f} seconds), "
            f"PSNR mean / worst {row['psnr_mean']:.1f} / {row['psnr_worst']:.1f} dB",
            soft_wrap=True,
        )
    if facts["chosen"]:
        console.print(f"Workflow: {escape(facts['tuned_workflow'])}", soft_wrap=True)
        for url, curves in facts["presets"].items():
            if curves:
                console.print(f"Preset on {url}, for MagCache Auto with speedup 0: {', '.join(curves)}", soft_wrap=True, highlight=False)
    console.print(f"Report: {escape(str(page))}", soft_wrap=True)


def _settings_text(row: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in row["setting"].items())
