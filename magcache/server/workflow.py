"""Workflows in ComfyUI's API format: read from a file, and edited. Every edit returns a copy and leaves the original alone."""

from __future__ import annotations

import copy
import hashlib
import json
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..documents import mapping, read_text, text
from ..errors import MagCacheError

Workflow = dict[str, Any]
"""Node id -> class_type and inputs."""
Link = tuple[str, int]
"""Id of the node that a value comes from, and the number of its output."""
InputName = tuple[str, str]
"""Id of a node and the name of one of its inputs."""

MAGCACHE_NODES = ("MagCacheAuto", "MagCache")
CACHE_NODES = frozenset({*MAGCACHE_NODES, "MagCacheCalibration", "MagCacheReport", "MagCacheCompare", "EasyCache", "LazyCache"})
"""Nodes that plain sampling does without: step caches, and nodes that measure or show what a cache does."""
_PASSED_THROUGH: Mapping[str, Mapping[int, str]] = {"MagCacheReport": {2: "after"}, "MagCacheCompare": {}}
"""The input that an output of these nodes passes through, by the output's number. The caches pass their model through output 0."""
_LARGEST_FILE = 32 * 2**20
_HOW_TO_EXPORT = "Open the workflow in ComfyUI and choose File → Export (API) in its menu."
_SEEDS = ("seed", "noise_seed")
_SAMPLER_OUTPUTS, _GUIDER_OUTPUTS = {"LATENT", "IMAGE"}, {"GUIDER"}


class WorkflowError(MagCacheError):
    """A workflow cannot be read, was refused by the server, or failed there."""


@dataclass(frozen=True, slots=True)
class NodeType:
    """Inputs and outputs of a type of node, as a server describes it."""

    inputs: Mapping[str, str]
    """Name -> type."""
    outputs: tuple[str, ...]
    defaults: Mapping[str, Any]
    """Default values of the required inputs that have one."""


Types = Mapping[str, NodeType]
"""By class_type."""


def read_workflow(path: Path) -> Workflow:
    """The workflow in a file that ComfyUI exported. Raises `WorkflowError` if the file cannot be read or holds something else."""
    try:
        found = mapping(json.loads(read_text(path, _LARGEST_FILE)))
    except FileNotFoundError:
        raise WorkflowError(f"There is no file {path}.") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise WorkflowError(f"{path} is not JSON, or only a part of it: {error.msg} ({place}). {_HOW_TO_EXPORT}") from None
    except UnicodeDecodeError:
        raise WorkflowError(f"{path} is not a text file, so it holds no workflow in JSON. {_HOW_TO_EXPORT}") from None
    except (OSError, ValueError, RecursionError, TypeError) as error:
        raise WorkflowError(f"{path} cannot be read as a workflow: {error}. {_HOW_TO_EXPORT}") from None
    if isinstance(found.get("nodes"), list):
        raise WorkflowError(
            f"{path} is a workflow as Save writes it: with the places of its nodes, for the editor. A server runs another format, the API "
            f"format, which names only nodes and inputs. {_HOW_TO_EXPORT}"
        )
    try:
        for node in found.values():
            text(mapping(node)["class_type"])
            mapping(node["inputs"])
        if not found:
            raise KeyError
    except (KeyError, TypeError):
        raise WorkflowError(f"{path} is not a workflow: expected nodes with class_type and inputs. {_HOW_TO_EXPORT}") from None
    return found


def digest(workflow: Workflow) -> str:
    """Identifies the content of a workflow."""
    return hashlib.sha256(json.dumps(workflow, sort_keys=True).encode()).hexdigest()


def classes(workflow: Workflow) -> set[str]:
    """The node types in a workflow."""
    return {node["class_type"] for node in workflow.values()}


def bypassed(workflow: Workflow, kinds: Collection[str]) -> Workflow:
    """A copy without the nodes of these kinds, which are among `CACHE_NODES`.

    What used a value that they pass through gets it from its source instead. Nodes that use another output of them are removed
    too, and so are the nodes that depend on those.
    """
    gone = {name: node for name, node in workflow.items() if node["class_type"] in kinds}
    kept = {name: copy.deepcopy(node) for name, node in workflow.items() if name not in gone}
    for node in kept.values():
        node["inputs"] = {name: copy.deepcopy(_source(value, gone)) for name, value in node["inputs"].items()}
    removed = set(gone)
    while incomplete := [name for name, node in kept.items() if removed.intersection(_sources(node))]:
        removed.update(incomplete)
        kept = {name: node for name, node in kept.items() if name not in removed}
    return kept


