"""`magcache framepack`: what people see and do on its page, with the small random model."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, expect

from .browser import browser_needed, open_browser
from .framepack_page import SMALL, FramePackPage, FramePackServer, framepack_server, visitor
from .processes import ROOT, start, wait_until

SCREENSHOTS = ROOT / "assets" / "screenshots"


@pytest.fixture(scope="module")
def page_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FramePackServer]:
    with framepack_server(tmp_path_factory.mktemp("framepack")) as server:
        yield server
        status, said = server.stop()
        assert status == 0 and "Traceback" not in said, said
        assert list(server.scratch.glob("magcache*")) == [], "temporary files are left"


@pytest.fixture(scope="module")
def browser(page_server: FramePackServer) -> Iterator[BrowserContext]:
    with browser_needed(), open_browser(page_server.address) as context:
        yield context


@pytest.fixture
def page(browser: BrowserContext, page_server: FramePackServer) -> Iterator[FramePackPage]:
    with visitor(browser, page_server.address) as page:
        yield page
        assert page.hosts - {""} == {page_server.address}, "the page asks another machine for something"
        assert page.problems == []


@pytest.fixture
def pictures(tmp_path: Path, pytestconfig: pytest.Config) -> Path:
    """Where screenshots go: the docs' folder if pytest is called with --screenshots."""
    return SCREENSHOTS if pytestconfig.getoption("--screenshots") else tmp_path


@pytest.fixture
def large(pytestconfig: pytest.Config) -> bool:
    """Whether videos are as large as users would see them, for screenshots."""
    return bool(pytestconfig.getoption("--screenshots"))


def test_the_page_says_what_it_is_and_fits_any_screen(page: FramePackPage, pictures: Path):
    expect(page.page.locator(".trial")).to_contain_text("random weights")
    expect(page.page.locator("#make")).to_be_in_viewport(ratio=1)
    expect(page.cancel).to_be_disabled()
    page.screenshot(pictures / "framepack_start.png")
    for width in (1280, 820, 400):
        page.page.set_viewport_size({"width": width, "height": 900})
        assert page.page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_video_is_made(page: FramePackPage):
    page.make(size=SMALL, prompt="made", seconds=6, steps=30, seed=11)
    expect(page.status).to_contain_text(re.compile(r"Section \d of 5 · step \d+ of 30"))
    expect(page.cancel).to_be_enabled()
    expect(page.status).to_contain_text("The end is made first")
    expect(page.video("video")).to_be_visible()  # It grows.
    expect(page.summary).to_contain_text("Seed 11 · 6.0 s, 64 × 64 · 30 steps")
    expect(page.summary).to_contain_text("evaluations skipped")
    assert page.plays("video")
    expect(page.cancel).to_be_disabled()
    page.unfold("report")
    expect(page.page.locator("#report pre")).to_contain_text("reused")
    expect(page.page.locator("#report img")).to_have_js_property("complete", True)


def test_with_and_without_stand_side_by_side(page: FramePackPage, pictures: Path, large: bool):
    prompt = "The sun rises over the hills, and clouds drift by"
    page.make_and_wait(size=SMALL, prompt="measured", seed=20)  # The first video of a model measures it.
    page.make(size=192 if large else 96, compare=True, prompt=prompt, seed=21)
    expect(page.status).to_contain_text("Without MagCache · Section 2")
    expect(page.video("plain")).to_be_visible()
    page.screenshot(pictures / "framepack_progress.png")
    expect(page.summary).to_contain_text("PSNR")
    assert page.plays("video") and page.plays("plain")
    page.page.get_by_role("button", name="Play both from the beginning").click()
    for name in ("video", "plain"):
        expect(page.video(name)).to_have_js_property("paused", False)
    one, other = page.video("video").bounding_box(), page.video("plain").bounding_box()
    assert one and other and one["y"] == other["y"] and one["x"] + one["width"] <= other["x"]
    page.screenshot(pictures / "framepack_compare.png")
    page.unfold("difference")
    expect(page.page.locator("#difference img")).to_be_visible()
    page.page.locator("#report").scroll_into_view_if_needed()
    page.unfold("report")
    expect(page.page.locator("#figure img")).to_have_js_property("complete", True)
    page.page.screenshot(path=pictures / "framepack_report.png", clip=page.page.locator("#report").bounding_box(), full_page=True)  # type: ignore[arg-type]


