"""The README's first command, and how its report looks."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator
from typer.testing import CliRunner

from magcache.cli.main import app
from magcache.demo import run, world

from .browser import browser_needed, open_browser

SCREENSHOTS = Path(__file__).parents[2] / "assets" / "screenshots"


@dataclass(frozen=True, slots=True)
class Demo:
    facts: dict[str, Any]
    folder: Path


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Demo:
    """A run of the demo with few steps and prompts; the whole one if its screenshots are renewed."""
    folder = tmp_path_factory.mktemp("demo") / "report"
    arguments = ["demo", "--out", str(folder), "--json"]
    with pytest.MonkeyPatch.context() as patch:
        if not pytestconfig.getoption("--screenshots"):
            patch.setattr(run, "PROMPTS", run.PROMPTS[:4])
            arguments += ["--steps", "12"]
        result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return Demo(json.loads(result.stdout), folder)


def test_the_demo_ends_with_a_report(demo: Demo):
    facts = demo.facts
    assert facts["prompts"] >= 4 and facts["pictures"] == 2 * facts["prompts"] and facts["nfe"] < facts["steps"]
    assert facts["magcache"]["psnr_mean"] > 20
    assert json.loads((demo.folder / "result.json").read_text()) == facts
    assert (demo.folder / "index.html").read_text().count("data:image/png") == facts["pictures"] * 5


def test_the_pictures_show_what_the_prompts_say(demo: Demo):
    """A fox is orange and lies on mint; an avocado is green and lies on night."""
    overview = np.asarray(Image.open(demo.folder / "overview.png"), float) / 255
    fox = overview[2:130, 2:130]
    for ground, corner in (("mint", fox[4:12, 4:12]), ("rose", overview[6:14, 138:146])):
        assert np.abs(corner.mean((0, 1)) - world.GROUNDS[ground]).max() < 0.12
    orange = (fox[..., 0] > 0.8) & (fox[..., 1] < 0.65) & (fox[..., 2] < 0.35)
    assert orange.mean() > 0.05


@pytest.fixture(scope="module", params=[1400, 400])
def page(request: pytest.FixtureRequest, demo: Demo, pytestconfig: pytest.Config) -> Iterator[Any]:
    """The report in a window of this width, in pixels."""
    with browser_needed(), open_browser("127.0.0.1") as context:
        opened = context.new_page()
        opened.set_viewport_size({"width": request.param, "height": 900})
        opened.goto((demo.folder / "index.html").as_uri())
        if pytestconfig.getoption("--screenshots"):
            seen = Image.open(io.BytesIO(opened.screenshot())).convert("RGB")
            seen.quantize().save(SCREENSHOTS / f"demo_{request.param}.png", optimize=True)
        yield opened


def test_nothing_is_cut_off_or_too_small(page: Any):
    width = page.viewport_size["width"]
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "the page has to be moved sideways"
    row: Locator = page.locator(".row").nth(1)
    boxes = [box for image in row.locator("img").all() if (box := image.bounding_box())]
    assert len(boxes) == 5 and all(box["width"] >= 100 for box in boxes)
    narrow = width < 640
    assert len({round(box["y"]) for box in boxes}) == (2 if narrow else 1)
    cached, difference = boxes[1], boxes[2]
    assert (difference["x"] == cached["x"]) is narrow, "a difference is beside its picture, or under it"
    sizes = page.locator("td, th, p, figcaption").evaluate_all("all => all.map(each => parseFloat(getComputedStyle(each).fontSize))")
    assert min(sizes) >= 11
