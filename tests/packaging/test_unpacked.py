"""The archive, unpacked into custom_nodes and not installed, as from a zip file of the repository."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator

import pytest

from magcache.demo.run import with_node
from magcache.server.client import Client
from magcache.server.launch import NEWEST, Server, fetch_comfyui, serve

from ..e2e.workflows import PUBLISHED, small
from .archive import ROOT, unpack_archive

FOLDER = "ComfyUI-MagCache-main"
"""The name that a zip file of a repository gives."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    base = tmp_path_factory.mktemp("comfyui")
    unpack_archive(base / "custom_nodes" / FOLDER)
    elsewhere = base / "elsewhere"
    elsewhere.mkdir()
    # Found before an installed one.
    (elsewhere / "magcache.py").write_text("raise ImportError('Only the unpacked MagCache shall be used.')")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(elsewhere))
        assert subprocess.run([sys.executable, "-c", "import magcache"], cwd=base, capture_output=True).returncode
        with serve(fetch_comfyui(NEWEST), base, ["--cpu"]) as server:
            yield server


def fetch(server: Server, path: str) -> str:
    with urllib.request.urlopen(f"http://{server.address}{path}") as answer:
        return answer.read().decode()


def test_all_nodes_are_there(server: Server):
    found = {name for name, node in json.loads(fetch(server, "/object_info")).items() if node["python_module"] == f"custom_nodes.{FOLDER}"}
    assert found == json.loads((ROOT / "locales" / "en" / "nodeDefs.json").read_text(encoding="utf-8")).keys()


def test_their_texts_are_there(server: Server):
    assert json.loads(fetch(server, "/i18n"))["ja"]["nodeDefs"]["MagCacheAuto"]["display_name"]
    page = ROOT / "web" / "docs" / "MagCacheAuto" / "zh.md"
    assert fetch(server, f"/extensions/{FOLDER}/docs/MagCacheAuto/zh.md") == page.read_text(encoding="utf-8")


def test_they_work(server: Server):
    with Client(server.address) as client:
        (report,) = client.run(with_node(small(), "MagCacheCalibration", model_type="auto")).reports
        assert (report["kind"], report["nfe"]) == ("calibrating", 10)
        for node, inputs in (("MagCacheAuto", {"speedup": 2.0}), ("MagCache", PUBLISHED)):
            (report,) = client.run(with_node(small(), node, **inputs)).reports
            assert report["nfe"] < 10
