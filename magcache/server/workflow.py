"""Workflows in ComfyUI's API format: read from a file, and edited without touching the original."""

from __future__ import annotations

import copy
import json
import uuid
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..documents import mapping, read_text, text
from ..errors import MagCacheError

Workflow = dict[str, Any]
"""Node id -> class_type and inputs."""
Link = tuple[str, int]
"""A node's id and the number of its output."""

SKIPPING = ("MagCacheAuto", "MagCache")
ASIDE = frozenset({*SKIPPING, "MagCacheCalibration", "MagCacheReport", "MagCacheCompare", "EasyCache", "LazyCache"})
"""Nodes that have no part in plain sampling: caches, and those that look at what a cache did."""
_HANDED_ON: Mapping[str, Mapping[int, str]] = {"MagCacheReport": {2: "after"}, "MagCacheCompare": {}}
"""Which input an output hands on unchanged, by the output's number. Of the caches it is the model."""
_LARGEST_FILE = 32 * 2**20
_HOW_TO_EXPORT = "Open it in ComfyUI and choose Workflow → Export (API)."
_SEEDS = ("seed", "noise_seed")
_SAMPLED, _GUIDED = {"LATENT", "IMAGE"}, {"GUIDER"}


class WorkflowError(MagCacheError):
    """A workflow cannot be read, was refused by the server, or failed there."""


@dataclass(frozen=True, slots=True)
class NodeType:
    """What a server says about a kind of node."""

    inputs: Mapping[str, str]
    """Name -> type."""
    outputs: tuple[str, ...]
    defaults: Mapping[str, Any]
    """Values of those inputs that must be given and have a default."""


Types = Mapping[str, NodeType]
"""By class_type."""


def read_workflow(path: Path) -> Workflow:
    """The workflow in a file that ComfyUI exported. Raises `WorkflowError`."""
    try:
        found = mapping(json.loads(read_text(path, _LARGEST_FILE)))
    except (OSError, ValueError, RecursionError, TypeError) as error:
        raise WorkflowError(f"{path} cannot be read as a workflow: {error}. {_HOW_TO_EXPORT}") from None
    if isinstance(found.get("nodes"), list):
        raise WorkflowError(f"{path} is a workflow as the editor saves it, but a server runs workflows in the API format. {_HOW_TO_EXPORT}")
    try:
        for node in found.values():
            text(mapping(node)["class_type"])
            mapping(node["inputs"])
    except (KeyError, TypeError):
        raise WorkflowError(f"{path} is not a workflow: expected nodes with class_type and inputs. {_HOW_TO_EXPORT}") from None
    return found


def classes(workflow: Workflow) -> set[str]:
    return {node["class_type"] for node in workflow.values()}


def bypassed(workflow: Workflow, kinds: Collection[str]) -> Workflow:
    """Without the nodes of these kinds in `ASIDE`: what they hand on goes to where it would have gone.

    Nodes that use something else of them are left out too, and what depends on those.
    """
    gone = {name: node for name, node in workflow.items() if node["class_type"] in kinds}
    kept = {name: copy.deepcopy(node) for name, node in workflow.items() if name not in gone}
    for node in kept.values():
        node["inputs"] = {name: copy.deepcopy(_past(value, gone)) for name, value in node["inputs"].items()}
    lost = set(gone)
    while hanging := [name for name, node in kept.items() if any((link := _link(v)) and link[0] in lost for v in node["inputs"].values())]:
        lost.update(hanging)
        kept = {name: node for name, node in kept.items() if name not in lost}
    return kept


def patched(workflow: Workflow, types: Types, kind: str, **values: Any) -> Workflow:
    """With a node of this kind between each model and the samplers and guiders that use it.

    It gets `values`, and the server's defaults for what else it needs. Raises `WorkflowError` if nothing uses a model.
    """
    result = copy.deepcopy(workflow)
    added: dict[Link, str] = {}
    for node in list(result.values()):
        if not (_SAMPLED | _GUIDED) & set(types[node["class_type"]].outputs):
            continue
        for name in _linked(node, types, "MODEL"):
            model: Link = tuple(node["inputs"][name])
            if model not in added:
                added[model] = _free_id(result)
                inputs = {**types[kind].defaults, **values, "model": list(model)}
                result[added[model]] = {"class_type": kind, "inputs": inputs, "_meta": {"title": kind}}
            node["inputs"][name] = [added[model], 0]
    if not added:
        raise WorkflowError("No sampler or guider of this workflow takes a model, so there is nothing to put MagCache on.")
    return result


def configured(workflow: Workflow, kind: str, values: Mapping[str, Any]) -> Workflow:
    """With `values` as inputs of every node of this kind."""
    result = copy.deepcopy(workflow)
    for node in result.values():
        if node["class_type"] == kind:
            node["inputs"].update(values)
    return result


def samplers(workflow: Workflow, types: Types) -> frozenset[str]:
    """The nodes that sample: they take a model or a guider and give latents or pictures."""
    return frozenset(
        name
        for name, node in workflow.items()
        if _SAMPLED & set(types[node["class_type"]].outputs) and (*_linked(node, types, "MODEL"), *_linked(node, types, "GUIDER"))
    )


def seeded(workflow: Workflow, types: Types, seed: int) -> Workflow:
    """With this seed wherever noise or a picture is made from one."""
    result = copy.deepcopy(workflow)
    for node in result.values():
        if {"NOISE", *_SAMPLED} & set(types[node["class_type"]].outputs):
            node["inputs"].update({name: seed for name in _SEEDS if name in node["inputs"]})
    return result


def unrepeatable(workflow: Workflow, nodes: Collection[str]) -> Workflow:
    """With a mark on `nodes` that no run had before: a server otherwise answers a repeated run from its cache.

    The mark is an input that these nodes do not have. Servers pass it over, but take it as a change.
    """
    result = copy.deepcopy(workflow)
    for name in nodes:
        result[name]["inputs"]["magcache_run"] = uuid.uuid4().hex
    return result


def _past(value: Any, gone: Workflow) -> Any:
    """Where a link comes from when these nodes are not there; one that leads nowhere stays."""
    for _ in gone:  # One may follow another.
        link = _link(value)
        if not link or link[0] not in gone:
            return value
        node = gone[link[0]]
        handed_on = _HANDED_ON.get(node["class_type"], {0: "model"}).get(link[1])
        if handed_on not in node["inputs"]:
            return value
        value = node["inputs"][handed_on]
    return value


def _linked(node: Mapping[str, Any], types: Types, kind: str) -> Iterator[str]:
    """The inputs of this type that come from another node."""
    declared = types[node["class_type"]].inputs
    return (name for name, value in node["inputs"].items() if declared.get(name) == kind and _link(value))


def _link(value: Any) -> Link | None:
    match value:
        case [str(node), int(output)]:
            return node, output
        case _:
            return None


def _free_id(workflow: Workflow) -> str:
    """A number, as ComfyUI's own ids are."""
    return str(max((int(name) for name in workflow if name.isdecimal()), default=0) + 1)
