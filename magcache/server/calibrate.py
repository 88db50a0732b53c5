"""Calibrate the models of a workflow, and predict from each curve what MagCache Auto would do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod, sqrt
from statistics import fmean
from typing import Any

from ..curves.curve import MagnitudeCurve
from ..curves.propagation import CANDIDATES
from ..planning.budget import plan_speedup
from ..planning.influence import euler_influence
from ..planning.trials import TRIAL_SPEEDUP
from .client import Client
from .runs import CALIBRATION_SEED, OnProgress, RunResult, begin_task, run_with_seed
from .workflow import CACHE_NODES, Types, Workflow, WorkflowError, bypassed, insert_before_samplers

SPEEDUPS = (1.5, 2.0, 2.5, 3.0)
"""The speed-ups that are forecast."""
_NODE = "MagCacheCalibration"
_THOROUGH_RUNS = 2
"""Trial runs follow this many calibrated runs: more of them hardly change which propagation plans best."""
_SEE_LOG = "The server's log says why."


@dataclass(frozen=True, slots=True)
class SavedCurve:
    """A curve that a server measured and saved."""

    curve: MagnitudeCurve
    path: str
    """On the server."""
    problem: str
    """Why it could not be written there and is kept in the server's memory instead; empty if it was written."""

    @property
    def magnitude(self) -> float:
        """Size of the last step's residual divided by that of the first step's, of the conditional branch."""
        return prod(self.curve.ratios.get("cond") or next(iter(self.curve.ratios.values())))

    def forecasts(self) -> list[Forecast]:
        """What MagCache Auto would do at each of `SPEEDUPS`, with the sampler Euler and the schedule of the calibration."""
        guidance = self.curve.provenance.get("cfg") or 1.0
        sigmas, influence = self.curve.sigmas, euler_influence(self.curve.sigmas)
        plans = [plan_speedup(self.curve, sigmas, speedup, guidance=guidance, influence=influence) for speedup in SPEEDUPS]
        # In a run of few steps several speed-ups may lead to the same number of evaluations.
        different = {plan.nfe: plan for plan in plans}.values()
        return [Forecast(plan.speedup, plan.nfe, sqrt(fmean(error**2 for error in plan.errors)), max(plan.errors)) for plan in different]


@dataclass(frozen=True, slots=True)
class Forecast:
    """The predictions of one plan. Errors are those of reused residuals, relative to the size of the true residual."""

    speedup: float
    """Steps per computed step."""
    nfe: int
    error: float
    """Root mean square over all steps; computed steps have none."""
    worst: float
    """The largest error of a step."""


def full_runs(runs: int, thorough: bool) -> float:
    """How many full runs of the workflow a calibration takes."""
    return runs + (min(runs, _THOROUGH_RUNS) * len(CANDIDATES) / TRIAL_SPEEDUP if thorough else 0.0)


def calibrate(
    client: Client, workflow: Workflow, types: Types, *, name: str, runs: int, thorough: bool = False, on_progress: OnProgress
) -> list[SavedCurve]:
    """Calibrate each model of `workflow` on the mean of `runs` runs with different seeds. `thorough` lets trial runs follow the first two.

    The curves are saved on the server as `name`, or under a name of its choice if that is empty. Raises `WorkflowError`, `ServerError`.
    """
    plain = bypassed(workflow, CACHE_NODES)
    found, problems = dict[str, SavedCurve](), list[str]()
    for index in range(runs):
        # The first run replaces an earlier calibration, the others are averaged with it.
        more = {"thorough": True} if thorough and index < _THOROUGH_RUNS else {}
        measuring = insert_before_samplers(plain, types, _NODE, name=name, average=index > 0, **more)
        on_step = begin_task(on_progress, f"run {index + 1} of {runs}")
        run = run_with_seed(client, measuring, types, CALIBRATION_SEED + index, on_step)
        for event in run.calibrations:
            found[event["path"]] = SavedCurve(MagnitudeCurve.from_json(event["curve"]), event["path"], event.get("problem", ""))
        if not run.calibrations:
            problems = [_last_text(run, node_id) for node_id, node in measuring.items() if node["class_type"] == _NODE]
    if not found:
        raise WorkflowError(f"The workflow ran, but nothing was calibrated. {' '.join(filter(None, problems)) or _SEE_LOG}")
    return list(found.values())


def calibration_facts(curves: Sequence[SavedCurve]) -> list[dict[str, Any]]:
    """The result as JSON."""
    return [
        {
            "name": saved.curve.name,
            "path": saved.path,
            "problem": saved.problem,
            "family": saved.curve.family,
            "steps": saved.curve.steps,
            "runs": saved.curve.provenance.get("runs", 1),
            "branches": list(saved.curve.ratios),
            "magnitude": saved.magnitude,
            "early_errors": {"grow": saved.curve.propagation.grows, "source": saved.curve.propagation.source},
            "forecast": [{"speedup": row.speedup, "nfe": row.nfe, "error": row.error, "worst": row.worst} for row in saved.forecasts()],
        }
        for saved in curves
    ]


def _last_text(run: RunResult, node: str) -> str:
    """The text that a node shows at the end of a run, in one line: why it calibrated nothing."""
    return " ".join(run.texts[node][-1].split()) if node in run.texts else ""
