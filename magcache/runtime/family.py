"""What MagCache needs to know of an architecture: where its blocks and tokens are, and which curve belongs to which model of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import nn


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What can be seen of a model and of the run it is about to do."""

    config: Mapping[str, Any]
    """Dimensions and inputs of the model: ComfyUI's `unet_config`, or the configuration of a diffusers model."""
    sigmas: tuple[float, ...] = ()
    """Noise levels of the run, one a step, and the closing one."""
    latent: tuple[int, ...] = ()
    """Shape of the latent, (batch, channels, …, height, width)."""
    conditioning: frozenset[str] = field(default_factory=frozenset[str])
    """Names of everything the conditionings carry, such as `reference_latents`."""

    @property
    def area(self) -> int:
        """Latent cells of a picture or frame; 8 × 8 pixels each in most models."""
        return self.latent[-1] * self.latent[-2] if len(self.latent) > 3 else 0


@dataclass(frozen=True, slots=True)
class Stream:
    """Tokens that run through the whole block stack: those of the image or the video, or those of its sound."""

    hidden: str
    """Name of the tokens among the first block's arguments."""
    tail: str | tuple[str, ...] | None
    """Dotted path of the module that gets the tokens, as its first argument, right after the last block; several if one of them gets
    them, now this, now that. None if it is no module: then a single block stands in for all of them."""
    position: int = 0
    """Their position among the first block's arguments if they are not passed by name."""
    align: Literal["end", "start"] = "end"
    """Which of the first block's tokens the tail gets if it gets fewer: the last (others stood in front of them) or the first."""
    index: int = 0
    """Their place where a block takes or returns several tensors at once, as a tuple."""
    batch: int = 0
    """Dimension of the tokens that counts the rows of the batch."""
    segment: int | None = None
    """Where several streams are one sequence of tokens: position, among the tail's arguments, of the stream's begin and end in it."""
    name: str = ""
    """What it is called where there are several, such as `sound`."""

    @property
    def tails(self) -> tuple[str, ...]:
        """The paths of its tails."""
        return (self.tail,) if isinstance(self.tail, str) else self.tail or ()


@dataclass(frozen=True, slots=True)
class Family:
    """An architecture. To add one see docs/add_a_family.md."""

    name: str
    classes: tuple[str, ...]
    """Class names of the models that are built like this. A subclass of one of them counts too."""
    blocks: tuple[str, ...]
    """Dotted paths of the block lists, in the order in which the forward runs them. Emptying all of them skips the stack. None if
    there is no such stack: then the model's prediction is reused as a whole."""
    streams: tuple[Stream, ...]
    """The tokens whose change over the stack is the residual."""
    identify: Callable[[ModelFacts], str | None] = lambda facts: None
    """The curve that was measured on a model, None if there is none."""
    refuses: Callable[[Mapping[str, Any]], bool] = lambda options: False
    """Whether the host's options of a forward forbid watching and skipping, such as a cache that the blocks write themselves."""
    models: tuple[str, ...] = ()
    """Models that people know by name, for `magcache models`."""
    inputs: Callable[[Mapping[str, Any]], Iterable[str]] = lambda arguments: ()
    """What the arguments of a forward (by name) show beside their names, such as `reference_latents`; for a host without conditionings."""
    guided_rows: tuple[str, ...] = ()
    """Branches that one batch of the model holds where guidance is on, in the order of its rows; empty if each has a forward of its own."""
    anchors: tuple[str, ...] = ()
    """Dotted names of weight vectors that tell one model from another, the same vectors in the same order in every host, so that a
    calibration made in one serves in the others. Those that a model has count. If there are hardly any, the first vectors by name are
    taken, which differ from host to host."""

    def fits(self, model: nn.Module) -> bool:
        """Whether `model` is of this family and has every part that the family names."""
        if not set(self.classes) & {base.__name__ for base in type(model).__mro__}:
            return False
        lists = [submodule(model, path) for path in self.blocks]
        tails_exist = all(stream.tail is None or any(submodule(model, tail) for tail in stream.tails) for stream in self.streams)
        sizes = [len(found) for found in lists if isinstance(found, nn.ModuleList | nn.ModuleDict)]
        return tails_exist and len(sizes) == len(lists) and (not lists or any(sizes))


def find_family(families: Sequence[Family], model: nn.Module) -> Family | None:
    """The family of a model, None if there is none."""
    return next((family for family in families if family.fits(model)), None)


def submodule(model: nn.Module, path: str) -> nn.Module | None:
    """The module at a dotted path of `model`, None if there is none."""
    found: nn.Module | None = model
    for name in path.split("."):
        found = None if found is None else children(found).get(name)
    return found


def children(module: nn.Module) -> dict[str, nn.Module | None]:
    """The entries under which `module` holds others: what its forward looks up, and what torch.compile's guards watch."""
    return module._modules  # pyright: ignore[reportPrivateUsage]
