"""`magcache tune` on a real server."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from magcache.cli.main import app
from magcache.demo.run import with_node
from magcache.server.client import Client
from magcache.server.launch import NEWEST, Server

from ..cli.calls import refused, run, runner
from .processes import get_json, start, wait_until
from .workflows import PUBLISHED, small, written

pytestmark = pytest.mark.parametrize("server", [NEWEST], indirect=True)
TRIALS = 6


def complete(folder: Path) -> int:
    """Number of trials of the study on disk that have results."""
    file = folder / "study.jsonl"
    return sum(json.loads(line).get("values") is not None for line in file.read_text().splitlines()) if file.exists() else 0


def test_a_killed_search_resumes_and_magcache_auto_uses_its_choice(server: Server, client: Client, models: Path, tmp_path: Path):
    path, folder = written(tmp_path / "flux.json", small(16)), tmp_path / "flux.tune"
    command = "tune", str(path), "--server", server.address, "--trials", str(TRIALS), "--seeds", "1", "--min-psnr", "18", "--json"
    process = start(*command)
    wait_until(lambda: complete(folder) >= 2)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    kept = complete(folder)
    assert 2 <= kept < TRIALS

    facts = json.loads(run(*command))
    _is_done(server, facts, *command)
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
    found = client.run(with_node(small(16), "MagCacheAuto", speedup=0.0)).reports[0]
    assert (found["kind"], found["curve"], found["tuned"]) == ("skipping", curves[0], True)
    assert found["decisions"] == expected["decisions"] and found["nfe"] == chosen["nfe"] < 16


def _is_done(server: Server, facts: dict[str, Any], *command: str) -> None:
    """The same command again shows the same result and measures nothing."""
    before = get_json(server, "/history").keys()
    again = runner.invoke(app, list(command))
    assert again.exit_code == 0 and json.loads(again.stdout) == facts
    assert "This is done: nothing was measured again. To measure anew, delete" in again.stderr
    assert get_json(server, "/history").keys() == before


def test_the_published_rule_is_tuned_where_the_workflow_has_it(server: Server, tmp_path: Path):
    path = written(tmp_path / "rule.json", with_node(small(), "MagCache", **PUBLISHED))
    (tmp_path / "rule.tuned.json").write_text("an earlier one")
    arguments = "--server", server.address, "--server", server.address, "--trials", "4", "--seeds", "1"
    facts: dict[str, Any] = json.loads(run("tune", str(path), *arguments, "--max-seconds", "1000", "--json"))
    assert len(facts["trials"]) == 4 and set(facts["trials"][0]["setting"]) == {"magcache_thresh", "retention_ratio", "magcache_K"}
    assert facts["chosen"]["number"] == max(facts["trials"], key=lambda trial: trial["psnr_worst"])["number"]
    tuned = json.loads((tmp_path / "rule.tuned-2.json").read_text())["magcache"]["inputs"]
    assert (tmp_path / "rule.tuned.json").read_text() == "an earlier one"
    assert tuned == {**tuned, **facts["chosen"]["setting"], "model_type": "flux"}
    assert set(map(tuple, facts["presets"].values())) == {()}

    first = (tmp_path / "rule.tune" / "index.html").read_bytes()
    message = refused("tune", str(path), *arguments, "--min-psnr", "99")
    assert "No setting of 4 gives at least 99 dB" in message and "--trials" in message
    assert (tmp_path / "rule.tune" / "index.html").read_bytes() == first and (tmp_path / "rule.tune-2" / "index.html").exists()
    assert "other seeds" in refused("tune", str(path), "--server", server.address, "--seeds", "2")


def test_ctrl_c_keeps_what_is_measured_and_leaves_no_run_behind(server: Server, tmp_path: Path):
    path, folder = written(tmp_path / "flux.json", small()), tmp_path / "out"
    process = start("tune", str(path), "--server", server.address, "--seeds", "1", "--out", str(folder))
    wait_until(lambda: complete(folder) >= 1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and f"of 30 settings are measured and kept in {folder}" in " ".join(errors.split())
    assert get_json(server, "/queue") == {"queue_running": [], "queue_pending": []}
    assert not (tmp_path / "flux.tuned.json").exists()