def test_the_speed_up_is_what_was_asked_for(page: FramePackPage):
    page.make_and_wait(size=SMALL, speedup="Off", prompt="off", seed=31)
    expect(page.summary).to_contain_text("MagCache was off")
    expect(page.page.locator("#report")).not_to_be_visible()
    skipped = []
    for seed, speedup in ((32, "1.5×"), (33, "3×")):
        page.make_and_wait(speedup=speedup, seed=seed)
        skipped.append(int(page.summary.locator(".tile b").nth(1).inner_text().split()[0]))
    assert 0 < skipped[0] < skipped[1], skipped


def test_cancelling_leaves_a_clean_state(page: FramePackPage):
    page.make(size=SMALL, steps=60, seconds=12, prompt="too long", seed=41)
    expect(page.status).to_contain_text("Section 1 of 10")
    wait_until(lambda: page.percent > 1)
    page.cancel.click()
    expect(page.status).to_contain_text("Cancelled")
    expect(page.job("too long")).to_contain_text("cancelled")
    page.make_and_wait(steps=12, seconds=2.4, prompt="after it", seed=42)
    assert page.plays("video")
    expect(page.card("too long")).to_have_count(0)
    expect(page.card("after it")).to_have_count(1)


def test_a_second_visitor_waits_and_then_gets_the_video(page: FramePackPage, browser: BrowserContext, page_server: FramePackServer):
    page.make(size=SMALL, steps=60, seconds=30, prompt="the first", seed=51)
    expect(page.status).to_contain_text("Section")
    with visitor(browser, page_server.address) as other:
        expect(other.status).to_contain_text("Section")  # It sees what is going on,
        for seed, prompt in ((52, "the second"), (53, "the third")):
            other.make(size=SMALL, steps=12, prompt=prompt, seed=seed)
            expect(other.job(prompt)).to_be_visible()
        expect(other.status).to_contain_text("Position 2")  # and after that its own.
        other.job("the third").get_by_role("button", name="Remove").click()
        expect(other.job("the third")).to_contain_text("cancelled")
        expect(page.job("the second")).to_contain_text("position 1")
        other.job("the second").locator(".show").click()
        other.reload()
        expect(other.job("the second")).to_contain_text("position 1")  # The queue is the server's.
        page.cancel.click()
        expect(other.summary).to_contain_text("Seed 52 ")
        expect(page.status).to_contain_text("Cancelled")  # Everybody keeps seeing their own.
    expect(page.card("the third")).to_have_count(0)


def test_finished_videos_and_their_settings_come_back(page: FramePackPage, page_server: FramePackServer):
    page.make_and_wait(size=80, steps=13, seconds=1.2, speedup="2.5×", guidance_scale=7, prompt="kept “as it is” <b>", seed=61)
    page.make_and_wait(size=SMALL, steps=12, seconds=2.4, speedup="2×", guidance_scale=10, prompt="another", seed=62)
    page.reload()
    page.card("kept").click()
    expect(page.summary).to_contain_text("Seed 61 ")
    page.page.get_by_role("button", name="Use these settings again").click()
    expect(page.prompt).to_have_value("kept “as it is” <b>")
    expect(page.page.locator("#speedup input:checked")).to_have_value("2.5")
    page.unfold("more")
    for name, value in (("seed", "61"), ("seconds", "1.2"), ("steps", "13"), ("guidance_scale", "7"), ("size", "80")):
        expect(page.number(name)).to_have_value(value)
    expect(page.page.locator("#fresh input")).not_to_be_checked()
    expect(page.page.locator("#picture img")).to_be_visible()
    [beside] = page_server.videos.glob("*-61/*.json")
    assert json.loads(beside.read_text(encoding="utf-8"))["settings"]["guidance_scale"] == 7
    assert beside.with_suffix(".mp4").stat().st_size > 1000


def test_without_a_picture_it_says_so(page: FramePackPage):
    page.page.locator("#picture").get_by_role("button", name="Remove Image").click()
    page.make()
    expect(page.complaint).to_contain_text("There is no picture to begin with")


def test_a_missing_weights_path_is_an_error_before_anything_starts():
    process = start("framepack", "--weights", "/no/such/weights")
    said, errors = process.communicate(timeout=60)
    assert process.returncode == 2 and said == ""
    assert "/no/such/weights does not exist" in " ".join(errors.split()) and "Traceback" not in errors
