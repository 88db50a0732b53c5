"""A real browser that shows ComfyUI's web page."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, Playwright, expect, sync_playwright

PATIENCE = 180_000
"""Milliseconds to wait for anything on the page; a slow machine may need them."""
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_SETTINGS = {
    "Comfy.Graph.CanvasInfo": False,  # It shows frames per second, so that no two screenshots are equal.
    "Comfy.Minimap.Visible": False,
    "Comfy.Notification.ShowVersionUpdates": False,
    "Comfy.Pointer.DoubleClickTime": 1000,
    "Comfy.RightSidePanel.IsOpen": False,
    "Comfy.TutorialCompleted": True,
    "Comfy.VueNodes.Enabled": False,
    "Comfy.Workflow.Persist": False,
    "Comfy.Workflow.WorkflowTabsPosition": "Sidebar",
}


class NoBrowserError(Exception):
    """There is no Chromium on this machine."""


_READY = """() => window.app?.vueAppReady && app.extensionManager?.command
    && (app.graph.nodes.length || window.__COMFYUI_FRONTEND_VERSION__ < "1.40")"""
"""The default workflow comes last; the oldest page opens none."""


@contextmanager
def browser_needed() -> Iterator[None]:
    """Within: without a browser a test is skipped, or fails where CI=true."""
    try:
        yield
    except NoBrowserError as error:
        pytest.fail(str(error)) if os.environ.get("CI") == "true" else pytest.skip(str(error))


@contextmanager
def open_browser(address: str) -> Iterator[BrowserContext]:
    """A browser whose pages are those of the server at `address`. Raises `NoBrowserError`."""
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(
            executable_path=_chromium(playwright),
            args=["--disable-gpu", "--no-sandbox"],  # A container has neither a GPU nor a sandbox; the only page is our own.
        ) as browser,
    ):
        context = browser.new_context(base_url=f"http://{address}", viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
        context.set_default_timeout(PATIENCE)
        expect.set_options(timeout=PATIENCE)
        yield context


@contextmanager
def open_page(context: BrowserContext, language: str | None = "en") -> Iterator[Page]:
    """The web page, ready to use; in the browser's language if none is chosen."""
    context.request.post("/api/settings", data={**_SETTINGS, "Comfy.Locale": language})
    page = context.new_page()
    page.goto("/")
    page.wait_for_function(_READY)
    try:
        yield page
    finally:
        page.close()


def _chromium(playwright: Playwright) -> str:
    """The Chromium that Playwright has fetched, else one that is installed on this machine."""
    own = playwright.chromium.executable_path
    found = own if Path(own).exists() else next(filter(None, map(shutil.which, _BROWSERS)), None)
    if found is None:
        raise NoBrowserError(
            "The tests in a browser need Chromium. Run `playwright install --with-deps chromium`, or install Chromium or Chrome."
        )
    return found
