"""`magcache plan`: which steps of a run would be computed and which reused."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Annotated, Any

import typer
from rich.box import SIMPLE
from rich.table import Table

from ..curves.curve import MagnitudeCurve
from ..planning.budget import best_reuse, evaluations_for, plan_budget
from ..planning.plan import Plan
from ..planning.threshold import plan_by_threshold
from ..settings import ThresholdSettings
from .common import AsJson, console, errors_as_messages, find_curve, print_json


def plan(
    curve: Annotated[str, typer.Option(help="A curve's name, or a curve file.")],
    steps: Annotated[int | None, typer.Option(min=1, max=10_000, help="Steps of the run; the curve's own if left out.")] = None,
    threshold: Annotated[float | None, typer.Option(help="Error that may add up; the recommended one if left out.")] = None,
    max_skip: Annotated[int | None, typer.Option(help="Steps in a row that may be skipped; as recommended if left out.")] = None,
    retention: Annotated[float | None, typer.Option(help="Part of the run that is always computed; as recommended if left out.")] = None,
    speedup: Annotated[float | None, typer.Option(help="Plan for this speed-up instead of a threshold.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show which steps of a run would be computed and which reused."""
    with errors_as_messages():
        found = find_curve(curve, steps)
        sigmas = found.sigmas_for(steps or found.steps)
        if speedup is None:
            settings = _settings(found, threshold=threshold, max_skip=max_skip, retention=retention)
            made, options = plan_by_threshold(found, sigmas, settings), asdict(settings)
        else:
            # As for the sampler Euler, which most workflows use and which allows corrections.
            made = plan_budget(found, sigmas, nfe=evaluations_for(len(sigmas), speedup), reuse=best_reuse(found), is_euler=True)
            options = {"speedup": speedup}
        if as_json:
            print_json(_plan_facts(found, options, made))
        else:
            _print_plan(found, options, made)


def _settings(curve: MagnitudeCurve, **given: float | None) -> ThresholdSettings:
    """The settings that were given; those left out are as recommended for the curve, or else the defaults."""
    return replace(curve.preset or ThresholdSettings(), **{name: value for name, value in given.items() if value is not None})


def _plan_facts(curve: MagnitudeCurve, options: dict[str, Any], made: Plan) -> dict[str, Any]:
    return {
        "curve": curve.name,
        **({"target": options["speedup"]} if "speedup" in options else options),
        "steps": made.steps,
        "nfe": made.nfe,
        "speedup": made.speedup,
        "sigmas": list(made.sigmas),
        "decisions": made.decisions,
        "errors": list(made.errors),
    }


def _print_plan(curve: MagnitudeCurve, options: dict[str, Any], made: Plan) -> None:
    table = Table("step", "sigma", "decision", "predicted error", box=SIMPLE)
    for step, (sigma, decision, error) in enumerate(zip(made.sigmas, made.decisions, made.errors, strict=True)):
        style = "dim" if decision == "reuse" else "bold"
        table.add_row(str(step), f"{sigma:.4f}", decision, f"{error:.4f}" if decision == "reuse" else "", style=style)
    console.print(table)
    shown = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in options.items())
    console.print(f"{curve.name}: {made.nfe} of {made.steps} steps computed, {made.speedup:.2f}× ({shown})")
