"""Where the nodes of a workflow stand and how large they are."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from tools.workflows.catalogue import NOTE, Catalogue, Input, Kind
from tools.workflows.graph import Group, ModelFile, Node, Workflow, source

_TITLE, _ROW, _WIDGET, _EDGE = 30, 20, 28, 14
"""Heights of a node's title, of a row of sockets, of a widget and of the edges, as the frontend's larger renderer has them."""
_BETWEEN, _FRAME, _CAPTION = 30, 16, 40
"""Space between nodes, around the nodes of a group, and for a group's title."""
_LETTER, _NOTE_LETTER, _NOTE_LINE = 7.2, 5.2, 18
"""Width of a letter in a widget and in a note, and height of a note's line."""
_ARROWS, _TEXT_SIZE = 60, (400, 120)
"""What a widget takes besides its letters, and size of a field for text."""
_ROOM = {
    "SaveImage": (300, 360), "LoadImage": (300, 300), "MagCacheCompare": (640, 290), "MagCacheReport": (640, 540),
    "MagCache": (300, 80), "MagCacheAuto": (300, 80), "MagCacheCalibration": (300, 80),
}  # fmt: skip
"""Width at least, and room below the widgets, for pictures and for what MagCache says of a run."""
_NO_ROOM = (300, 0)


@dataclass(frozen=True, slots=True)
class Box:
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Layout:
    nodes: dict[Node, Box]
    """A node's title is above its box."""
    groups: list[Box]


def arrange(workflow: Workflow, catalogue: Catalogue) -> Layout:
    """Groups from left to right, unless one asks to stand below the one before it."""
    nodes: dict[Node, Box] = {}
    frames: list[Box] = []
    x = 0
    for column in _columns(workflow.groups):
        width = max(_width(node, catalogue[node.kind]) for group in column for node in group.nodes)
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
        x += width + 2 * _FRAME + 2 * _BETWEEN
    return Layout(nodes, frames)


def _columns(groups: Sequence[Group]) -> list[list[Group]]:
    columns: list[list[Group]] = []
    for group in groups:
        if not group.below:
            columns.append([])
        columns[-1].append(group)
    return columns


def _width(node: Node, kind: Kind) -> int:
    """Wide enough for every widget's name and value."""
    if any(each.multiline for each in kind.widgets):
        return _TEXT_SIZE[0]
    texts = (each.name + _shown(node, each) for each in kind.widgets)
    return max(_ROOM.get(node.kind, _NO_ROOM)[0], *(math.ceil(_LETTER * len(text)) + _ARROWS for text in texts), 0)


def _height(node: Node, kind: Kind, width: int) -> int:
    rows = max(len(kind.sockets), len(kind.outputs))
    widgets = len([each for each in kind.widgets if not each.multiline])
    height = _ROW * rows + _WIDGET * widgets + _EDGE + _ROOM.get(node.kind, _NO_ROOM)[1]
    if node.kind == NOTE:
        return height + _text_height(str(node.inputs["text"]), width)
    return height + _TEXT_SIZE[1] * (len(kind.widgets) - widgets)


def _text_height(markdown: str, width: int) -> int:
    """A guess, on the generous side; a note that is too long gets a scroll bar."""
    shown = re.sub(r"\]\([^)]*\)", "", markdown)
    letters = width / _NOTE_LETTER
    return sum(math.ceil(max(len(line), 1) / letters) * _NOTE_LINE for line in shown.splitlines())


def _shown(node: Node, widget: Input) -> str:
    value = node.inputs.get(widget.name, widget.default)
    return "" if source(value) else value.name if isinstance(value, ModelFile) else str(value)
