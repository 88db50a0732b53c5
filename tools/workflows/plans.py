"""What MagCache does in a workflow: the plan of each of its samplers, as a run of ComfyUI would make it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from scipy.stats import beta

from magcache.curves.curve import MagnitudeCurve
from magcache.curves.shipped import load_curve
from magcache.planning.budget import best_reuse, plan_speedup
from magcache.planning.plan import Plan, compute_all
from magcache.planning.threshold import plan_by_threshold
from magcache.settings import ThresholdSettings
from tools.workflows.graph import Node, Workflow, source

_SAMPLERS = ("KSampler", "KSamplerAdvanced")
_FOUND = "flux"
"""What 'auto' finds where our workflows leave the choice to it."""


@dataclass(frozen=True, slots=True)
class _Flow:
    """The noise levels that a model knows: a table over time, which is shifted."""

    shift: float
    entries: int


_FLUX = _Flow(math.exp(1.15), 10_000)
"""Of a model that no node shifts; the only one in our workflows is Flux."""


@dataclass(frozen=True, slots=True)
class Run:
    """What one sampler of a workflow does."""

    node: Node | None
    """The MagCache node that the model comes through."""
    plan: Plan
    curve: MagnitudeCurve


def runs(workflow: Workflow) -> list[Run]:
    """The runs of `workflow`, in the order of its samplers. Where MagCache Auto will go by a calibration, that of a shipped curve."""
    return [_run(node) for node in samplers(workflow)]


def samplers(workflow: Workflow) -> list[Node]:
    return [node for node in workflow.nodes if node.kind in _SAMPLERS]


def sigmas(sampler: Node) -> list[float]:
    """The noise levels of the steps that `sampler` makes, without the closing 0."""
    inputs: dict[str, Any] = sampler.inputs
    # For this sampler ComfyUI makes a schedule of one step more and leaves out the last sigma above 0.
    spare = inputs["sampler_name"] == "uni_pc"
    levels = _schedule(inputs["scheduler"], inputs["steps"] + spare, _flow(sampler))[: inputs["steps"]]
    return levels[inputs.get("start_at_step", 0) : inputs.get("end_at_step")]


def _schedule(name: str, steps: int, flow: _Flow) -> list[float]:
    """ComfyUI's schedules, which pick entries of a table."""
    if name == "simple":
        entries = [flow.entries - int(step * flow.entries / steps) for step in range(steps)]
    elif name == "beta":
        entries = [1 + round(part * (flow.entries - 1)) for part in beta.ppf([1 - step / steps for step in range(steps)], 0.6, 0.6)]
    else:
        raise ValueError(f"The schedule {name!r} is not known here; the workflows use 'simple' and 'beta'.")
    times = [entry / flow.entries for entry in entries]
    return [flow.shift * time / (1 + (flow.shift - 1) * time) for time in times]


def _run(sampler: Node) -> Run:
    levels = sigmas(sampler)
    node = next((node for node in _model_path(sampler) if node.kind.startswith("MagCache")), None)
    inputs: dict[str, Any] = node.inputs if node else {}
    name = inputs.get("model_type", "auto")
    curve = load_curve(_FOUND if name == "auto" else name, len(levels))
    plan = compute_all(levels)
    if node and node.kind == "MagCache":
        settings = ThresholdSettings(
            threshold=inputs["magcache_thresh"], max_skip=inputs["magcache_K"], retention=inputs["retention_ratio"]
        )
        plan = plan_by_threshold(curve, levels, settings)
    elif node and node.kind == "MagCacheAuto":
        plan = plan_speedup(curve, levels, inputs["speedup"], reuse=best_reuse(curve))
    return Run(node, plan, curve)


def _flow(sampler: Node) -> _Flow:
    shifts = [node.inputs["shift"] for node in _model_path(sampler) if "shift" in node.inputs]
    return _Flow(cast("float", shifts[0]), 1000) if shifts else _FLUX


def _model_path(sampler: Node) -> Iterator[Node]:
    """The nodes that the sampler's model comes through, the nearest first."""
    node = source(sampler.inputs["model"])
    while node is not None:
        yield node
        node = source(node.inputs["model"]) if "model" in node.inputs else None
