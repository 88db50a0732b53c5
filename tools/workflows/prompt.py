"""What the frontend sends to the server when a workflow's file is queued: ComfyUI's API format."""

from __future__ import annotations

from typing import Any

from tools.workflows.catalogue import NOTE, Catalogue, Kind


def prompt(document: dict[str, Any], catalogue: Catalogue) -> dict[str, Any]:
    links = {number: [str(origin), slot] for number, origin, slot, *_ in document["links"]}
    return {
        str(node["id"]): {"class_type": node["type"], "inputs": _inputs(node, catalogue[node["type"]], links)}
        for node in document["nodes"]
        if node["type"] != NOTE
    }


def _inputs(node: dict[str, Any], kind: Kind, links: dict[int, list[Any]]) -> dict[str, Any]:
    """Values of the widgets, which the file holds in their order and without names, and links, which count more."""
    values = {each.name: value for each, value in zip(kind.widgets, node["widgets_values"], strict=False) if each.sent}
    linked = {each["name"]: links[each["link"]] for each in node["inputs"] if each["link"] is not None}
    return {**values, **linked}
