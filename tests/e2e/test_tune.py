"""`magcache tune` on a real server."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from magcache.demo.run import with_node
from magcache.server.client import Client
from magcache.server.launch import NEWEST, Server

from ..cli.calls import refused, run
from .processes import get, start, until
from .workflows import small, written

pytestmark = pytest.mark.parametrize("server", [NEWEST], indirect=True)
TRIALS = 6


def complete(folder: Path) -> int:
    """Trials that the study on disk has values of."""
    file = folder / "study.jsonl"
    return sum(json.loads(line).get("values") is not None for line in file.read_text().splitlines()) if file.exists() else 0


def test_a_killed_run_goes_on_and_its_choice_is_found_by_auto(server: Server, client: Client, models: Path, tmp_path: Path):
    path, folder = written(tmp_path / "flux.json", small()), tmp_path / "flux.tune"
    command = "tune", str(path), "--server", server.address, "--trials", str(TRIALS), "--seeds", "1", "--min-psnr", "18", "--json"
    process = start(*command)
    until(lambda: complete(folder) >= 2)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    kept = complete(folder)
    assert 2 <= kept < TRIALS

    facts = json.loads(run(*command))
    assert len(facts["trials"]) == TRIALS == complete(folder)
    assert [trial["setting"]["speedup"] for trial in facts["trials"][:2]] == [2.0, 1.5]
    assert 0 < len(facts["front"]) <= TRIALS
    assert (folder / "pareto.png").read_bytes().startswith(b"\x89PNG") and (folder / "index.html").exists()
    assert json.loads((folder / "result.json").read_text()) == facts

    chosen = facts["chosen"]
    assert chosen["met"] and chosen["psnr_worst"] >= 18
    tuned = json.loads((tmp_path / "flux.tuned.json").read_text())
    (curves,) = facts["presets"].values()
    assert [(models / "magcache" / "presets" / f"{curve}.json").exists() for curve in curves] == [True]
    expected = client.run(tuned).reports[0]
    found = client.run(with_node(small(), "MagCacheAuto", speedup=0.0)).reports[0]
    assert found["curve"] == f"{curves[0]} (tuned)"
    assert found["decisions"] == expected["decisions"] and found["nfe"] == chosen["nfe"] < 10


def test_the_published_rule_is_tuned_where_the_workflow_has_it(server: Server, tmp_path: Path):
    rule = {"model_type": "flux", "magcache_thresh": 0.24, "retention_ratio": 0.1, "magcache_K": 5}
    path = written(tmp_path / "rule.json", with_node(small(), "MagCache", **rule))
    arguments = "--server", server.address, "--server", server.address, "--trials", "4", "--seeds", "1"
    facts: dict[str, Any] = json.loads(run("tune", str(path), *arguments, "--max-seconds", "1000", "--json"))
    assert len(facts["trials"]) == 4 and set(facts["trials"][0]["setting"]) == {"magcache_thresh", "retention_ratio", "magcache_K"}
    assert facts["chosen"]["number"] == max(facts["trials"], key=lambda trial: trial["psnr_worst"])["number"]
    tuned = json.loads((tmp_path / "rule.tuned.json").read_text())["magcache"]["inputs"]
    assert tuned == {**tuned, **facts["chosen"]["setting"], "model_type": "flux"}
    assert set(map(tuple, facts["presets"].values())) == {()}

    said = refused("tune", str(path), *arguments, "--min-psnr", "99")
    assert "No setting of 4 gives at least 99 dB" in said and "--trials" in said
    assert "other seeds" in refused("tune", str(path), "--server", server.address, "--seeds", "2")


def test_ctrl_c_keeps_what_is_measured_and_leaves_no_run_behind(server: Server, tmp_path: Path):
    path, folder = written(tmp_path / "flux.json", small()), tmp_path / "out"
    process = start("tune", str(path), "--server", server.address, "--seeds", "1", "--out", str(folder))
    until(lambda: complete(folder) >= 1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and f"of 30 settings are measured and kept in {folder}" in " ".join(said.split())
    assert get(server, "/queue") == {"queue_running": [], "queue_pending": []}
    assert not (tmp_path / "flux.tuned.json").exists()
