"""What MagCache needs to know of an architecture: where its blocks are, and which curve belongs to which model of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What can be seen of a model and of the run it is about to do."""

    config: Mapping[str, Any]
    """ComfyUI's `unet_config`: dimensions and inputs read from the checkpoint."""
    sigmas: tuple[float, ...] = ()
    """Noise levels of the run, with the closing one."""
    latent: tuple[int, ...] = ()
    """Shape of the latent, (batch, channels, …, height, width)."""
    conditioning: frozenset[str] = field(default_factory=frozenset)
    """Names of everything the conditionings carry, such as `reference_latents`."""

    @property
    def area(self) -> int:
        """Latent cells of a picture or frame; 8 × 8 pixels each in most models."""
        return self.latent[-1] * self.latent[-2] if len(self.latent) > 3 else 0


@dataclass(frozen=True, slots=True)
class Family:
    """An architecture. Adding one is one such object in a file of its own and its line in `families/__init__.py`."""

    name: str
    classes: tuple[str, ...]
    """Class names of the diffusion models that are built so."""
    blocks: tuple[str, ...]
    """The block lists, in the order the forward runs them. Emptying all of them skips the stack."""
    tails: tuple[str, ...]
    """The module that gets the image tokens, as its first argument, right after the last block (one of several, if several)."""
    hidden: str
    """Name of the image tokens among the first block's arguments."""
    position: int = 0
    """Where they stand if passed by position."""
    identify: Callable[[ModelFacts], str | None] = lambda facts: None
    """The curve of a model, None if it is not one that was measured."""

    def fits(self, model: nn.Module) -> bool:
        """Whether `model` is of this family and built as expected."""
        if type(model).__name__ not in self.classes:
            return False
        lists = [getattr(model, name, None) for name in self.blocks]
        tails = [getattr(model, name, None) for name in self.tails]
        return (
            all(isinstance(found, nn.ModuleList) for found in lists)
            and any(len(found) for found in lists if isinstance(found, nn.ModuleList))
            and any(isinstance(tail, nn.Module) for tail in tails)
        )


def find_family(families: Sequence[Family], model: nn.Module) -> Family | None:
    """The family of a diffusion model, None if there is none."""
    return next((family for family in families if family.fits(model)), None)
