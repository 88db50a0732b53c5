"""ComfyUI's web page in a real browser, as people see and use it. Only this file and layout.py know the elements of the page."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Locator, Page, TimeoutError, expect

from .browser import PATIENCE, open_browser, open_page
from .layout import STATUS, Layout, fill_canvas

_TRIES = 10
"""On a slow machine a double click may count as two clicks."""
_SCROLLED = 1500
"""Milliseconds until the page has more cards."""
_FREE, _PLACE, _CORNER = (120, 560), (425, 250), (1270, 790)
"""Places on the canvas: free when the search is open, for a new node, and where nothing reacts to the pointer."""


@contextmanager
def open_frontend(address: str) -> Iterator[Frontend]:
    """The web page of the server at `address`, ready to use. Raises `NoBrowserError`."""
    with open_browser(address) as context, open_page(context) as page:
        yield Frontend(page)


@dataclass(frozen=True)
class CanvasNode:
    """A node on the canvas."""

    title: str
    values: dict[str, Any]
    """Name of a widget -> its value."""
    labels: list[str]
    """The labels of its sockets and widgets."""


@dataclass(frozen=True)
class ShownRun:
    """What the page showed while a workflow ran."""

    progress: list[int]
    """The progress of the running node in %, each value once."""
    statuses: list[str]
    """The texts that nodes showed on themselves, in order."""


class Frontend:
    """ComfyUI in a browser. Nodes are named by their kind; there is one of each that a test asks for."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self.layout = Layout(page)
        self.complaints: list[str] = []
        """What the page has written to the browser's console as an error or a warning, and errors that nobody caught."""
        page.on("console", lambda message: self.complaints.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def start_over(self) -> None:
        """An empty canvas, and nothing in front of it."""
        self._page.keyboard.press("Escape")
        expect(self._page.get_by_role("dialog")).to_have_count(0)
        self._set("Comfy.RightSidePanel.IsOpen", False)
        self._page.evaluate("app.extensionManager.command.execute('Comfy.NewBlankWorkflow')")
        self._page.wait_for_function("app.graph.nodes.length === 0")
        self._page.evaluate(
            """() => {
                const {openWorkflows, activeWorkflow, closeWorkflow} = app.extensionManager.workflow;
                return Promise.all(openWorkflows.filter(each => each !== activeWorkflow).map(closeWorkflow));
            }"""
        )

    # ------------------------------------------------------------------ putting nodes on the canvas

    def search(self, words: str) -> Locator:
        """Double-click on the canvas and type; returns the nodes that are offered."""
        box = self._page.get_by_role("combobox")
        for _ in range(_TRIES):
            if box.is_visible():
                break
            self._page.mouse.dblclick(*_FREE)
            with suppress(TimeoutError):
                box.wait_for(timeout=PATIENCE / _TRIES)
        box.fill(words)
        return self._page.get_by_test_id("result-item")

    def add(self, offer: Locator) -> None:
        """Choose an offer of the search and click to place the node."""
        offer.click()
        expect(self._page.get_by_role("combobox")).to_have_count(0)
        self._page.mouse.click(*_PLACE)
        self._page.wait_for_function("app.graph.nodes.length && app.canvas.state.ghostNodeId == null")

    def drop(self, workflow: Path) -> None:
        """Drag a workflow file onto the canvas."""
        dragged = self._page.evaluate_handle(
            """([name, text]) => {
                const dragged = new DataTransfer();
                dragged.items.add(new File([text], name, {type: "application/json"}));
                return dragged;
            }""",
            [workflow.name, workflow.read_text(encoding="utf-8")],
        )
        self._page.dispatch_event("#graph-canvas", "drop", {"dataTransfer": dragged})
        self._until_open(workflow.stem)

    def templates(self, pack: str) -> Locator:
        """Browse the templates of a node pack; a card for each. The page adds cards when it is scrolled to the last one."""
        self._page.locator(".templates-tab-button").click()
        self._page.get_by_role("dialog").get_by_role("button", name=pack, exact=True).click()
        cards, shown = self._page.locator("[data-testid^=template-workflow-]:not([data-testid$=content])"), 0
        cards.first.wait_for()
        while shown < (shown := cards.count()):
            cards.last.evaluate("card => { for (let each = card; each; each = each.parentElement) each.scrollTop = each.scrollHeight; }")
            self._page.wait_for_timeout(_SCROLLED)
        cards.first.scroll_into_view_if_needed()
        return cards

    def open_template(self, pack: str, title: str) -> None:
        self.templates(pack).filter(has=self._page.get_by_role("heading", name=title, exact=True)).click()
        self._until_open(title)

    # ------------------------------------------------------------------ running

    def run(self) -> ShownRun:
        """Press Run, and wait until the workflow has ended."""
        self._page.evaluate(
            """status => {
                const shown = window.shown = {progress: [], statuses: [], ended: false};
                const note = (list, seen) => { if (seen && list.at(-1) !== seen) list.push(seen); };
                const watcher = new MutationObserver(() => {
                    note(shown.progress, Number(document.title.match(/\\[(\\d+)%\\] /)?.[1]));
                    document.querySelectorAll(status).forEach(text => note(shown.statuses, text.innerText));
                });
                watcher.observe(document, {subtree: true, childList: true, characterData: true});
                const end = () => setTimeout(() => { watcher.disconnect(); shown.ended = true; });
                app.api.addEventListener("execution_success", end, {once: true});
                app.api.addEventListener("execution_error", end, {once: true});
            }""",
            STATUS,
        )
        self._page.get_by_test_id("queue-button").click()
        self._page.wait_for_function("shown.ended")
        expect(self._page.get_by_test_id("queue-overlay-toggle")).to_contain_text(re.compile(r"\b0\b"))  # "0 active".
        shown = self._page.evaluate("shown")
        return ShownRun(shown["progress"], shown["statuses"])

    def picture(self, kind: str) -> Image.Image:
        """The picture that a node shows."""
        address = self._page.wait_for_function(
            """kind => {
                const [picture] = app.graph.nodes.find(node => node.type === kind).imgs ?? [];
                return picture?.complete && picture.naturalWidth && picture.src;
            }""",
            arg=kind,
        )
        return Image.open(io.BytesIO(self._page.request.get(address.json_value()).body())).convert("RGB")

    # ------------------------------------------------------------------ looking at it

    def status(self, words: str) -> Locator:
        """The texts with these words that nodes show on themselves."""
        return self._page.locator(STATUS).filter(has_text=words)

    def lines_of_status(self, words: str) -> tuple[int, int]:
        """How many lines that text takes on its node, and how many lines it consists of."""
        return self.status(words).first.evaluate(
            """text => {
                const all = document.createRange();
                all.selectNodeContents(text);
                const tops = [...all.getClientRects()].map(line => Math.round(line.top));
                return [new Set(tops).size, text.innerText.split("\\n").length];
            }"""
        )

    @property
    def complaint(self) -> Locator:
        """The page's message about what is missing or went wrong."""
        return self._page.get_by_test_id("error-overlay")

    def node(self, kind: str) -> CanvasNode:
        (found,) = self._page.evaluate(
            """kind => app.graph.nodes.filter(node => node.type === kind).map(node => {
                const widgets = (node.widgets ?? []).filter(widget => widget.serialize !== false);
                const sockets = [...node.inputs.filter(input => !input.widget), ...node.outputs];
                return {
                    title: node.getTitle(),
                    values: Object.fromEntries(widgets.map(widget => [widget.name, widget.value])),
                    labels: [...sockets, ...widgets].map(each => each.label ?? each.localized_name ?? each.name),
                };
            })""",
            kind,
        )
        return CanvasNode(**found)

    def help(self, kind: str) -> Locator:
        """Select a node and open its help page beside the canvas."""
        x, y = self._page.evaluate(
            """kind => {
                const node = app.graph.nodes.find(node => node.type === kind);
                return app.canvasPosToClientPos([node.pos[0] + 60, node.pos[1] - 15]);
            }""",
            kind,
        )
        self._page.mouse.click(x, y)
        self._page.get_by_test_id("info-button").click()
        return self._page.locator(".node-help-content")

    def screenshot(self, target: Path, *kinds: str) -> None:
        """The page with these nodes filling the canvas, or as it is."""
        if kinds:
            fill_canvas(self._page, kinds)
        self._page.mouse.move(*_CORNER)
        Image.open(io.BytesIO(self._page.screenshot())).convert("RGB").quantize().save(target, optimize=True)  # A third of the size.

    # ------------------------------------------------------------------ settings

    @contextmanager
    def speaking(self, language: str) -> Iterator[Frontend]:
        """The page in another language."""
        with open_page(self._page.context, language) as page:
            other = Frontend(page)
            other.start_over()
            try:
                yield other
            finally:
                self._page.context.request.post("/api/settings", data={"Comfy.Locale": "en"})  # The server says statuses in it.

    @contextmanager
    def open_elsewhere(self, locale: str) -> Iterator[None]:
        """Within: the page is open in a browser of this locale too, of a user who has chosen no language."""
        browser = self._page.context.browser
        assert browser is not None
        try:
            with browser.new_context(base_url=self._page.url, locale=locale) as context, open_page(context, None):
                yield
        finally:
            self._page.context.request.post("/api/settings", data={"Comfy.Locale": "en"})

    @contextmanager
    def nodes_2(self) -> Iterator[None]:
        """Show nodes in the design called Nodes 2.0."""
        self._set("Comfy.VueNodes.Enabled", True)
        try:
            yield
        finally:
            self._set("Comfy.VueNodes.Enabled", False)

    def _set(self, setting: str, value: Any) -> None:
        self._page.evaluate("([setting, value]) => app.extensionManager.setting.set(setting, value)", [setting, value])

    def _until_open(self, title: str) -> None:
        self._page.wait_for_function(
            "title => app.extensionManager.workflow.activeWorkflow?.filename === title && app.graph.nodes.length", arg=title
        )
