"""Inputs that cannot fail a run: what is wrong is refused before ComfyUI queues the workflow; what only the run can see, such as a value
from another node, is told, and every step is computed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import execution
import nodes
import pytest
import torch
from comfy_api.latest import io

from magcache import MagnitudeCurve, load_curve
from magcache.comfyui import notify
from magcache.comfyui.curve_folders import curve_store, register_folder
from magcache.comfyui.nodes.calibration import MagCacheCalibration
from magcache.comfyui.nodes.preset import MagCachePreset
from magcache.comfyui.nodes.speed import MagCache, MagCacheAuto
from magcache.comfyui.patch import patch_of
from magcache.errors import CurveError
from magcache.planning.plan import Reason
from magcache.reports.run_report import RunReport

from .runs import sample
from .tiny import Tiny

PUBLISHED = {"magcache_thresh": 0.24, "retention_ratio": 0.1, "magcache_K": 5}
NODES: dict[str, Any] = {"MagCacheAuto": MagCacheAuto, "MagCache": MagCache, "MagCacheCalibration": MagCacheCalibration}


class Source(io.ComfyNode):
    """Stands for nodes that give a model, a text of any kind, or a number."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema("Source", outputs=[io.Model.Output(), io.AnyType.Output(), io.Float.Output()])

    @classmethod
    def execute(cls) -> io.NodeOutput:
        return io.NodeOutput()


class Sink(io.ComfyNode):
    """Stands for a sampler and what saves its picture."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema("Sink", inputs=[io.Model.Input("model")], is_output_node=True)

    @classmethod
    def execute(cls, model: Any) -> io.NodeOutput:
        return io.NodeOutput()


@pytest.fixture(autouse=True)
def known_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, kind in {**NODES, "Source": Source, "Sink": Sink}.items():
        kind.GET_SCHEMA()
        monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, name, kind)


def refused(node: str, **inputs: Any) -> list[str]:
    """What ComfyUI says of a workflow with this node when it is queued, one line for each input in question; nothing if it is queued."""
    prompt = {
        "source": {"class_type": "Source", "inputs": {}},
        "node": {"class_type": node, "inputs": {"model": ["source", 0], **inputs}},
        "sink": {"class_type": "Sink", "inputs": {"model": ["node", 0]}},
    }
    queued, _, _, errors = asyncio.run(execution.validate_prompt("prompt", prompt, None))
    found = [error["details"] for error in errors.get("node", {"errors": []})["errors"]]
    assert bool(found) is not queued
    return found


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What the node shows, in one line each."""
    texts: list[str] = []

    class Server:
        def send_progress_text(self, text: str, node: str) -> None:
            texts.append(" ".join(text.split()))

        def send_sync(self, event: str, data: dict[str, Any]) -> None:
            json.dumps(data)

    monkeypatch.setattr(notify.PromptServer, "instance", Server(), raising=False)
    return texts


def executed(node: str, model: Any, **inputs: Any) -> Any:
    """The model that a node gives, as ComfyUI runs it."""
    made = NODES[node].PREPARE_CLASS_CLONE({"hidden_inputs": {io.Hidden.unique_id: "7"}})
    return made.execute(model, **inputs).args[0]


def last_report(model: Any) -> RunReport:
    patch = patch_of(model)
    assert patch is not None
    return list(patch.history)[-1][0]


def options(kind: Any, name: str) -> list[str]:
    return next(each for each in kind.define_schema().inputs if each.id == name).options


@pytest.mark.parametrize("speedup", [0.1, 0.5, 0.9, 0.99, -1, 4.1, float("nan"), float("inf"), "nan", "inf", "0.5", "fast", [], {}])
def test_a_speedup_between_off_and_one_is_refused_before_it_is_queued(speedup: Any):
    found = refused("MagCacheAuto", speedup=speedup, curve="auto")
    assert found and all(text.startswith("speedup") for text in found), "no other input is to blame"
    if isinstance(speedup, float | int):
        assert len(found) == 1 and "Expected 0 (as tuned), 1 (off), or a number up to 4, usually 2." in found[0]


@pytest.mark.parametrize("speedup", [0, 1, 1.0, 1.1, 2, 4, 4.0, "2", "0", True, ["source", 2], ["source", 1]])
def test_a_speedup_that_is_possible_or_comes_from_another_node_is_queued(speedup: Any):
    assert refused("MagCacheAuto", speedup=speedup) == []
    assert refused("MagCacheAuto", speedup=speedup, curve="auto", reuse="hold", start_percent=0.2) == []


@pytest.mark.parametrize("speedup", [0.1, 0.9, -3.0, float("nan"), float("inf"), "fast", None, [2.0]])
def test_a_linked_speedup_that_is_impossible_computes_every_step_and_says_why(flux: Tiny, shown: list[str], speedup: Any):
    model = executed("MagCacheAuto", flux.model, speedup=speedup)
    assert torch.equal(sample(flux, model, count=12), sample(flux, count=12))
    report = last_report(model)
    assert report.reused == 0 and report.plan.reason is Reason.UNUSABLE
    assert "speedup is " in shown[-1] and "Expected 0 (as tuned), 1 (off)" in shown[-1]


def test_a_linked_speedup_as_text_counts_as_its_number(flux: Tiny):
    model = executed("MagCacheAuto", flux.model, speedup="2.0", curve="flux")
    sample(flux, model, count=14, cfg=3.0)
    assert last_report(model).nfe == 7
    assert executed("MagCacheAuto", flux.model, speedup="1") is flux.model


