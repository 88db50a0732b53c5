"""The nodes on ComfyUI's canvas as they are seen: their size, whether their texts fit, their pictures."""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image
from playwright.sync_api import Page

STATUS = ".dom-widget .break-all > span, [data-testid=node-widgets] .widget-markdown .comfy-markdown-content"
"""The texts that nodes show on themselves, in the classic design and in Nodes 2.0."""


def fill_canvas(page: Page, kinds: Sequence[str]) -> None:
    """Move and zoom so that these nodes fill the canvas."""
    page.evaluate(
        """kinds => {
            const boxes = app.graph.nodes.filter(node => kinds.includes(node.type)).map(node => node.boundingRect);
            const left = Math.min(...boxes.map(box => box[0])), top = Math.min(...boxes.map(box => box[1]));
            const right = Math.max(...boxes.map(box => box[0] + box[2])), bottom = Math.max(...boxes.map(box => box[1] + box[3]));
            app.canvas.ds.fitToBounds([left, top, right - left, bottom - top], {zoom: 0.75});
            app.canvas.setDirty(true, true);
            return new Promise(requestAnimationFrame);
        }""",
        kinds,
    )


class Layout:
    """Nodes on the canvas, named by their kind."""

    def __init__(self, page: Page) -> None:
        self._page = page

    @property
    def zoom(self) -> float:
        return self._page.evaluate("app.canvas.ds.scale")

    @property
    def is_readable(self) -> bool:
        """Whether the canvas is near enough for the page to draw text on nodes."""
        return not self._page.evaluate("app.canvas.low_quality")

    def add_new(self, *kinds: str) -> None:
        """Put new nodes on the canvas, in columns."""
        self._page.evaluate(
            """kinds => kinds.reduce(([x, y, last], kind) => {
                const node = LiteGraph.createNode(kind), [width, height] = node.size;
                node.pos = y + height > 750 ? [x + last + 60, 0] : [x, y];
                app.graph.add(node);
                return [node.pos[0], node.pos[1] + height + 80, width];
            }, [0, 0, 0])""",
            kinds,
        )

    def renew(self, *kinds: str) -> None:
        """Replace nodes by new ones of the same kinds, with the same links and values and a size of their own."""
        self._page.evaluate(
            """kinds => kinds.forEach(kind => {
                const old = app.graph.nodes.find(node => node.type === kind), fresh = LiteGraph.createNode(kind);
                const end = id => app.graph.links.get(id);
                fresh.pos = [...old.pos];
                app.graph.add(fresh);
                (old.widgets ?? []).forEach((widget, index) => { fresh.widgets[index].value = widget.value; });
                old.inputs.map(input => end(input.link)).forEach((link, index) =>
                    link && app.graph.getNodeById(link.origin_id).connect(link.origin_slot, fresh, index));
                old.outputs.forEach((output, index) => [...(output.links ?? [])].map(end).forEach(link =>
                    fresh.connect(index, app.graph.getNodeById(link.target_id), link.target_slot)));
                app.graph.remove(old);
            })""",
            kinds,
        )

    def scrolls(self, words: str) -> list[bool]:
        """For each of the texts with these words whether it has a scroll bar."""
        return (
            self._page.locator(STATUS)
            .filter(has_text=words)
            .evaluate_all(
                """texts => texts.map(text => {
                while (getComputedStyle(text).overflowY !== "auto") text = text.parentElement;
                return text.scrollHeight > text.clientHeight;
            })"""
            )
        )

    def size(self, kind: str) -> tuple[int, int]:
        """Width and height of a node in pixels of the canvas, without its title."""
        width, height = self._page.evaluate("kind => [...app.graph.nodes.find(node => node.type === kind).size]", kind)
        return round(width), round(height)

    def resize(self, kind: str, width: int, height: int) -> None:
        self._page.evaluate("([kind, ...size]) => app.graph.nodes.find(node => node.type === kind).setSize(size)", [kind, width, height])

    def look(self, kind: str) -> Image.Image:
        """What is seen of a node that fills the canvas; one pixel of the picture is one of the canvas."""
        fill_canvas(self._page, [kind])
        corners = self._page.evaluate(
            """kind => {
                const {pos: [x, y], size: [width, height]} = app.graph.nodes.find(node => node.type === kind);
                return [...app.canvasPosToClientPos([x, y]), ...app.canvasPosToClientPos([x + width, y + height])];
            }""",
            kind,
        )
        left, top, right, bottom = corners
        clip = {"x": left, "y": top, "width": right - left, "height": bottom - top}
        return Image.open(io.BytesIO(self._page.screenshot(clip=clip))).convert("RGB").resize(self.size(kind))
