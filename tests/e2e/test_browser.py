"""What people see in ComfyUI's web page: nodes can be found, filled in and run, with help and in their language."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import expect

from magcache.server.launch import NEWEST, Server

from .browser import NoBrowserError
from .frontend import Frontend, open_frontend

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"
SCREENSHOTS = ROOT / "assets" / "screenshots"
EXAMPLES = {path.stem for path in (ROOT / "example_workflows").glob("*.json")}
PACK = "MagCache"
REUSED = "28 evaluations · 17 reused"
"""The report of the demo's model at a speed-up of 2.5, once it is calibrated."""

pytestmark = pytest.mark.parametrize("server", [NEWEST], indirect=True, scope="session")


@pytest.fixture(scope="module")
def opened(server: Server) -> Iterator[Frontend]:
    try:
        with open_frontend(server.address) as frontend:
            yield frontend
    except NoBrowserError as error:
        pytest.fail(str(error)) if os.environ.get("CI") == "true" else pytest.skip(str(error))


@pytest.fixture
def frontend(opened: Frontend) -> Frontend:
    opened.start_over()
    return opened


@pytest.fixture
def pictures(tmp_path: Path, pytestconfig: pytest.Config) -> Path:
    """Where screenshots go: the docs' folder if pytest is called with --screenshots."""
    return SCREENSHOTS if pytestconfig.getoption("--screenshots") else tmp_path


@pytest.mark.parametrize("words", ["magcache", "teacache", "faster sampling"])
def test_a_node_is_found_by_its_name_and_by_similar_nodes(frontend: Frontend, tmp_path: Path, words: str):
    offer = frontend.search(words).filter(has_text="MagCache Auto")
    expect(offer).to_have_count(1)
    frontend.screenshot(tmp_path / "search.png")
    frontend.add(offer)
    assert frontend.node("MagCacheAuto").values["speedup"] == 2


@pytest.mark.parametrize(
    ("workflow", "values", "model"),
    [
        ("published_four_values", ["flux", 0.24, 0.1, 5, 0, -1, "auto"], "flux1-dev.safetensors"),
        ("published_six_values", ["hunyuan_video1.5", 0.03, 0.25, 1, 0, -2, "auto"], "hunyuanvideo1.5_720p_t2v_fp16.safetensors"),
    ],
)
def test_a_published_workflow_keeps_its_values(frontend: Frontend, workflow: str, values: list[Any], model: str):
    frontend.drop(DATA / f"{workflow}.json")
    names = ["model_type", "magcache_thresh", "retention_ratio", "magcache_K", "start_step", "end_step", "cache_device"]
    assert frontend.node("MagCache").values == dict(zip(names, values, strict=True))
    assert frontend.node("CompileModel").values == {"mode": "max-autotune", "backend": "inductor", "fullgraph": False, "dynamic": True}
    expect(frontend.complaint).to_contain_text(f"{model} is missing")  # And nothing else: two would only be counted.


def test_the_templates_are_our_examples(frontend: Frontend, pictures: Path):
    cards = frontend.templates(PACK)
    expect(cards).to_have_count(len(EXAMPLES))
    assert {card.get_by_role("heading").inner_text() for card in cards.all()} == EXAMPLES
    expect(cards.first.get_by_role("img")).to_have_js_property("complete", True)
    frontend.screenshot(pictures / "templates.png")


def test_the_bundled_example_runs(frontend: Frontend, pictures: Path, tmp_path: Path):
    """In a new ComfyUI its first run calibrates the model."""
    frontend.open_template(PACK, "Bundled tiny model")
    expect(frontend.complaint).not_to_be_visible()
    frontend.run()
    run = frontend.run()
    assert len(set(run.progress)) > 3
    assert any(re.match(r"\d+ of 28 steps · \d+ skipped", status) for status in run.statuses)
    expect(frontend.status(REUSED)).to_be_visible()
    taken, meant = frontend.lines_of_status(REUSED)
    assert taken == meant, "words are broken"
    picture = np.asarray(frontend.picture("SaveImage"), dtype=int)
    circle, snow = picture[128, 128], picture[4, 4]
    assert circle[2] > 2 * circle[0] and min(snow) > 128, "this is no blue circle on snow"
    frontend.screenshot(pictures / "run.png", "MagCacheAuto", "KSampler", "SaveImage")
    with frontend.nodes_2():
        expect(frontend.status(REUSED)).to_be_visible()
        frontend.screenshot(tmp_path / "nodes_2.png", "MagCacheAuto", "KSampler", "SaveImage")


def test_report_and_compare_show_figures(frontend: Frontend, pictures: Path):
    frontend.drop(DATA / "report_and_compare.json")
    frontend.run()  # In a new ComfyUI this calibrates the model.
    frontend.run()
    expect(frontend.status(REUSED)).to_have_count(2)  # On MagCache Auto and on the report.
    expect(frontend.status("PSNR")).to_contain_text("SSIM")
    assert frontend.picture("MagCacheReport").width > 500
    panels = np.array_split(np.asarray(frontend.picture("MagCacheCompare")), 3, axis=1)
    reference, cached, difference = (panel[60:-20, 20:-20].mean() for panel in panels)  # Without captions and edges.
    assert abs(reference - cached) < 5 and difference < 30 < reference
    frontend.screenshot(pictures / "report_and_compare.png", "MagCacheCompare", "MagCacheReport")


def test_help_is_beside_the_canvas(frontend: Frontend, tmp_path: Path):
    frontend.add(frontend.search("magcache").filter(has_text="MagCache Auto"))
    page = frontend.help("MagCacheAuto")
    expect(page.get_by_role("heading", level=1)).to_have_text("MagCache Auto")
    expect(page).to_contain_text("Makes sampling as many times faster as you ask for")
    frontend.screenshot(tmp_path / "help.png")


def test_nodes_and_help_speak_japanese(frontend: Frontend, pictures: Path):
    texts = json.loads((ROOT / "locales" / "ja" / "nodeDefs.json").read_text(encoding="utf-8"))["MagCacheAuto"]
    labels = [each["name"] for each in (*texts["inputs"].values(), *texts["outputs"].values())]
    with frontend.speaking("ja") as japanese:
        japanese.add(japanese.search("magcache").filter(has_text=texts["display_name"]))
        node = japanese.node("MagCacheAuto")
        assert node.title == texts["display_name"]
        assert sorted(node.labels) == sorted(labels)
        expect(japanese.help("MagCacheAuto").get_by_role("heading", level=1)).to_have_text(texts["display_name"])
        japanese.screenshot(pictures / "japanese.png")
