"""The result of a tuning: JSON, a figure of the Pareto front, and a web page."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ...documents import write_text
from ...reports.metrics import difference
from ...reports.pages import DIFFERENCE_GAIN, data_address, encoded, write_page
from .selection import Confirmation, Goal, Selection
from .study import MeasuredTrial

_PALE, _BLUE, _RED = "#b9c0cc", "#3f6fd8", "#d62728"


def tune_facts(
    workflow: str, goal: Goal, trials: Sequence[MeasuredTrial], front: Sequence[MeasuredTrial], selection: Selection
) -> dict[str, Any]:
    """The result as JSON. `workflow` is the name of its file. Seconds are of the whole workflow on the server that confirmed."""
    chosen = selection.chosen
    return {
        "workflow": workflow,
        "goal": {"min_psnr": goal.min_psnr, "max_seconds": goal.max_seconds},
        "seconds_all_steps": selection.full_seconds,
        "trials": [_trial_facts(each) for each in trials],
        "front": [each.number for each in front],
        "confirmed_on_fresh_seeds": [_confirmation_facts(each) for each in selection.confirmations],
        "chosen": chosen and _confirmation_facts(chosen),
    }


def write_report(facts: dict[str, Any], goal: Goal, selection: Selection, folder: Path) -> Path:
    """Write `index.html`, `pareto.png` and `result.json` to `folder`; returns the path of the page."""
    page = folder / "index.html"
    write_text(folder / "result.json", json.dumps(facts, indent=1) + "\n")
    figure = draw_front(facts)
    (folder / "pareto.png").write_bytes(figure)
    by_number = {each["number"]: each for each in facts["trials"]}
    write_page(
        "tune.html",
        page,
        facts=facts,
        goal=str(goal),
        figure=data_address(figure, "image/png"),
        front=[by_number[number] for number in facts["front"]],
        rows=_rows(selection),
    )
    return page


def draw_front(facts: Mapping[str, Any]) -> bytes:
    """A PNG: PSNR over speed-up of all trials, with the Pareto front, the goal and the choice."""
    figure: Any = Figure(figsize=(7.5, 4.8), layout="constrained")  # Its types are not complete.
    axes = figure.subplots()
    points = {each["number"]: (each["predicted_speedup"], each["psnr_worst"]) for each in facts["trials"]}
    axes.scatter(*zip(*points.values(), strict=True), color=_PALE, label="tried")
    axes.plot(*zip(*(points[number] for number in facts["front"]), strict=True), "o-", color=_BLUE, label="Pareto front")
    goal, chosen = facts["goal"], facts["chosen"]
    if goal["min_psnr"] is not None:
        axes.axhline(goal["min_psnr"], color=_RED, linestyle=":", label=f"at least {goal['min_psnr']:g} dB")
    if chosen:
        axes.plot(chosen["predicted_speedup"], chosen["psnr_worst"], "*", color=_RED, markersize=15, label="chosen, on fresh seeds")
    axes.set(title=facts["workflow"], xlabel="times fewer evaluations", ylabel="PSNR of the worst picture, dB")
    axes.grid(alpha=0.25)
    axes.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    return buffer.getvalue()


def _trial_facts(trial: MeasuredTrial) -> dict[str, Any]:
    return {
        "number": trial.number,
        "setting": trial.settings,
        "nfe": trial.nfe,
        "predicted_speedup": trial.speedup,
        "psnr_worst": trial.psnr,
    }


def _confirmation_facts(confirmation: Confirmation) -> dict[str, Any]:
    trial, found = confirmation.trial, confirmation.measurement
    return {
        "number": trial.number,
        "setting": trial.settings,
        "nfe": found.nfe,
        "predicted_speedup": found.evaluations / found.nfe,
        "seconds": confirmation.seconds,
        "speedup": 1 / found.relative_seconds,
        **found.quality.to_json(),
        "met": confirmation.met,
    }


def _rows(selection: Selection) -> list[list[str]]:
    """For each confirmation seed the pictures of all steps and of the choice, and their difference."""
    chosen = selection.chosen
    pairs = zip(selection.full_pictures, chosen.measurement.pictures, strict=True) if chosen else ()
    return [[encoded(full), encoded(cached), encoded(difference(full, cached, DIFFERENCE_GAIN))] for full, cached in pairs]
