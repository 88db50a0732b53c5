"""What a user of the server sees: published workflows run, runs are reported, mistakes are explained."""

from __future__ import annotations

import json
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


def test_calibration_saves_a_curve_that_auto_uses_and_the_menu_shows(client: Client, server: Server, models: Path):
    client.run(with_node(small(), "MagCacheCalibration", model_type="flux_calibration", name="mine"))
    assert json.loads((models / "magcache" / "mine.json").read_text())["provenance"]["steps"] == 10
    assert "mine" in object_info(server)["MagCache"]["input"]["required"]["model_type"][1]["options"]
    (report,) = client.run(with_node(small(8), "MagCache", **{**PUBLISHED, "model_type": "auto"})).reports
    assert report["curve"] == "mine"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model_type": "sdxl"}, "model_type"),
        ({"magcache_thresh": -1.0}, "magcache_thresh"),
        ({"model_type": "wan2.1_t2v_14B"}, "this model is flux"),
    ],
    ids=["unknown key", "threshold below zero", "another architecture"],
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
