"""`magcache`: curves, plans and lists of others; measuring and tuning on a ComfyUI that is running; and a demo of it all."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE
from rich.table import Table

from ..curves.curve import MagnitudeCurve
from ..curves.shipped import known_curves, load_curve
from ..planning.budget import best_reuse, evaluations_for, plan_budget
from ..planning.plan import Plan
from ..planning.threshold import plan_by_threshold
from ..settings import ThresholdSettings
from .bench import bench
from .calibrate import calibrate
from .common import AsJson, console, errors_as_messages, find_curve, print_json
from .import_export import export_list, import_list
from .tune import tune

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)


@app.callback()
def main() -> None:
    """Faster diffusion transformers, without training."""


@app.command()
def curves(as_json: AsJson = False) -> None:
    """List the magnitude curves that come with MagCache and the settings recommended for each."""
    known = [load_curve(name) for name in known_curves()]
    if as_json:
        print_json([_curve_row(curve) for curve in known])
        return
    table = Table("model_type", "steps", "thresh", "retention", "K", box=SIMPLE)
    for curve in known:
        row = _curve_row(curve)
        preset = row["recommended"] or {}
        table.add_row(row["name"], str(row["steps"]), *(str(value) for value in preset.values()))
    console.print(table)


@app.command()
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
            rule: dict[str, Any] = asdict(_settings(found, threshold, max_skip, retention))
            made = plan_by_threshold(found, sigmas, ThresholdSettings(**rule))
        else:
            rule = {"speedup": speedup}
            made = plan_budget(found, sigmas, nfe=evaluations_for(len(sigmas), speedup), reuse=best_reuse(found))
        if as_json:
            print_json(_plan_facts(found, rule, made))
        else:
            _print_plan(found, rule, made)


@app.command()
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
        from ..demo.run import PROMPTS, run_demo
        from .progress import run_bars

        with run_bars(3 * len(PROMPTS) + 2) as bars:
            result = run_demo(steps, speedup, comfyui, bars.server())
            bars.complete()
        page = write_report(result, out)
    facts = result.to_json()
    if as_json:
        print_json(facts)
        return
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


app.command()(bench)
app.command()(calibrate)
app.command()(tune)
app.command("import")(import_list)
app.command("export")(export_list)


def _settings(curve: MagnitudeCurve, threshold: float | None, max_skip: int | None, retention: float | None) -> ThresholdSettings:
    preset = curve.preset
    default = ThresholdSettings(threshold=0.06, max_skip=2, retention=0.2)
    return ThresholdSettings(
        threshold=threshold if threshold is not None else preset.threshold if preset else default.threshold,
        max_skip=max_skip if max_skip is not None else preset.max_skip if preset else default.max_skip,
        retention=retention if retention is not None else preset.retention if preset else default.retention,
    )


def _curve_row(curve: MagnitudeCurve) -> dict[str, Any]:
    preset = curve.preset
    return {
        "name": curve.name,
        "family": curve.family,
        "steps": curve.steps,
        "branches": list(curve.ratios),
        "recommended": preset and {"threshold": preset.threshold, "retention": preset.retention, "max_skip": preset.max_skip},
        "provenance": dict(curve.provenance),
    }


def _plan_facts(curve: MagnitudeCurve, rule: dict[str, Any], made: Plan) -> dict[str, Any]:
    return {
        "curve": curve.name,
        **({"target": rule["speedup"]} if "speedup" in rule else rule),
        "steps": made.steps,
        "nfe": made.nfe,
        "speedup": made.speedup,
        "sigmas": list(made.sigmas),
        "decisions": made.decisions,
        "errors": list(made.errors),
    }


def _print_plan(curve: MagnitudeCurve, rule: dict[str, Any], made: Plan) -> None:
    table = Table("step", "sigma", "decision", "predicted error", box=SIMPLE)
    for step, (sigma, decision, error) in enumerate(zip(made.sigmas, made.decisions, made.errors, strict=True)):
        style = "dim" if decision == "reuse" else "bold"
        table.add_row(str(step), f"{sigma:.4f}", decision, f"{error:.4f}" if decision == "reuse" else "", style=style)
    console.print(table)
    by = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in rule.items())
    console.print(f"{curve.name}: {made.nfe} of {made.steps} steps computed, {made.speedup:.2f}× ({by})")
