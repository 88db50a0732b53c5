"""The plans of a workflow: that of each of its samplers, which is the plan of a run in ComfyUI."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from magcache.curves.curve import MagnitudeCurve
from magcache.curves.shipped import load_curve
from magcache.planning.budget import plan_speedup
from magcache.planning.influence import euler_influence
from magcache.planning.plan import Plan, Reason, compute_all
from magcache.planning.threshold import plan_by_threshold
from magcache.settings import ThresholdSettings
from tools.workflows.graph import Node, Workflow, source
from tools.workflows.schedules import NoiseTable, from_node, from_table

_SAMPLERS = ("KSampler", "KSamplerAdvanced", "SamplerCustomAdvanced")
_FLUX = NoiseTable(math.exp(1.15), 10_000)
"""The table of a model that no node shifts and that has no scheduler of its own: in the workflows that is Flux only."""


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
    return [_run(node, workflow.curve) for node in samplers(workflow)]


def samplers(workflow: Workflow) -> list[Node]:
    """The nodes that sample, in the order of the workflow."""
    return [node for node in workflow.nodes if node.kind in _SAMPLERS]


def sigmas(sampler: Node) -> list[float]:
    """Noise levels of the steps of `sampler`, one a step, without the closing one."""
    inputs: dict[str, Any] = sampler.inputs
    scheduler = source(inputs.get("sigmas"))
    if scheduler is not None:
        return from_node(scheduler)
    # For uni_pc ComfyUI makes a schedule with one step more and leaves out the last sigma above 0.
    spare = inputs["sampler_name"] == "uni_pc"
    levels = from_table(inputs["scheduler"], inputs["steps"] + spare, _noise_table(sampler))[: inputs["steps"]]
    return levels[inputs.get("start_at_step", 0) : inputs.get("end_at_step")]


def model_path(sampler: Node) -> Iterator[Node]:
    """The nodes that the sampler's model passes through, the nearest first."""
    node = source((source(sampler.inputs.get("guider")) or sampler).inputs["model"])
    while node is not None:
        yield node
        node = source(node.inputs["model"]) if "model" in node.inputs else None


def _run(sampler: Node, measured: str) -> WorkflowRun:
    """The run of a sampler; `measured` names the curve that stands for a calibration."""
    levels = sigmas(sampler)
    node = next((node for node in model_path(sampler) if node.kind.startswith("MagCache")), None)
    inputs: dict[str, Any] = node.inputs if node else {}
    name = inputs.get("model_type", "auto")
    curve = load_curve(measured if name == "auto" else name, len(levels))
    plan = compute_all(levels, Reason.OFF)
    if node and node.kind == "MagCache":
        settings = ThresholdSettings(
            threshold=inputs["magcache_thresh"], max_skip=inputs["magcache_K"], retention=inputs["retention_ratio"]
        )
        plan = plan_by_threshold(curve, levels, settings)
    elif node and node.kind == "MagCacheAuto":
        method = source(sampler.inputs.get("sampler")) or sampler
        influence = euler_influence(levels) if method.inputs["sampler_name"] == "euler" else None
        steps = cast("int", sampler.inputs.get("steps", len(levels)))
        plan = plan_speedup(curve, levels, inputs["speedup"], influence=influence, schedule_part=len(levels) / steps)
    return WorkflowRun(node, plan, curve)


def _noise_table(sampler: Node) -> NoiseTable:
    shifts = [node.inputs["shift"] for node in model_path(sampler) if "shift" in node.inputs]
    return NoiseTable(cast("float", shifts[0]), 1000) if shifts else _FLUX