@pytest.mark.parametrize(
    ("node", "inputs", "field"),
    [
        ("MagCacheAuto", {"speedup": 2.0}, "curve"),
        ("MagCache", PUBLISHED, "model_type"),
        ("MagCacheCalibration", {"name": "mine"}, "model_type"),
    ],
)
def test_a_curve_that_is_not_there_is_refused_before_it_is_queued(node: str, inputs: dict[str, Any], field: str):
    for name in ("someone's LoRA", "framepack", "Auto"):
        (found,) = refused(node, **inputs, **{field: name})
        assert found.startswith(f"{field}: ") and name in found and "not in" in found
    for name in ("auto", "flux", ["source", 1]):
        assert refused(node, **inputs, **{field: name}) == []


def test_curves_of_models_that_comfyui_cannot_load_are_not_offered(curves_folder: Path):
    curve = load_curve("flux")
    families = {"mine": "flux", "unknown class": "MyTransformer2D", "of diffusers": "cogview4", "framepack": "hunyuan_video"}
    for name, family in families.items():
        curve_store().save(MagnitudeCurve.from_json(curve.to_json() | {"name": name, "family": family}))
    (curves_folder / "broken.json").write_text("{")
    for kind, field in ((MagCache, "model_type"), (MagCacheAuto, "curve"), (MagCacheCalibration, "model_type"), (MagCachePreset, "curve")):
        offered = options(kind, field)
        assert {"flux", "omnigen2_t2i", "mine", "unknown class"} <= set(offered)
        assert not {"framepack_f1", "of diffusers"} & set(offered)
        assert "framepack" in offered, "a file of the user's own"
    assert {"framepack_f1", "of diffusers"} <= set(curve_store().names())


@pytest.mark.parametrize("change", ["deleted", "broken"])
def test_a_curve_that_is_gone_when_the_run_begins_loses_no_picture(flux: Tiny, curves_folder: Path, shown: list[str], change: str):
    path = curves_folder / "mine.json"
    path.write_text(json.dumps(load_curve("flux").to_json()))
    models = [
        executed("MagCacheAuto", flux.model, speedup=2.0, curve="mine"),
        executed("MagCache", flux.model, model_type="mine", **PUBLISHED),
    ]
    path.unlink() if change == "deleted" else path.write_text("{")
    for model in models:
        assert torch.equal(sample(flux, model, count=12), sample(flux, count=12))
        assert last_report(model).reused == 0 and "mine" in shown[-1]
        assert ("no curve named" if change == "deleted" else "cannot be read as a curve") in shown[-1]


@pytest.mark.parametrize("name", ["flux", " flux ", "FLUX", "wan2.1_t2v_14B", "flux_kontext_28steps"])
def test_a_name_that_hides_a_shipped_curve_is_refused_before_it_is_queued(flux: Tiny, name: str):
    (found,) = refused("MagCacheCalibration", model_type="auto", name=name)
    assert found.startswith("name - ") and "yours would hide it. Choose another name" in found
    with pytest.raises(CurveError, match="would hide it"):  # If another node gives it.
        executed("MagCacheCalibration", flux.model, model_type="auto", name=name)


@pytest.mark.parametrize("name", ["auto", "x" * 201, "a\x07b"])
def test_a_name_that_cannot_be_one_is_refused_before_it_is_queued(name: str):
    assert any("cannot name a curve" in text for text in refused("MagCacheCalibration", model_type="auto", name=name))


@pytest.mark.parametrize("name", ["", "  ", "mine", "私の曲線", "a/b", ["source", 1]])
@pytest.mark.parametrize("model_type", ["auto", "flux_calibration", "flux", ["source", 1]])
def test_other_names_and_kinds_are_queued(name: Any, model_type: Any):
    assert refused("MagCacheCalibration", model_type=model_type, name=name) == []
    assert refused("MagCacheCalibration", model_type=model_type) == []


def test_a_file_that_hides_a_shipped_curve_still_serves_and_is_told_when_comfyui_starts(
    flux: Tiny, curves_folder: Path, caplog: pytest.LogCaptureFixture
):
    own = MagnitudeCurve.from_json(load_curve("chroma").to_json() | {"name": "flux", "family": "flux"})
    own.save(curves_folder / "flux.json")
    assert curve_store().load("flux", 28) == own and refused("MagCacheAuto", speedup=2.0, curve="flux") == []
    model = executed("MagCacheAuto", flux.model, speedup=2.0, curve="flux")
    sample(flux, model, count=14, cfg=3.0)
    assert last_report(model).reused and "in place of" not in caplog.text
    register_folder()
    assert caplog.text.count("flux.json in place of the curve of this name") == 1


@pytest.mark.parametrize("name", ["私の曲線", "我的 曲线", "Мой LoRA 🦊", "../up", "a/b", "CON", "x" * 200])
def test_a_curve_is_chosen_by_the_name_that_was_typed(flux: Tiny, curves_folder: Path, shown: list[str], name: str):
    sample(flux, executed("MagCacheCalibration", flux.model, model_type="auto", name=f" {name}"), count=14, cfg=3.0)
    (path,) = curves_folder.parent.rglob("*.json")
    assert path.parent == curves_folder and (name[:20] in shown[-1] or len(name) > 100)
    assert name in options(MagCacheAuto, "curve") and refused("MagCacheAuto", speedup=2.0, curve=name) == []
    for node, inputs in (("MagCacheAuto", {"speedup": 2.0, "curve": name}), ("MagCache", {"model_type": name, **PUBLISHED})):
        model = executed(node, flux.model, **inputs)
        sample(flux, model, count=14, cfg=3.0)
        assert last_report(model).label.curve == name and last_report(model).label.kind == "skipping"
