"""A workflow as its description builds it: groups of nodes, and the values of their inputs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A published file of model weights."""

    folder: str
    """Its folder below ComfyUI's `models`."""
    url: str

    @property
    def name(self) -> str:
        return self.url.rsplit("/", 1)[-1]


@dataclass(eq=False, slots=True)
class Node:
    """A node. Inputs that are left out have their defaults."""

    kind: str
    """Name of its kind in ComfyUI."""
    title: str | None
    """Title in the frontend; None for that of its kind."""
    inputs: dict[str, Value]

    def __getitem__(self, output: str) -> Output:
        return Output(self, output)


@dataclass(frozen=True, slots=True)
class Output:
    """One output of a node that has several."""

    node: Node
    name: str


Scalar: TypeAlias = "bool | int | float | str"
Value: TypeAlias = "Scalar | ModelFile | Node | Output"
"""Value of an input: a number or text, a file, or an output of another node. A node alone means its first output."""


class Words(NamedTuple):
    """The same in each language of the notes, in Markdown."""

    en: str
    ja: str
    zh: str


@dataclass(slots=True)
class Group:
    """Nodes that are placed one below the other, in a frame."""

    title: str
    nodes: list[Node] = field(default_factory=list[Node])

    def add(self, kind: str, /, *, title: str | None = None, **inputs: Value) -> Node:
        """Add a node of this kind with these inputs at the end of the group, and return it."""
        self.nodes.append(Node(kind, title, inputs))
        return self.nodes[-1]


@dataclass(slots=True)
class Workflow:
    """One file of `example_workflows`. A node is added after those whose outputs it uses."""

    title: str
    """Name of the file without its ending, which ComfyUI shows to users."""
    name: str
    """What stands large on the thumbnail."""
    about: str
    """A few words below it."""
    hints: tuple[Words, ...] = ()
    """What the note says after the files and the plan."""
    curve: str = "flux"
    """The shipped curve from which the plan of MagCache Auto is shown. In ComfyUI it plans from what it measures."""
    published: bool = False
    """Whether it has the MagCache node with published settings instead of MagCache Auto."""
    groups: list[Group] = field(default_factory=list[Group])

    def group(self, title: str) -> Group:
        """Add an empty group at the end, and return it."""
        self.groups.append(Group(title))
        return self.groups[-1]

    @property
    def nodes(self) -> list[Node]:
        return [node for group in self.groups for node in group.nodes]

    def files(self) -> Iterator[ModelFile]:
        """The model files that its nodes load."""
        for node in self.nodes:
            yield from (value for value in node.inputs.values() if isinstance(value, ModelFile))


def source(value: object) -> Node | None:
    """The node whose output is the value of an input; None for other values."""
    if isinstance(value, Output):
        return value.node
    return value if isinstance(value, Node) else None
