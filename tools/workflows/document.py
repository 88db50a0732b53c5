"""A workflow in the file format of ComfyUI's frontend."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, cast

from tools.workflows.catalogue import Catalogue, Input, NodeKind
from tools.workflows.graph import Group, ModelFile, Node, Output, Value, Workflow, source
from tools.workflows.layout import Box, arrange

_COLOUR, _OUR_COLOUR = "#3f789e", "#7a5cc4"
"""Of groups. Ours is a violet, as links of models are; red and orange are the frontend's for errors and missing files."""
_OPTIONAL_SHAPE = 7
"""Number of the shape in which the frontend draws optional sockets."""


class DescriptionError(Exception):
    """A workflow uses a node, input or output that this ComfyUI does not have."""


def document(workflow: Workflow, catalogue: Catalogue) -> dict[str, Any]:
    """The workflow in the frontend's format. Raises `DescriptionError`."""
    for node in workflow.nodes:
        _check(node, catalogue)
    numbers = {node: number for number, node in enumerate(workflow.nodes, start=1)}
    links = _links(workflow.nodes, numbers, catalogue)
    layout = arrange(workflow, catalogue)
    return {
        "last_node_id": len(numbers),
        "last_link_id": len(links),
        "nodes": [_node(node, numbers[node], catalogue[node.kind], layout.nodes[node], links) for node in workflow.nodes],
        "links": links,
        "groups": [_group(number, group, layout.groups[number - 1]) for number, group in enumerate(workflow.groups, start=1)],
        "config": {},
        "extra": {},
        "version": 0.4,
    }


def written(document: dict[str, Any]) -> str:
    """The document as JSON, with one line for each node, link and group."""
    entries: list[str] = []
    for key, value in document.items():
        text = json.dumps(value, ensure_ascii=False)
        if isinstance(value, list):
            lines = [f"  {json.dumps(each, ensure_ascii=False)}" for each in cast("list[Any]", value)]
            text = "[\n" + ",\n".join(lines) + "\n ]"
        entries.append(f" {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(entries) + "\n}\n"


def _check(node: Node, catalogue: Catalogue) -> None:
    """Raise `DescriptionError` if this ComfyUI lacks the node or one of its inputs."""
    if node.kind not in catalogue:
        raise DescriptionError(f"This ComfyUI has no node {node.kind!r}.")
    known = {each.name for each in catalogue[node.kind].inputs}
    if unknown := node.inputs.keys() - known:
        raise DescriptionError(f"{node.kind} has no input {sorted(unknown)}; it has {sorted(known)}.")


def _links(nodes: Sequence[Node], numbers: dict[Node, int], catalogue: Catalogue) -> list[list[Any]]:
    """One list a link: its number, source node, output slot, target node, input slot, and type."""
    links: list[list[Any]] = []
    for node in nodes:
        for slot, each in enumerate(catalogue[node.kind].slots):
            value = node.inputs.get(each.name)
            if value is not None and (origin := source(value)) is not None:
                place, type_ = _output(value, catalogue[origin.kind])
                links.append([len(links) + 1, numbers[origin], place, numbers[node], slot, type_])
    return links


def _output(value: Value, kind: NodeKind) -> tuple[int, str]:
    """Slot and type of the output to which `value` refers."""
    names = [name for name, _ in kind.outputs]
    if isinstance(value, Output) and value.name not in names:
        raise DescriptionError(f"{value.node.kind} has no output {value.name!r}; it has {names}.")
    slot = names.index(value.name) if isinstance(value, Output) else 0
    return slot, kind.outputs[slot][1]


def _node(node: Node, number: int, kind: NodeKind, box: Box, links: list[list[Any]]) -> dict[str, Any]:
    into = {slot: link for link, _, _, target, slot, _ in links if target == number}
    outputs = [
        {"name": name, "type": type_, "links": [link for link, origin, place, *_ in links if (origin, place) == (number, slot)]}
        for slot, (name, type_) in enumerate(kind.outputs)
    ]
    files = [value for value in node.inputs.values() if isinstance(value, ModelFile)]
    models = [{"name": file.name, "url": file.url, "directory": file.folder} for file in files]
    return {
        "id": number,
        "type": node.kind,
        **({"title": node.title} if node.title else {}),
        "pos": [box.x, box.y],
        "size": [box.width, box.height],
        "flags": {},
        "order": number - 1,
        "mode": 0,
        "inputs": [_slot(each, into.get(slot)) for slot, each in enumerate(kind.slots)],
        "outputs": outputs,
        "properties": {"models": models} if models else {},
        "widgets_values": [_widget_value(node, each) for each in kind.widgets],
    }


def _slot(each: Input, link: int | None) -> dict[str, Any]:
    return {
        "name": each.name,
        "type": each.type,
        **({"shape": _OPTIONAL_SHAPE} if each.optional else {}),
        **({"widget": {"name": each.name}} if each.widget else {}),
        "link": link,
    }


def _widget_value(node: Node, widget: Input) -> Any:
    """The value in a widget. If an output is connected to it, it holds its default."""
    value = node.inputs.get(widget.name, widget.default)
    if isinstance(value, ModelFile):
        return value.name
    return value if source(value) is None else widget.default


def _group(number: int, group: Group, box: Box) -> dict[str, Any]:
    return {
        "id": number,
        "title": group.title,
        "bounding": [box.x, box.y, box.width, box.height],
        "color": _OUR_COLOUR if group.title.startswith("MagCache") else _COLOUR,
        "font_size": 24,
        "flags": {},
    }
