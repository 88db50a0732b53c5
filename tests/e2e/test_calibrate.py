"""`magcache calibrate` on a real server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from magcache import MagnitudeCurve
from magcache.demo.run import with_node
from magcache.server.client import Client
from magcache.server.launch import NEWEST, Server

from ..cli.calls import refused, run
from .workflows import small, written


def test_the_curve_is_saved_and_described_and_can_be_chosen(server: Server, client: Client, models: Path, tmp_path: Path):
    """A cache that is in the workflow is bypassed."""
    path = written(tmp_path / "flux.json", with_node(small(16), "MagCacheAuto", speedup=2.0))
    (facts,) = json.loads(run("calibrate", str(path), "--server", server.address, "--name", "measured", "--runs", "2", "--json"))
    assert facts["path"] == str(models / "magcache" / "measured.json")
    curve = MagnitudeCurve.load(facts["path"])
    assert facts["name"] == curve.name == "measured" and facts["steps"] == curve.steps == 16
    assert facts["runs"] == curve.provenance["runs"] == 2 and set(facts["branches"]) == {"cond", "uncond"}
    errors = [row["error"] for row in facts["forecast"]]
    assert 0 < errors[0] < errors[-1] and [row["nfe"] for row in facts["forecast"]] == [10, 8, 6, 5]
    (report,) = client.run(with_node(small(17), "MagCacheAuto", speedup=2.0, curve="measured")).reports
    assert (report["kind"], report["curve"]) == ("skipping", "measured")


def test_a_single_run_replaces_the_mean(server: Server, models: Path, tmp_path: Path):
    arguments = str(written(tmp_path / "flux.json", small())), "--server", server.address, "--name", "again"
    run("calibrate", *arguments, "--runs", "2")
    text = " ".join(run("calibrate", *arguments).split())
    assert "again: 10 steps" in text and "the mean of" not in text and "predicted error" in text
    assert f"Saved on the server: {models / 'magcache' / 'again.json'}" in text


@pytest.mark.parametrize("server", [NEWEST], indirect=True)
def test_a_thorough_calibration_measures_how_errors_spread_and_tells_its_cost_first(server: Server, models: Path, tmp_path: Path):
    path = written(tmp_path / "flux.json", small())
    text = " ".join(run("calibrate", str(path), "--server", server.address, "--name", "tried", "--thorough", "--runs", "3").split())
    assert "about as long as 4.6 runs of the workflow" in text and "on their way to the picture (measured)" in text
    curve = MagnitudeCurve.load(models / "magcache" / "tried.json")
    assert curve.propagation.source == "measured" and len(curve.propagation.trials) == 2 and curve.provenance["runs"] == 3


@pytest.mark.parametrize("server", [NEWEST], indirect=True)
def test_a_run_too_short_and_a_bad_name_are_explained(server: Server, tmp_path: Path):
    assert "needs at least 3" in refused("calibrate", str(written(tmp_path / "one.json", small(1))), "--server", server.address)
    for name, message in (("auto", "cannot name a curve"), ("flux", "comes with MagCache, and yours would hide it")):
        assert message in refused("calibrate", str(tmp_path / "one.json"), "--server", server.address, "--name", name)
