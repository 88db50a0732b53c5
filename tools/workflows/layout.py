"""Positions and sizes of the nodes of a workflow, in the pixels of the frontend's canvas."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from tools.workflows.catalogue import NOTE, Catalogue, Input, NodeKind
from tools.workflows.graph import Group, ModelFile, Node, Workflow, source

SMALL_WINDOW, LARGE_WINDOW = (1280, 800), (1920, 1080)
READABLE = 8 / 14
"""The zoom below which the frontend draws no text on nodes: its letters of 14 pixels must be 8 pixels high."""
_FILLED, _AROUND = 0.75, 20
"""When the frontend opens a template, the nodes with so many pixels around them fill this part of the window."""
_TITLE, _ROW, _WIDGET, _EDGE = 30, 20, 28, 14
"""Heights of a node's title, a row of sockets, a widget and the edges, in the frontend's renderer with the larger nodes."""
_BETWEEN, _FRAME, _CAPTION = 20, 12, 34
"""Space between nodes and groups, around the nodes of a group, and above them for the group's title."""
_LETTER, _NOTE_LETTER, _NOTE_LINE = 7.2, 5.2, 18
"""Mean width of a letter in a widget and in a note, and height of a line of a note."""
_ARROWS = 60
"""Width of a widget beside its letters."""
_TEXT_LETTER, _TEXT_LINE, _TEXT_EDGES, _LEAST_TEXT = 7.0, 15, 34, 56
"""Width of a letter in a text field, height of a line, that of its label and edges in the same renderer, and its least height."""
_ROOM = {
    "SaveImage": (280, 300), "LoadImage": (280, 150), "MagCacheCompare": (480, 320), "MagCacheReport": (480, 385),
    "MagCache": (280, 70), "MagCacheAuto": (280, 64), "MagCacheCalibration": (280, 70),
    "MagCacheDemoText": (280, 24), "MagCacheDemoDecode": (280, 24), NOTE: (340, 0),
}  # fmt: skip
"""Least width of a node, and height below its widgets for pictures, for MagCache's text about a run, and for the name of the pack."""
_NO_ROOM = (260, 0)
_WIDEST = (420, 380, 340, 300, 280)
"""The most that a column may be wide for the sake of long names, wider ones first; what does not fit is cut off by the frontend."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle; `x` and `y` are its upper left corner."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Layout:
    """The boxes of a workflow."""

    nodes: dict[Node, Box]
    """Without the title, which is above the box."""
    groups: list[Box]

    def opens_at(self, window: tuple[int, int]) -> float:
        """The zoom at which the frontend shows it in a window of this width and height, so that all nodes are seen."""
        boxes = self.nodes.values()
        width = max(box.x + box.width for box in boxes) - min(box.x for box in boxes)
        height = max(box.y + box.height for box in boxes) - min(box.y for box in boxes) + _TITLE
        return opening_zoom(width, height, window)


def opening_zoom(width: float, height: float, window: tuple[int, int]) -> float:
    """The zoom at which the frontend opens a template whose nodes, with their titles, take `width` × `height`."""
    return _FILLED * min(window[0] / (width + _AROUND), window[1] / (height + _AROUND))


def arrange(workflow: Workflow, catalogue: Catalogue) -> Layout:
    """Place the groups in columns, in their order: as wide as is readable in a small window, and then as large as can be there."""
    layouts = [_largest(workflow.groups, catalogue, widest) for widest in _WIDEST]
    return next((layout for layout in layouts if layout.opens_at(SMALL_WINDOW) >= READABLE), layouts[-1])


def _largest(groups: Sequence[Group], catalogue: Catalogue, widest: int) -> Layout:
    """The layout that is shown largest in a small window."""
    layouts = (_placed(columns, catalogue, widest) for columns in _divisions(groups))
    return max(layouts, key=lambda layout: layout.opens_at(SMALL_WINDOW))


def _divisions(groups: Sequence[Group]) -> Iterator[list[list[Group]]]:
    """All ways to divide the groups into columns without changing their order."""
    for begins in product((False, True), repeat=len(groups) - 1):
        columns = [[groups[0]]]
        for begin, group in zip(begins, groups[1:], strict=True):
            if begin:
                columns.append([])
            columns[-1].append(group)
        yield columns


def _placed(columns: Sequence[Sequence[Group]], catalogue: Catalogue, widest: int) -> Layout:
    """The layout with these columns."""
    nodes: dict[Node, Box] = {}
    frames: list[Box] = []
    x = 0
    for column in columns:
        width = max(_width(node, catalogue[node.kind], widest) for group in column for node in group.nodes)
        y = 0
        for group in column:
            top = y
            y += _CAPTION
            for node in group.nodes:
                height = _height(node, catalogue[node.kind], width)
                nodes[node] = Box(x + _FRAME, y + _TITLE, width, height)
                y += _TITLE + height + _BETWEEN
            y += _FRAME - _BETWEEN
            frames.append(Box(x, top, width + 2 * _FRAME, y - top))
            y += _BETWEEN
        x += width + 2 * _FRAME + _BETWEEN
    return Layout(nodes, frames)


def _width(node: Node, kind: NodeKind, widest: int) -> int:
    """Width of a node that shows the name and the value of each of its widgets, as far as `widest` lets it."""
    texts = (each.name + _shown(node, each) for each in kind.widgets if not each.multiline)
    wanted = max((math.ceil(_LETTER * len(text)) + _ARROWS for text in texts), default=0)
    if any(each.multiline for each in kind.widgets):
        wanted = widest
    return max(_ROOM.get(node.kind, _NO_ROOM)[0], min(wanted, widest))


def _height(node: Node, kind: NodeKind, width: int) -> int:
    rows = max(len(kind.sockets), len(kind.outputs))
    widgets = [each for each in kind.widgets if not each.multiline]
    height = _ROW * rows + _WIDGET * len(widgets) + _EDGE + _ROOM.get(node.kind, _NO_ROOM)[1]
    if node.kind == NOTE:
        return height + _note_height(str(node.inputs["text"]), width)
    return height + sum(_text_height(_shown(node, each), width) for each in kind.widgets if each.multiline)


def _note_height(markdown: str, width: int) -> int:
    """Estimated height of a note's text, rather too large: a note that is too small gets a scroll bar."""
    shown = re.sub(r"\]\([^)]*\)", "", markdown)
    letters = width / _NOTE_LETTER
    return sum(math.ceil(max(_letters(line), 1) / letters) * _NOTE_LINE for line in shown.splitlines())


def _text_height(text: str, width: int) -> int:
    """Estimated height of a text field that shows all of its text."""
    lines = sum(math.ceil(max(_letters(line), 1) * _TEXT_LETTER / (width - 40)) for line in text.splitlines())
    return max(_LEAST_TEXT, _TEXT_LINE * lines + _TEXT_EDGES)


def _letters(text: str) -> int:
    """Width of a text in Latin letters; Japanese and Chinese ones are twice as wide."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def _shown(node: Node, widget: Input) -> str:
    """The text of a widget's value."""
    value = node.inputs.get(widget.name, widget.default)
    return "" if source(value) else value.name if isinstance(value, ModelFile) else str(value)
