"""A workflow as its description builds it: groups of nodes, and what goes into their inputs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A published file of weights."""

    folder: str
    """Where it belongs, below ComfyUI's `models`."""
    url: str

    @property
    def name(self) -> str:
        return self.url.rsplit("/", 1)[-1]


@dataclass(eq=False, slots=True)
class Node:
    """A node of a kind that ComfyUI knows. Inputs that are left out have their defaults."""

    kind: str
    title: str | None
    inputs: dict[str, Value]

    def __getitem__(self, output: str) -> Output:
        return Output(self, output)


@dataclass(frozen=True, slots=True)
class Output:
    """One of the outputs of a node that has several."""

    node: Node
    name: str


Scalar: TypeAlias = "bool | int | float | str"
Value: TypeAlias = "Scalar | ModelFile | Node | Output"
"""What an input is given: a number or text, a file, or what another node makes. A node alone stands for its first output."""


@dataclass(slots=True)
class Group:
    """Nodes that stand one below the other, in a frame."""

    title: str
    below: bool
    """Whether it stands below the group before it, instead of to its right."""
    nodes: list[Node] = field(default_factory=list[Node])

    def add(self, kind: str, /, *, title: str | None = None, **inputs: Value) -> Node:
        self.nodes.append(Node(kind, title, inputs))
        return self.nodes[-1]


@dataclass(slots=True)
class Workflow:
    """One file of `example_workflows`. A node is added after those it takes something from."""

    title: str
    """The name of the file, which ComfyUI shows to people."""
    about: str
    """A few words for the thumbnail."""
    hint: str
    """Markdown for the note, after what is said of the files and of the plan."""
    groups: list[Group] = field(default_factory=list[Group])

    def group(self, title: str, *, below: bool = False) -> Group:
        self.groups.append(Group(title, below))
        return self.groups[-1]

    @property
    def nodes(self) -> list[Node]:
        return [node for group in self.groups for node in group.nodes]

    def files(self) -> Iterator[ModelFile]:
        for node in self.nodes:
            yield from (value for value in node.inputs.values() if isinstance(value, ModelFile))


def source(value: object) -> Node | None:
    """The node that the value of an input comes from, if it comes from one."""
    if isinstance(value, Output):
        return value.node
    return value if isinstance(value, Node) else None
