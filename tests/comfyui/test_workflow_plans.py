"""The plans in the thumbnails and notes of the example workflows are those of runs in ComfyUI."""

from __future__ import annotations

from typing import Any

import comfy.samplers
import pytest
from comfy_extras.nodes_flux import Flux2Scheduler
from comfy_extras.nodes_lt import EmptyLTXVLatentVideo, LTXVScheduler
from comfy_extras.nodes_model_advanced import ModelSamplingAuraFlow, ModelSamplingSD3

from magcache.comfyui.curve_folders import curve_store
from magcache.planning.threshold import plan_by_threshold
from magcache.settings import FEW_STEPS, ThresholdSettings
from tools.workflows.collection import workflows
from tools.workflows.graph import Node, Workflow, source
from tools.workflows.plans import model_path, runs, samplers, sigmas
from tools.workflows.schedules import from_node

from .tiny import ALL, CPU

TINY = {"flux": "flux dev", "chroma": "chroma", "qwen_image": "qwen_image", "hunyuan_video": "hunyuan_video", "wan": "wan t2v"}
"""A model of each family of curves; its schedule does not depend on its size."""
WORKFLOWS = {workflow.title: workflow for workflow in workflows()}


def on_the_way(sampler: Node, kind: str) -> Node | None:
    """The node of a `kind` that the sampler's model passes through; None if there is none."""
    return next((node for node in model_path(sampler) if node.kind.startswith(kind)), None)


def sigmas_in_comfyui(sampler: Node, family: str) -> list[float]:
    """The sigmas with which a sampler samples, with the closing one."""
    if sampler.kind == "SamplerCustomAdvanced":
        return sigmas_of_node(source(sampler.inputs["sigmas"]))
    model = ALL[TINY[family]]().model
    inputs: dict[str, Any] = sampler.inputs
    shifted = on_the_way(sampler, "ModelSampling")
    if shifted is not None:
        patch = {"ModelSamplingSD3": ModelSamplingSD3().patch, "ModelSamplingAuraFlow": ModelSamplingAuraFlow().patch_aura}[shifted.kind]
        model = patch(model, shifted.inputs["shift"])[0]
    names = {"sampler": inputs["sampler_name"], "scheduler": inputs["scheduler"]}
    found = comfy.samplers.KSampler(model, inputs["steps"], CPU, denoise=1.0, **names).sigmas.tolist()
    return found[inputs.get("start_at_step", 0) : inputs.get("end_at_step", inputs["steps"]) + 1]


def sigmas_of_node(node: Node | None) -> list[float]:
    """What a scheduler that is a node of its own gives in ComfyUI."""
    assert node is not None
    inputs: dict[str, Any] = dict(node.inputs)
    if node.kind == "Flux2Scheduler":
        return Flux2Scheduler.execute(**inputs).args[0].tolist()
    latent = source(inputs["latent"])
    assert node.kind == "LTXVScheduler" and latent is not None
    defaults = {each.id: each.default for each in LTXVScheduler.define_schema().inputs if hasattr(each, "default")}
    size: dict[str, Any] = {"batch_size": 1, **latent.inputs}
    return LTXVScheduler.execute(**{**defaults, **inputs, "latent": EmptyLTXVLatentVideo.execute(**size).args[0]}).args[0].tolist()


@pytest.mark.parametrize("steps", [8, 20, 50])
@pytest.mark.parametrize("size", [512, 1024, 1536])
def test_flux2_is_sampled_at_the_levels_of_its_size(steps: int, size: int):
    node = Node("Flux2Scheduler", None, {"steps": steps, "width": size, "height": size})
    assert from_node(node) == pytest.approx(sigmas_of_node(node)[:-1], abs=1e-5)


@pytest.mark.parametrize("workflow", WORKFLOWS.values(), ids=WORKFLOWS.keys())
def test_a_plan_is_that_of_the_schedule_comfyui_makes(workflow: Workflow):
    assert runs(workflow)
    for sampler, run in zip(samplers(workflow), runs(workflow), strict=True):
        real = sigmas_in_comfyui(sampler, run.curve.family)[:-1]
        assert sigmas(sampler) == pytest.approx(real, abs=1e-5)
        node = on_the_way(sampler, "MagCache")
        if node is not None and node.kind == "MagCache":
            rule: dict[str, Any] = node.inputs
            settings = ThresholdSettings(threshold=rule["magcache_thresh"], max_skip=rule["magcache_K"], retention=rule["retention_ratio"])
            assert plan_by_threshold(curve_store().load(rule["model_type"], len(real)), real, settings).reused == run.plan.reused


@pytest.mark.parametrize("workflow", WORKFLOWS.values(), ids=WORKFLOWS.keys())
def test_magcache_auto_can_measure_every_run_and_halves_it(workflow: Workflow):
    for run in runs(workflow):
        if run.node is not None and run.node.kind == "MagCacheAuto":
            assert run.plan.steps >= FEW_STEPS and run.plan.nfe == run.plan.steps // 2


@pytest.mark.parametrize(("title", "boundary"), [("Wan2.2 T2V with MagCache", 0.875), ("Wan2.2 I2V with MagCache", 0.9)])
def test_wan22_changes_its_expert_at_the_sigma_of_its_authors(title: str, boundary: float):
    high, low = (run.plan.sigmas for run in runs(WORKFLOWS[title]))
    assert high[-1] >= boundary > low[0]


@pytest.mark.parametrize("workflow", WORKFLOWS.values(), ids=WORKFLOWS.keys())
def test_the_parts_of_a_schedule_meet(workflow: Workflow):
    for sampler, follower in zip(samplers(workflow), samplers(workflow)[1:], strict=False):
        if sampler.kind == "KSamplerAdvanced":
            assert sampler.inputs["end_at_step"] == follower.inputs["start_at_step"]
            assert sampler.inputs["steps"] == follower.inputs["steps"]
