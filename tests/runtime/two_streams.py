"""A made-up transformer of two streams, as models of video with sound are built: nested block lists, tails of their own."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from magcache.runtime.family import Family, Stream
from magcache.runtime.residuals import Residual

CHANNELS = 8


class Block(nn.Module):
    """Changes both streams, each by the other. Counts its calls."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.weight = nn.Parameter(torch.randn(CHANNELS, CHANNELS, generator=generator) / CHANNELS)
        self.calls = 0

    def forward(self, image: torch.Tensor, sound: torch.Tensor, scale: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
        self.calls += 1
        mixed = sound.mean(dim=1, keepdim=True)
        return image + scale * torch.tanh(image @ self.weight + mixed), sound + scale * torch.tanh(sound @ self.weight)


class Trunk(nn.Module):
    """The blocks, one level down."""

    def __init__(self) -> None:
        super().__init__()
        self.early = nn.ModuleList([Block(0), Block(1)])
        self.late = nn.ModuleList([Block(2)])


class Heads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.image = nn.LayerNorm(CHANNELS)
        self.sound = nn.LayerNorm(CHANNELS)


class Model(nn.Module):
    """`text` tokens stand in front of the image tokens and `padding` after the sound; both are dropped before the tails.

    Blocks compute in fp32, tails in `tail_type`. In Wan blocks compute in bf16 and the tail in fp32.
    """

    def __init__(self, text: int = 2, padding: int = 1, tail_type: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.trunk, self.heads = Trunk(), Heads().to(tail_type)
        self.text, self.padding, self.tail_type = text, padding, tail_type
        self.by_name = True

    def forward(self, image: torch.Tensor, sound: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        count = sound.shape[1]
        image = torch.cat([image.new_full((image.shape[0], self.text, CHANNELS), 0.5), image], dim=1)
        sound = torch.cat([sound, sound.new_zeros(sound.shape[0], self.padding, CHANNELS)], dim=1)
        for block in (*self.trunk.early, *self.trunk.late):
            image, sound = block(image=image, sound=sound, scale=scale) if self.by_name else block(image, sound, scale)
        image, sound = image[:, self.text :].to(self.tail_type), sound[:, :count].to(self.tail_type)
        shown = torch.cat([self.heads.image(image), self.heads.sound(sound)], dim=1)
        return shown.to(torch.float32)


FAMILY = Family(
    name="two streams",
    classes=("Model",),
    blocks=("trunk.early", "trunk.late"),
    streams=(Stream("image", "heads.image", position=0), Stream("sound", "heads.sound", position=1, align="start")),
)


def inputs(rows: int = 2, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, 5, CHANNELS, generator=generator), torch.randn(rows, 3, CHANNELS, generator=generator)


def calls(model: Model) -> int:
    """How often its blocks ran."""
    return sum(block.calls for block in (*model.trunk.early, *model.trunk.late))


def structure(model: nn.Module) -> dict[str, int]:
    """Which module is where."""
    return {name: id(module) for name, module in model.named_modules()}


def change_over_the_blocks(model: Model, image: torch.Tensor, sound: torch.Tensor, scale: float = 1.0) -> Residual:
    """The residual, straight from its definition."""
    text, count = model.text, sound.shape[1]
    first_image = torch.cat([image.new_full((image.shape[0], text, CHANNELS), 0.5), image], dim=1)
    first_sound = torch.cat([sound, sound.new_zeros(sound.shape[0], model.padding, CHANNELS)], dim=1)
    last: Any = first_image, first_sound
    for block in (*model.trunk.early, *model.trunk.late):
        last = block(*last, scale)
    return (last[0] - first_image)[:, text:], (last[1] - first_sound)[:, :count]