def insert_node(
    workflow: Workflow, kind: str, values: Mapping[str, Any], model_inputs: Iterable[InputName], name: str | None = None
) -> Workflow:
    """A copy with a node of this kind in front of each of `model_inputs`, which are linked to a model.

    Inputs that share a model share the new node, which gets `values` as its other inputs. `name` is the id of the first new node;
    a free number if left out.
    """
    result = copy.deepcopy(workflow)
    added: dict[Link, str] = {}
    for user, input_name in model_inputs:
        source, output = result[user]["inputs"][input_name]
        model: Link = (source, output)
        if model not in added:
            added[model] = name if name and not added else _free_id(result)
            inputs = {**copy.deepcopy(dict(values)), "model": list(model)}
            result[added[model]] = {"class_type": kind, "inputs": inputs, "_meta": {"title": kind}}
        result[user]["inputs"][input_name] = [added[model], 0]
    return result


def insert_before_samplers(workflow: Workflow, types: Types, kind: str, **values: Any) -> Workflow:
    """A copy with a node of this kind between each model and the samplers and guiders that use it.

    Required inputs without a value get the server's default. Raises `WorkflowError` if no sampler or guider uses a model.
    """
    users = [name for name, node in workflow.items() if (_SAMPLER_OUTPUTS | _GUIDER_OUTPUTS) & set(types[node["class_type"]].outputs)]
    inputs = [(user, name) for user in users for name in _linked_inputs(workflow[user], types, "MODEL")]
    if not inputs:
        raise WorkflowError("No sampler or guider of this workflow takes a model, so there is nothing to put MagCache on.")
    return insert_node(workflow, kind, {**types[kind].defaults, **values}, inputs)


def configured(workflow: Workflow, kind: str, values: Mapping[str, Any]) -> Workflow:
    """A copy with `values` as inputs of every node of this kind."""
    result = copy.deepcopy(workflow)
    for node in result.values():
        if node["class_type"] == kind:
            node["inputs"].update(values)
    return result


def settings_of(workflow: Workflow, kinds: Collection[str]) -> list[dict[str, Any]]:
    """What is set on each node of these kinds, with its type as `node`: numbers and texts, not what is linked. Equal ones count once."""
    found: list[dict[str, Any]] = []
    for node in workflow.values():
        values = {name: value for name, value in node["inputs"].items() if isinstance(value, int | float | str)}
        settings = {"node": node["class_type"], **{name: value for name, value in values.items() if not isinstance(value, bool)}}
        if node["class_type"] in kinds and settings not in found:
            found.append(settings)
    return found


def samplers(workflow: Workflow, types: Types) -> frozenset[str]:
    """Ids of the nodes that sample: they take a model or a guider and give latents or pictures."""
    return frozenset(
        name
        for name, node in workflow.items()
        if _SAMPLER_OUTPUTS & set(types[node["class_type"]].outputs)
        and (*_linked_inputs(node, types, "MODEL"), *_linked_inputs(node, types, "GUIDER"))
    )


def seeded(workflow: Workflow, types: Types, seed: int) -> Workflow:
    """A copy with this seed at every node that gives noise, latents or pictures."""
    result = copy.deepcopy(workflow)
    for node in result.values():
        if {"NOISE", *_SAMPLER_OUTPUTS} & set(types[node["class_type"]].outputs):
            node["inputs"].update({name: seed for name in _SEEDS if name in node["inputs"]})
    return result


def uncached(workflow: Workflow, nodes: Collection[str]) -> Workflow:
    """A copy in which `nodes` have a new input, so that the server runs them instead of using results it has kept.

    Servers ignore inputs that a node does not declare, but compare them when they look for kept results.
    """
    result = copy.deepcopy(workflow)
    for name in nodes:
        result[name]["inputs"]["magcache_run"] = uuid.uuid4().hex
    return result


def _source(value: Any, gone: Workflow) -> Any:
    """Where a linked value comes from once the nodes in `gone` are removed; `value` itself if they do not pass it through."""
    for _ in gone:  # One may follow another.
        link = _link(value)
        if not link or link[0] not in gone:
            return value
        node = gone[link[0]]
        passed_through = _PASSED_THROUGH.get(node["class_type"], {0: "model"}).get(link[1])
        if passed_through not in node["inputs"]:
            return value
        value = node["inputs"][passed_through]
    return value


def _sources(node: Mapping[str, Any]) -> set[str]:
    """Ids of the nodes whose outputs a node uses."""
    return {link[0] for value in node["inputs"].values() if (link := _link(value))}


def _linked_inputs(node: Mapping[str, Any], types: Types, kind: str) -> Iterator[str]:
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
    """A number that is no node's id yet, as ComfyUI's own ids are."""
    return str(max((int(name) for name in workflow if name.isdecimal()), default=0) + 1)
