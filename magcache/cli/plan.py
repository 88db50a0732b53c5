"""`magcache plan`: which steps of a run would be computed and which reused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Annotated, Any

import typer
from rich.box import SIMPLE
from rich.table import Table

from ..curves.curve import MagnitudeCurve
from ..errors import PlanError
from ..planning.budget import evaluations_for, plan_budget
from ..planning.influence import euler_influence
from ..planning.plan import Plan
from ..planning.prediction import best_reuse, checked_steps
from ..planning.streams import StreamErrors, predicted_error
from ..planning.threshold import plan_by_threshold
from ..settings import ThresholdSettings
from .common import AsJson, console, errors_as_messages, print_json, refuse_together
from .curve_names import complete_curve, find_curve


def plan(
    curve: Annotated[str, typer.Option(metavar="NAME_OR_FILE", help="A curve's name, or a curve file.", autocompletion=complete_curve)],
    steps: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=10_000, help="Steps of the run; the curve's own if left out.")
    ] = None,
    threshold: Annotated[float | None, typer.Option(metavar="X", help="Error that may add up; the recommended one if left out.")] = None,
    max_skip: Annotated[
        int | None, typer.Option(metavar="K", help="Steps in a row that may be skipped; as recommended if left out.")
    ] = None,
    retention: Annotated[
        float | None, typer.Option(metavar="R", help="Part of the run that is always computed; as recommended if left out.")
    ] = None,
    speedup: Annotated[float | None, typer.Option(metavar="X", help="Plan for this speed-up instead of a threshold.")] = None,
    computed: Annotated[
        str | None, typer.Option(metavar="LIST", help="Look at the plan that computes these steps, such as 0,1,2,4,7.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show which steps of a run would be computed and which reused."""
    with errors_as_messages():
        given = {"threshold": threshold, "max_skip": max_skip, "retention": retention}
        _refuse_contradictions(speedup, computed, given)
        found = find_curve(curve, steps)
        sigmas = found.sigmas_for(steps or found.steps)
        options: dict[str, Any] = {}
        if computed is not None:
            made = StreamErrors.of(found, sigmas, reuse=best_reuse(found)).plan(checked_steps(_whole_numbers(computed), len(sigmas)))
        elif speedup is not None:
            # As for the sampler Euler, which most workflows use and which allows corrections.
            made = plan_budget(found, sigmas, nfe=evaluations_for(len(sigmas), speedup), influence=euler_influence(sigmas))
            options = {"speedup": speedup}
        else:
            settings = _settings(found, **given)
            made, options = plan_by_threshold(found, sigmas, settings), asdict(settings)
        error = predicted_error(found, sigmas, made.computed)
        if as_json:
            print_json(_plan_facts(found, options, made, error))
        else:
            _print_plan(found, options, made, error)


def _refuse_contradictions(speedup: float | None, computed: str | None, of_threshold: Mapping[str, float | None]) -> None:
    """Raise `UsageError` if the options ask for more than one of the three ways to plan."""
    refuse_together("the computed steps settle the speed-up", speedup=speedup, computed=computed)
    for name, value in of_threshold.items():
        refuse_together("a plan for a speed-up has no threshold", speedup=speedup, **{name: value})
        refuse_together("the computed steps are the plan", computed=computed, **{name: value})


def _whole_numbers(given: str) -> list[int]:
    try:
        return [int(step) for step in given.split(",")]
    except ValueError:
        raise PlanError(
            f"The computed steps are {given!r:.120}; expected whole numbers with commas between them, such as 0,1,2,4,7."
        ) from None


def _settings(curve: MagnitudeCurve, **given: float | None) -> ThresholdSettings:
    """The settings that were given; those left out are as recommended for the curve, or else the defaults."""
    return replace(curve.preset or ThresholdSettings(), **{name: value for name, value in given.items() if value is not None})


def _plan_facts(curve: MagnitudeCurve, options: dict[str, Any], made: Plan, error: float) -> dict[str, Any]:
    return {
        "curve": curve.name,
        **({"target": options["speedup"]} if "speedup" in options else options),
        "steps": made.steps,
        "nfe": made.nfe,
        "speedup": made.speedup,
        "predicted_error": error,
        "early_errors": {"grow": curve.propagation.grows, "source": curve.propagation.source},
        "sigmas": list(made.sigmas),
        "decisions": made.decisions,
        "errors": list(made.errors),
    }


def _print_plan(curve: MagnitudeCurve, options: dict[str, Any], made: Plan, whole: float) -> None:
    table = Table("step", "sigma", "decision", "predicted error", box=SIMPLE)
    for step, (sigma, decision, error) in enumerate(zip(made.sigmas, made.decisions, made.errors, strict=True)):
        style = "dim" if decision == "reuse" else "bold"
        table.add_row(str(step), f"{sigma:.4f}", decision, f"{error:.4f}" if decision == "reuse" else "", style=style)
    console.print(table)
    shown = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in options.items())
    shown = f" ({shown})" if shown else ""
    console.print(f"{curve.name}: {made.nfe} of {made.steps} steps computed, {made.speedup:.2f}×{shown}")
    kind = "grow" if curve.propagation.grows else "shrink"
    console.print(f"predicted error of the whole run: {whole:.4g} (early errors {kind}: {curve.propagation.source})")
