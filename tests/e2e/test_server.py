"""What a user of the server sees: published workflows run, runs are reported, mistakes are explained."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from magcache.demo.run import with_node
from magcache.server.client import Client
from magcache.server.launch import Server
from magcache.server.workflow import WorkflowError

from .processes import get_json
from .workflows import PUBLISHED, small

SIX = {**PUBLISHED, "start_step": 2, "end_step": -2}


def object_info(server: Server) -> dict[str, Any]:
    return get_json(server, "/object_info")


def test_every_node_is_there_and_nothing_failed_to_import(server: Server):
    assert {"MagCache", "MagCacheCalibration", "CompileModel"} <= object_info(server).keys()
    assert "IMPORT FAILED: MagCache" not in server.log.read_text()
    assert "MagCache could not be loaded" not in server.log.read_text()


def test_widgets_stand_in_the_published_order(server: Server):
    info = object_info(server)["MagCache"]
    order = info["input_order"]["required"] + info["input_order"]["optional"]
    assert order[:7] == ["model", *SIX]
    assert info["input_order"]["required"] == ["model", *PUBLISHED]
    assert object_info(server)["CompileModel"]["input_order"]["required"] == ["model", "mode", "backend", "fullgraph", "dynamic"]


@pytest.mark.parametrize("values", [PUBLISHED, SIX], ids=["four values", "six values"])
def test_a_published_prompt_runs_unchanged_and_skips(client: Client, values: dict[str, Any]):
    outcome = client.run(with_node(small(), "MagCache", **values))
    (report,) = outcome.reports
    assert len(outcome.pictures) == 1
    assert (report["kind"], report["curve"]) == ("skipping", "flux") and 0 < report["nfe"] < report["evaluations"] == 10
    if values is SIX:
        assert report["decisions"][9] == "compute" and report["decisions"][:2] == ["compute"] * 2


def test_a_second_run_with_another_seed_skips_exactly_alike(client: Client):
    first = client.run(with_node(small(), "MagCache", **PUBLISHED))
    again = with_node(small(), "MagCache", **PUBLISHED)
    again["sampler"]["inputs"]["seed"] = 6
    assert client.run(again).reports[0]["decisions"] == first.reports[0]["decisions"]


def test_switched_off_gives_the_same_picture_to_the_bit(client: Client):
    plain = client.run(small(6)).pictures[0]
    off = client.run(with_node(small(6), "MagCache", **{**PUBLISHED, "magcache_thresh": 0.0}))
    assert off.reports == [] and np.array_equal(off.pictures[0], plain)


def test_a_calibration_serves_auto_and_one_with_a_name_whoever_chooses_it(client: Client, server: Server, models: Path):
    shutil.rmtree(models / "magcache", ignore_errors=True)
    client.run(with_node(small(), "MagCacheCalibration", model_type="flux_calibration", name="私の曲線"))
    (path,) = (models / "magcache").glob("*.json")
    assert json.loads(path.read_text())["provenance"]["steps"] == 10
    assert "私の曲線" in object_info(server)["MagCache"]["input"]["required"]["model_type"][1]["options"]
    client.run(with_node(small(), "MagCacheCalibration", model_type="flux_calibration"))
    for choice in ("私の曲線", "auto"):
        (report,) = client.run(with_node(small(8), "MagCache", **{**PUBLISHED, "model_type": choice})).reports
        assert report["curve"] == "私の曲線" if choice != "auto" else report["curve"].startswith("flux-")


@pytest.mark.parametrize("speedup", [0.5, 4.1, -1.0])
def test_a_speedup_that_is_impossible_is_refused_before_anything_runs(client: Client, speedup: float):
    with pytest.raises(WorkflowError, match=r"speedup is .* Expected 0 \(as tuned\), 1 \(off\)"):
        client.run(with_node(small(), "MagCacheAuto", speedup=speedup))


def test_an_impossible_speedup_from_another_node_computes_every_step(client: Client):
    plain = client.run(small(7)).pictures[0]
    linked = with_node(small(7), "MagCacheAuto", speedup=["number", 0])
    linked["number"] = {"class_type": "PrimitiveFloat", "inputs": {"value": 0.5}}
    outcome = client.run(linked)
    assert np.array_equal(outcome.pictures[0], plain) and outcome.reports[0]["nfe"] == 7
    assert any("speedup is 0.5" in " ".join(text.split()) for texts in outcome.texts.values() for text in texts)


@pytest.mark.parametrize("name", ["flux", "auto", "x" * 201])
def test_a_name_that_a_curve_cannot_have_is_refused_before_anything_runs(client: Client, name: str):
    with pytest.raises(WorkflowError, match=r"would hide it|cannot name a curve"):
        client.run(with_node(small(), "MagCacheCalibration", model_type="auto", name=name))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model_type": "sdxl"}, "model_type: 'sdxl' not in"),
        ({"model_type": "framepack"}, "model_type: 'framepack' not in"),
        ({"magcache_thresh": -1.0}, "magcache_thresh"),
        ({"model_type": "wan2.1_t2v_14B"}, "this model is flux"),
    ],
    ids=["unknown key", "a model of other programs", "threshold below zero", "another architecture"],
)
def test_a_mistake_is_explained(client: Client, changed: dict[str, Any], message: str):
    with pytest.raises(WorkflowError, match=message):
        client.run(with_node(small(), "MagCache", **{**PUBLISHED, **changed}))


def test_a_broken_curve_file_is_named(client: Client, models: Path):
    folder = models / "magcache"
    folder.mkdir(exist_ok=True)
    (folder / "broken.json").write_text('{"format": "magcache.curve", "version": 1}')
    with pytest.raises(WorkflowError, match=r"broken\.json lacks"):
        client.run(with_node(small(), "MagCache", **{**PUBLISHED, "model_type": "broken"}))
    assert len(client.run(with_node(small(7), "MagCache", **PUBLISHED)).pictures) == 1


def test_settings_that_skip_nothing_compute_in_full(client: Client):
    plain = client.run(small(6)).pictures[0]
    outcome = client.run(with_node(small(6), "MagCache", **{**PUBLISHED, "retention_ratio": 1.0}))
    assert outcome.reports[0]["nfe"] == 6 and np.array_equal(outcome.pictures[0], plain)


def test_after_a_calibration_the_same_workflow_runs_again_and_faster(client: Client, models: Path):
    """ComfyUI keeps results of what it has run: with a fixed seed nobody would see the speed-up."""
    shutil.rmtree(models / "magcache", ignore_errors=True)
    workflow = with_node(small(16), "MagCacheAuto", speedup=2.0)
    first, second, third = (client.run(workflow) for _ in range(3))
    assert (first.reports[0]["kind"], first.reports[0]["nfe"]) == ("calibrating", 16)
    assert second.reports[0]["nfe"] < 16
    assert third.reports == []  # Now nothing has changed.


def test_a_node_that_was_made_anew_shows_its_own_status(client: Client):
    """Whatever ComfyUI has kept of a node with the same inputs: that one would show the status under its own id."""
    workflow = with_node(small(16), "MagCache", **PUBLISHED)
    client.run(workflow)
    again = json.loads(json.dumps(workflow).replace('"magcache"', '"made anew"'))
    again["sampler"]["inputs"]["seed"] = 77
    assert set(client.run(again).texts) == {"made anew"}
