"""Measure the models of a workflow, and say what the measurement promises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod, sqrt
from statistics import fmean
from typing import Any

from ..curves.curve import MagnitudeCurve
from ..planning.budget import best_reuse, plan_speedup
from .client import Client
from .runs import Told, doing, sample
from .workflow import ASIDE, Types, Workflow, WorkflowError, bypassed, patched

SPEEDUPS = (1.5, 2.0, 2.5, 3.0)
_FIRST_SEED = 1


@dataclass(frozen=True, slots=True)
class Calibrated:
    """A curve that a server saved."""

    curve: MagnitudeCurve
    path: str
    """On the server."""

    @property
    def magnitude(self) -> float:
        """Size of the last step's residual by that of the first, of the conditional branch."""
        return prod(self.curve.ratios.get("cond") or next(iter(self.curve.ratios.values())))

    def forecast(self) -> list[Forecast]:
        """What MagCache Auto would do at some speed-ups, on the schedule that was measured."""
        guidance, reuse = self.curve.provenance.get("cfg") or 1.0, best_reuse(self.curve)
        plans = [
            plan_speedup(self.curve, self.curve.sigmas, speedup, guidance=guidance, reuse=reuse, is_euler=True) for speedup in SPEEDUPS
        ]
        # A run of few steps cannot reach them all: several may come to the same.
        different = {plan.nfe: plan for plan in plans}.values()
        return [Forecast(plan.speedup, plan.nfe, sqrt(fmean(error**2 for error in plan.errors)), max(plan.errors)) for plan in different]


@dataclass(frozen=True, slots=True)
class Forecast:
    """A plan in figures; errors are of residuals, relative to their size."""

    speedup: float
    nfe: int
    error: float
    """Root of the mean square over all steps."""
    worst: float


def calibrate(client: Client, workflow: Workflow, types: Types, *, name: str, runs: int, told: Told) -> list[Calibrated]:
    """Run `workflow` with a calibration on each of its models, with `runs` seeds that count the same.

    Raises `WorkflowError`, `ServerError`.
    """
    plain = bypassed(workflow, ASIDE)
    found: dict[str, Calibrated] = {}
    for index in range(runs):
        # The first run replaces an earlier calibration, the others are averaged with it.
        measuring = patched(plain, types, "MagCacheCalibration", name=name, average=index > 0)
        what = f"run {index + 1} of {runs}"
        for event in sample(client, measuring, types, _FIRST_SEED + index, doing(told, what)).calibrations:
            found[event["path"]] = Calibrated(MagnitudeCurve.from_json(event["curve"]), event["path"])
    if not found:
        raise WorkflowError("The workflow ran, but nothing was calibrated. The server's log says why.")
    return list(found.values())


def facts_of(calibrated: Sequence[Calibrated]) -> list[dict[str, Any]]:
    """The result as JSON."""
    return [
        {
            "name": each.curve.name,
            "path": each.path,
            "family": each.curve.family,
            "steps": each.curve.steps,
            "runs": each.curve.provenance.get("runs", 1),
            "branches": list(each.curve.ratios),
            "magnitude": each.magnitude,
            "forecast": [{"speedup": row.speedup, "nfe": row.nfe, "error": row.error, "worst": row.worst} for row in each.forecast()],
        }
        for each in calibrated
    ]
