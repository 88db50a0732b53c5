"""Positions and sizes of the nodes of a workflow, in the pixels of the frontend's canvas."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from tools.workflows.catalogue import NOTE, Catalogue, Input, NodeKind
from tools.workflows.graph import Group, ModelFile, Node, Workflow, source

_TITLE, _ROW, _WIDGET, _EDGE = 30, 20, 28, 14
"""Heights of a node's title, a row of sockets, a widget and the edges, in the frontend's renderer with the larger nodes."""
_BETWEEN, _FRAME, _CAPTION = 30, 16, 40
"""Space between nodes, around the nodes of a group, and above them for the group's title."""
_LETTER, _NOTE_LETTER, _NOTE_LINE = 7.2, 5.2, 18
"""Mean width of a letter in a widget and in a note, and height of a line of a note."""
_ARROWS, _TEXT_SIZE = 60, (400, 120)
"""Width of a widget beside its letters, and size of a text field."""
_ROOM = {
    "SaveImage": (300, 360), "LoadImage": (300, 300), "MagCacheCompare": (640, 290), "MagCacheReport": (640, 540),
    "MagCache": (300, 80), "MagCacheAuto": (300, 80), "MagCacheCalibration": (300, 80),
}  # fmt: skip
"""Least width of a node, and height below its widgets for pictures and for MagCache's text about a run."""
_NO_ROOM = (300, 0)


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


def arrange(workflow: Workflow, catalogue: Catalogue) -> Layout:
    """Place the groups from left to right, or below the preceding group where they say so."""
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
    """The groups of each column, from top to bottom."""
    columns: list[list[Group]] = []
    for group in groups:
        if not group.below:
            columns.append([])
        columns[-1].append(group)
    return columns


def _width(node: Node, kind: NodeKind) -> int:
    """Width of a node that shows the name and the value of each of its widgets."""
    if any(each.multiline for each in kind.widgets):
        return _TEXT_SIZE[0]
    texts = (each.name + _shown(node, each) for each in kind.widgets)
    return max(_ROOM.get(node.kind, _NO_ROOM)[0], *(math.ceil(_LETTER * len(text)) + _ARROWS for text in texts), 0)


def _height(node: Node, kind: NodeKind, width: int) -> int:
    rows = max(len(kind.sockets), len(kind.outputs))
    widgets = len([each for each in kind.widgets if not each.multiline])
    height = _ROW * rows + _WIDGET * widgets + _EDGE + _ROOM.get(node.kind, _NO_ROOM)[1]
    if node.kind == NOTE:
        return height + _text_height(str(node.inputs["text"]), width)
    return height + _TEXT_SIZE[1] * (len(kind.widgets) - widgets)


def _text_height(markdown: str, width: int) -> int:
    """Estimated height of a note's text, rather too large: a note that is too small gets a scroll bar."""
    shown = re.sub(r"\]\([^)]*\)", "", markdown)
    letters = width / _NOTE_LETTER
    return sum(math.ceil(max(len(line), 1) / letters) * _NOTE_LINE for line in shown.splitlines())


def _shown(node: Node, widget: Input) -> str:
    """The text of a widget's value."""
    value = node.inputs.get(widget.name, widget.default)
    return "" if source(value) else value.name if isinstance(value, ModelFile) else str(value)
