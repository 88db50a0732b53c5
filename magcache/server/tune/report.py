"""What a tuning found: JSON, a figure of the Pareto front, and a web page."""

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
from .selection import Confirmed, Goal, Verdict
from .study import Tried

_PALE, _BLUE, _RED = "#b9c0cc", "#3f6fd8", "#d62728"


def facts_of(workflow: str, goal: Goal, tried: Sequence[Tried], front: Sequence[Tried], verdict: Verdict) -> dict[str, Any]:
    """The result as JSON. Seconds are of the whole workflow on the server that confirmed."""
    chosen = verdict.chosen
    return {
        "workflow": workflow,
        "goal": {"min_psnr": goal.min_psnr, "max_seconds": goal.max_seconds},
        "seconds_all_steps": verdict.full_seconds,
        "trials": [_facts_of_tried(each) for each in tried],
        "front": [each.number for each in front],
        "confirmed_on_fresh_seeds": [_facts_of_confirmed(each) for each in verdict.confirmed],
        "chosen": chosen and _facts_of_confirmed(chosen),
    }


def write_report(facts: dict[str, Any], goal: Goal, verdict: Verdict, folder: Path) -> Path:
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
        rows=_rows(verdict),
    )
    return page


def draw_front(facts: Mapping[str, Any]) -> bytes:
    """A PNG: quality over speed of everything that was tried, with the Pareto front, the goal and the choice."""
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


def _facts_of_tried(tried: Tried) -> dict[str, Any]:
    return {
        "number": tried.number,
        "setting": tried.setting,
        "nfe": tried.nfe,
        "predicted_speedup": tried.speedup,
        "psnr_worst": tried.psnr,
    }


def _facts_of_confirmed(confirmed: Confirmed) -> dict[str, Any]:
    score = confirmed.score
    return {
        "number": confirmed.tried.number,
        "setting": confirmed.tried.setting,
        "nfe": score.nfe,
        "predicted_speedup": score.evaluations / score.nfe,
        "seconds": confirmed.seconds,
        "speedup": 1 / score.part,
        **score.quality.to_json(),
        "met": confirmed.met,
    }


def _rows(verdict: Verdict) -> list[list[str]]:
    """All steps, chosen, difference, for each fresh seed."""
    pairs = zip(verdict.full_pictures, verdict.chosen.score.pictures, strict=True) if verdict.chosen else ()
    return [[encoded(full), encoded(cached), encoded(difference(full, cached, DIFFERENCE_GAIN))] for full, cached in pairs]
