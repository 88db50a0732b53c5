"""The kinds of nodes that a ComfyUI has: their inputs in the order of its frontend, and their outputs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_WIDGETS = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO", "COMFY_DYNAMICCOMBO_V3"}
NOTE = "MarkdownNote"
"""The only kind in our workflows that the frontend has and the server does not."""


@dataclass(frozen=True, slots=True)
class Input:
    """An input of a node: a socket, or a widget with a value."""

    name: str
    type: str
    widget: bool
    optional: bool = False
    default: Any = None
    slotted: bool = True
    """Whether an output can be connected to it."""
    sent: bool = True
    """Whether its value is sent to the server; some widgets are for the user only."""
    multiline: bool = False


@dataclass(frozen=True, slots=True)
class NodeKind:
    """A kind of node."""

    inputs: tuple[Input, ...]
    """Sockets before widgets, as the frontend numbers them."""
    outputs: tuple[tuple[str, str], ...]
    """Name and type of each."""

    @property
    def sockets(self) -> list[Input]:
        return [each for each in self.inputs if not each.widget]

    @property
    def widgets(self) -> list[Input]:
        return [each for each in self.inputs if each.widget]

    @property
    def slots(self) -> list[Input]:
        return [each for each in self.inputs if each.slotted]


Catalogue = dict[str, NodeKind]
"""Kinds of nodes by name."""


def read_catalogue(object_info: dict[str, Any]) -> Catalogue:
    """The kinds that a server lists at `/object_info`."""
    kinds = {name: _kind(node) for name, node in object_info.items()}
    return {**kinds, NOTE: NodeKind((Input("text", "STRING", widget=True, default="", slotted=False, multiline=True),), ())}


def _kind(node: dict[str, Any]) -> NodeKind:
    inputs = [
        each
        for part in ("required", "optional")
        for name in node["input_order"].get(part, ())
        for each in _inputs(name, node["input"][part][name], part == "optional")
    ]
    outputs = zip(node["output_name"], node["output"], strict=True)
    return NodeKind(tuple(sorted(inputs, key=lambda each: each.widget)), tuple(outputs))


def _inputs(name: str, declared: list[Any], optional: bool) -> Iterator[Input]:
    """The input, and the second widget that the frontend adds to some inputs."""
    options: dict[str, Any] = declared[1] if len(declared) > 1 else {}
    kind, choices = ("COMBO", declared[0]) if isinstance(declared[0], list) else (declared[0], options.get("options", ()))
    kind = options["template"]["allowed_types"] if kind == "COMFY_MATCHTYPE_V3" else kind
    names = [choice["key"] if isinstance(choice, dict) else choice for choice in choices]
    default = options.get("default", names[0] if names else None)
    widget = options.get("widgetType", kind) in _WIDGETS and not options.get("forceInput")
    yield Input(name, kind, widget, optional, default, multiline=bool(options.get("multiline")))
    if control := options.get("control_after_generate"):
        control = "randomize" if control is True else control
        yield Input("control_after_generate", "COMBO", widget=True, default=control, slotted=False, sent=False)
    if options.get("image_upload"):
        yield Input("upload", "IMAGEUPLOAD", widget=True, default="image", sent=False)
