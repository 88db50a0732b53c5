"""What people see in ComfyUI's web page: nodes can be found, filled in and run, with help and in their language."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import expect

from magcache.server.launch import NEWEST, Server

from .dropped import DATA, report_and_compare
from .frontend import Frontend
from .processes import get_json, wait_until

ROOT = Path(__file__).parents[2]
EXAMPLES = {path.stem for path in (ROOT / "example_workflows").glob("*.json")}
TEXTS = ROOT / "magcache" / "comfyui" / "texts"
PACK = "MagCache"
HALVED, REUSED = "14 of 28 steps computed · 14 skipped", "11 of 28 steps computed · 17 skipped"
"""The reports of the demo's model at speed-ups of 2 and 2.5, once it is calibrated."""

pinned_page = pytest.mark.parametrize("server", [NEWEST], indirect=True, scope="session")
both_pages = pytest.mark.parametrize("server", [NEWEST, "newest page"], indirect=True, scope="session")
"""With the web page of the pinned ComfyUI, and with the newest one beside ComfyUI's own templates."""


@pinned_page
@pytest.mark.parametrize("words", ["magcache", "teacache", "faster sampling"])
def test_a_node_is_found_by_its_name_and_by_similar_nodes(frontend: Frontend, tmp_path: Path, words: str):
    offer = frontend.search(words).filter(has_text="MagCache Auto")
    expect(offer).to_have_count(1)
    frontend.screenshot(tmp_path / "search.png")
    frontend.add(offer)
    assert frontend.node("MagCacheAuto").values["speedup"] == 2


@both_pages
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


@both_pages
def test_the_templates_are_our_examples(frontend: Frontend, pictures: Path):
    cards = frontend.templates(PACK)
    expect(cards).to_have_count(len(EXAMPLES))
    assert {card.get_by_role("heading").inner_text() for card in cards.all()} == EXAMPLES
    expect(cards.first.get_by_role("img")).to_have_js_property("complete", True)
    frontend.screenshot(pictures / "templates.png")


@pinned_page
def test_the_bundled_example_runs(frontend: Frontend, pictures: Path, tmp_path: Path):
    """In a new ComfyUI its first run calibrates the model."""
    frontend.open_template(PACK, "MagCache demo, no download")
    expect(frontend.complaint).not_to_be_visible()
    frontend.run()
    run = frontend.run()
    assert len(set(run.progress)) > 3
    assert any(re.match(r"\d+ of 28 steps · \d+ skipped", status) for status in run.statuses)
    expect(frontend.status(HALVED)).to_be_visible()
    taken, meant = frontend.lines_of_status(HALVED)
    assert taken == meant, "words are broken"
    red, green, blue = np.moveaxis(np.asarray(frontend.picture("SaveImage"), dtype=int), 2, 0)
    orange, mint = (red > 200) & (green < 170) & (blue < 100), (green > red + 15) & (blue > 120)
    assert orange.mean() > 0.03 and mint.mean() > 0.2, "this is no fox on mint"
    frontend.screenshot(pictures / "run.png", "MagCacheAuto", "KSampler", "SaveImage")
    with frontend.nodes_2():
        expect(frontend.status(HALVED)).to_be_visible()
        frontend.screenshot(tmp_path / "nodes_2.png", "MagCacheAuto", "KSampler", "SaveImage")


@both_pages
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


@pinned_page
def test_help_is_beside_the_canvas(frontend: Frontend, tmp_path: Path):
    frontend.add(frontend.search("magcache").filter(has_text="MagCache Auto"))
    page = frontend.help("MagCacheAuto")
    expect(page.get_by_role("heading", level=1)).to_have_text("MagCache Auto")
    expect(page).to_contain_text("Makes sampling as many times faster as you ask for")
    frontend.screenshot(tmp_path / "help.png")


@pinned_page
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


@pinned_page
@pytest.mark.parametrize(("language", "seed"), [("en", 100), ("ja", 200), ("zh", 300)])
def test_the_status_is_in_the_users_language(frontend: Frontend, pictures: Path, tmp_path: Path, language: str, seed: int):
    english, skipped = "{done} of {count} steps computed", "{count} skipped"
    texts = {} if language == "en" else json.loads((TEXTS / f"{language}.json").read_text(encoding="utf-8"))
    with frontend.speaking(language) as speaker:
        speaker.drop(report_and_compare(tmp_path, seed, EmptySD3LatentImage={"widgets_values": [256, 256, 1]}))
        speaker.run()  # In a new ComfyUI this calibrates the model.
        speaker.run()
        expect(speaker.status(texts.get(english, english).format(done=11, count=28))).to_have_count(2)
        expect(speaker.status(texts.get(skipped, skipped).format(count=17))).to_have_count(2)
        speaker.screenshot(pictures / f"status_{language}.png", "MagCacheCompare", "MagCacheReport")


@both_pages
def test_the_server_learns_the_language_of_the_browser(frontend: Frontend, server: Server):
    """Of one whose user has not chosen any: ComfyUI itself keeps only a language that was chosen."""
    with frontend.open_elsewhere("zh-CN"):
        wait_until(lambda: get_json(server, "/settings").get("MagCache.Language") == "zh")
