"""`magcache bench` on a real server."""

from __future__ import annotations

import json
import signal
from operator import truediv
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from magcache.demo.run import with_node
from magcache.server.launch import NEWEST, Server
from magcache.server.workflow import Workflow

from ..cli.calls import refused, run
from .processes import get_json, queue, start, wait_until
from .workflows import PUBLISHED, guided, small, video, written

on_newest = pytest.mark.parametrize("server", [NEWEST], indirect=True)


def bench(server: Server, path: Path, *arguments: str) -> dict[str, Any]:
    return json.loads(run("bench", str(path), "--server", f"http://{server.address}/", "--json", *arguments))


def test_a_workflow_without_magcache_is_compared_in_three_variants(server: Server, tmp_path: Path):
    facts = bench(server, written(tmp_path / "flux.json", small(16)), "--repeats", "2", "--easycache")
    full, cached, easy = (facts["ways"][way] for way in ("all steps", "MagCache", "EasyCache"))
    assert facts["seeds"] == [1000, 1001] and facts["device"] == "cpu"
    assert full["nfe"] == 16 and cached["nfe"] == 8 and len(full["seconds"]) == len(cached["seconds"]) == 2
    # By two clocks, the server's and that of the websocket: on a busy machine neither bounds the other.
    assert full["sampler_seconds_median"] > 0 and full["seconds_median"] > 0
    assert cached["speedup"] == pytest.approx(median(map(truediv, full["seconds"], cached["seconds"])))
    assert 15 < cached["psnr_worst"] <= cached["psnr_mean"] < 100 and cached["psnr_mean"] > easy["psnr_mean"]
    assert easy["settings"] == [{"node": "EasyCache", "reuse_threshold": 0.2, "start_percent": 0.15, "end_percent": 0.95}]
    assert 0 < easy["nfe"] < 16, "its evaluations, by the server's log"
    assert json.loads((tmp_path / "flux.bench" / "result.json").read_text()) == facts
    page = (tmp_path / "flux.bench" / "index.html").read_text()
    assert page.count("data:image/png") == 2 * 5 and page.count('class="reuse" title="step') == 8
    assert "Settings of EasyCache: reuse_threshold 0.2, start_percent 0.15, end_percent 0.95" in page


@on_newest
def test_a_report_that_is_there_is_kept_and_the_table_names_the_settings(server: Server, tmp_path: Path):
    path, kept = written(tmp_path / "flux.json", small()), tmp_path / "flux.bench" / "index.html"
    kept.parent.mkdir()
    kept.write_text("mine")
    printed = run("bench", str(path), "--server", server.address, "--repeats", "1", "--easycache")
    assert f"Report: {tmp_path / 'flux.bench-2' / 'index.html'}" in printed and kept.read_text() == "mine"
    text = " ".join(printed.split())
    assert "Settings of EasyCache: reuse_threshold 0.2, start_percent 0.15, end_percent 0.95" in text
    assert "Settings of MagCacheAuto: speedup 2.0" in text


def test_magcache_keeps_its_settings_and_a_guider_gets_it(server: Server, tmp_path: Path):
    own = bench(server, written(tmp_path / "own.json", with_node(small(), "MagCache", **PUBLISHED)), "--repeats", "1")
    (report,) = own["ways"]["MagCache"]["reports"]
    assert (report["kind"], report["curve"], report["tuned"]) == ("skipping", "flux", False)
    found = bench(server, written(tmp_path / "guided.json", guided(16)), "--repeats", "1")
    assert found["ways"]["MagCache"]["nfe"] == 8 and found["ways"]["MagCache"]["psnr_worst"] > 15


@on_newest
def test_frames_of_a_video_are_compared(server: Server, tmp_path: Path):
    facts = bench(server, written(tmp_path / "video.json", video(16)), "--repeats", "1", "--out", str(tmp_path / "out"))
    assert 15 < facts["ways"]["MagCache"]["psnr_worst"] < facts["ways"]["MagCache"]["psnr_mean"]
    assert (tmp_path / "out" / "index.html").exists()


def broken(**changed: Any) -> Workflow:
    workflow = small()
    workflow["sampler"]["inputs"].update(changed)
    return workflow


def extra(kind: str) -> Workflow:
    return small() | {"77": {"class_type": kind, "inputs": {}}}


@on_newest
@pytest.mark.parametrize(
    ("workflow", "message"),
    [
        ({"nodes": [], "links": []}, "choose File → Export (API) in its menu"),
        (extra("Not There // At All"), "lacks nodes of this workflow: Not There // At All. Install"),
        (extra("MagCacheOfTomorrow"), "MagCache is not installed there, or too old"),
        (broken(sampler_name="nonsense"), "KSampler (node sampler): Value not in list (sampler_name: 'nonsense' not in"),
        (with_node(small(), "MagCacheAuto", speedup=2.0, curve="wan2.1_t2v_14B"), "MagCacheAuto (node magcache) failed: The curve 'wan2.1"),
        ({name: node for name, node in small().items() if name != "save"}, "refused the workflow: Prompt has no outputs"),
    ],
    ids=["editor's format", "missing node", "no MagCache", "rejected", "fails", "saves nothing"],
)  # fmt: skip
def test_a_mistake_is_explained_in_one_line(server: Server, tmp_path: Path, workflow: Workflow, message: str):
    path = written(tmp_path / "broken.json", workflow)
    assert message in refused("bench", str(path), "--server", server.address, "--repeats", "1")
    assert [each.name for each in tmp_path.iterdir()] == ["broken.json"]


@pytest.mark.parametrize("address", ["127.0.0.1:1", "http://127.0.0.1:1", "http://no such host/"])
def test_a_server_that_does_not_answer_is_named_once(tmp_path: Path, address: str):
    message = refused("bench", str(written(tmp_path / "flux.json", small())), "--server", address)
    assert message.count("No ComfyUI answers at http://") == 1 and "--server http://HOST:PORT" in message


@on_newest
def test_ctrl_c_stops_only_its_own_run_and_reports_what_was_measured(server: Server, tmp_path: Path):
    path, before = written(tmp_path / "flux.json", small(20)), len(get_json(server, "/history"))
    process = start("bench", str(path), "--server", server.address, "--repeats", "500")
    # Two runs to warm up, then two in each round.
    wait_until(lambda: len(get_json(server, "/history")) >= before + 5 and get_json(server, "/queue")["queue_running"])
    of_another_client = queue(server, small(11))
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "stopped by Ctrl-C" in errors
    assert json.loads((tmp_path / "flux.bench" / "result.json").read_text())["seeds"][0] == 1000
    wait_until(lambda: of_another_client in get_json(server, "/history"))
    assert get_json(server, f"/history/{of_another_client}")[of_another_client]["status"]["status_str"] == "success"
    assert get_json(server, "/queue") == {"queue_running": [], "queue_pending": []}
