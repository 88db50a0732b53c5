"""A workflow in ComfyUI's API format, which the frontend sends to the server when a workflow is queued."""

from __future__ import annotations

from typing import Any

from tools.workflows.catalogue import NOTE, Catalogue, NodeKind


def prompt(document: dict[str, Any], catalogue: Catalogue) -> dict[str, Any]:
    """The API format of a document in the frontend's format."""
    links = {number: [str(origin), slot] for number, origin, slot, *_ in document["links"]}
    return {
        str(node["id"]): {"class_type": node["type"], "inputs": _inputs(node, catalogue[node["type"]], links)}
        for node in document["nodes"]
        if node["type"] != NOTE
    }


def _inputs(node: dict[str, Any], kind: NodeKind, links: dict[int, list[Any]]) -> dict[str, Any]:
    """Inputs of a node by name. The document holds the values of widgets in their order, without names; a link replaces the value."""
    values = {each.name: value for each, value in zip(kind.widgets, node["widgets_values"], strict=False) if each.sent}
    linked = {each["name"]: links[each["link"]] for each in node["inputs"] if each["link"] is not None}
    return {**values, **linked}
