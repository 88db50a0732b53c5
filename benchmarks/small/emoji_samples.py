"""Draw a sheet of pictures with the emoji model, to look at.

python -m benchmarks.small.emoji_samples sheet.png
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from PIL import Image
from torch import nn

from benchmarks.small import emoji_model
from magcache.demo import world

ROW = 8
"""Pictures beside each other."""


def draw_sheet(
    model: nn.Module,
    out: Path,
    count: int = 40,
    steps: int = emoji_model.STEPS,
    guidance: float = emoji_model.GUIDANCE,
    seed: int = 0,
) -> None:
    """`count` pictures, one subject after the other, on all grounds alternately."""
    subjects, grounds = list(world.SUBJECTS), list(world.GROUNDS)
    places = [(index % len(subjects), (index + index // ROW) % len(grounds)) for index in range(count)]
    prompts = [f"{subjects[subject]} on {grounds[ground]}" for subject, ground in places]
    side = world.SIDE // world.CELL
    noise = torch.randn(count, world.LATENT_CHANNELS, side, side, generator=torch.Generator().manual_seed(seed))
    noise = noise.to(next(model.parameters()).device)
    rows = [slice(first, first + ROW) for first in range(0, count, ROW)]
    latents = torch.cat([emoji_model.sample(model, prompts[row], noise[row], steps, guidance) for row in rows])
    sheet = np.ones((len(rows) * ROW, 3, world.SIDE, world.SIDE), np.float32)
    sheet[:count] = np.clip(world.to_pictures(latents.cpu().numpy()) / 2 + 0.5, 0, 1)
    sheet = sheet.reshape(len(rows), ROW, 3, world.SIDE, world.SIDE).transpose(0, 3, 1, 4, 2).reshape(len(rows) * world.SIDE, -1, 3)
    Image.fromarray((sheet * 255).round().astype(np.uint8)).save(out)


def main(
    out: Annotated[Path, typer.Argument(help="The PNG to write.")],
    checkpoint: Path = emoji_model.CHECKPOINT,
    count: int = 40,
    device: str = "cpu",
    steps: int = emoji_model.STEPS,
    guidance: float = emoji_model.GUIDANCE,
    seed: int = 0,
) -> None:
    draw_sheet(emoji_model.load(checkpoint).to(device), out, count, steps, guidance, seed)


if __name__ == "__main__":
    typer.run(main)
