"""The plans of a workflow: that of each of its samplers, which is the plan of a run in ComfyUI."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from scipy.stats import beta

from magcache.curves.curve import MagnitudeCurve
from magcache.curves.shipped import load_curve
from magcache.planning.budget import plan_speedup
from magcache.planning.influence import euler_influence
from magcache.planning.plan import Plan, Reason, compute_all
from magcache.planning.threshold import plan_by_threshold
from magcache.settings import ThresholdSettings
from tools.workflows.graph import Node, Workflow, source

_SAMPLERS = ("KSampler", "KSamplerAdvanced")
_AUTO_CURVE = "flux"
"""The curve for `auto`: the workflows leave the choice to MagCache for Flux only."""


@dataclass(frozen=True, slots=True)
class _NoiseTable:
    """The noise levels of a model: a table over time, which is shifted."""

    shift: float
    entries: int


_FLUX = _NoiseTable(math.exp(1.15), 10_000)
"""The table of a model that no node shifts: in the workflows that is Flux only."""


@dataclass(frozen=True, slots=True)
class WorkflowRun:
    """The run of one sampler of a workflow."""

    node: Node | None
    """The MagCache node that the model passes through; None without one."""
    plan: Plan
    curve: MagnitudeCurve
    """The curve of the plan, or of the model if everything is computed."""


def runs(workflow: Workflow) -> list[WorkflowRun]:
    """The runs of `workflow`, in the order of its samplers. MagCache Auto plans from a calibration; here it plans from a shipped curve."""
    return [_run(node) for node in samplers(workflow)]


def samplers(workflow: Workflow) -> list[Node]:
    """The nodes that sample, in the order of the workflow."""
    return [node for node in workflow.nodes if node.kind in _SAMPLERS]


def sigmas(sampler: Node) -> list[float]:
    """Noise levels of the steps of `sampler`, one a step, without the closing one."""
    inputs: dict[str, Any] = sampler.inputs
    # For uni_pc ComfyUI makes a schedule with one step more and leaves out the last sigma above 0.
    spare = inputs["sampler_name"] == "uni_pc"
    levels = _schedule(inputs["scheduler"], inputs["steps"] + spare, _noise_table(sampler))[: inputs["steps"]]
    return levels[inputs.get("start_at_step", 0) : inputs.get("end_at_step")]


def _schedule(name: str, steps: int, table: _NoiseTable) -> list[float]:
    """Noise levels of one of ComfyUI's schedulers, which choose entries of the table; without the closing 0."""
    if name == "simple":
        entries = [table.entries - int(step * table.entries / steps) for step in range(steps)]
    elif name == "beta":
        entries = [1 + round(part * (table.entries - 1)) for part in beta.ppf([1 - step / steps for step in range(steps)], 0.6, 0.6)]
    else:
        raise ValueError(f"The schedule {name!r} is not known here; the workflows use 'simple' and 'beta'.")
    times = [entry / table.entries for entry in entries]
    return [table.shift * time / (1 + (table.shift - 1) * time) for time in times]


def _run(sampler: Node) -> WorkflowRun:
    levels = sigmas(sampler)
    node = next((node for node in _model_path(sampler) if node.kind.startswith("MagCache")), None)
    inputs: dict[str, Any] = node.inputs if node else {}
    name = inputs.get("model_type", "auto")
    curve = load_curve(_AUTO_CURVE if name == "auto" else name, len(levels))
    plan = compute_all(levels, Reason.OFF)
    if node and node.kind == "MagCache":
        settings = ThresholdSettings(
            threshold=inputs["magcache_thresh"], max_skip=inputs["magcache_K"], retention=inputs["retention_ratio"]
        )
        plan = plan_by_threshold(curve, levels, settings)
    elif node and node.kind == "MagCacheAuto":
        influence = euler_influence(levels) if sampler.inputs["sampler_name"] == "euler" else None
        plan = plan_speedup(curve, levels, inputs["speedup"], influence=influence)
    return WorkflowRun(node, plan, curve)


def _noise_table(sampler: Node) -> _NoiseTable:
    shifts = [node.inputs["shift"] for node in _model_path(sampler) if "shift" in node.inputs]
    return _NoiseTable(cast("float", shifts[0]), 1000) if shifts else _FLUX


def _model_path(sampler: Node) -> Iterator[Node]:
    """The nodes that the sampler's model passes through, the nearest first."""
    node = source(sampler.inputs["model"])
    while node is not None:
        yield node
        node = source(node.inputs["model"]) if "model" in node.inputs else None
