"""The world of the small video model: prompts such as "a red star moving left on sand", and how they are drawn and encoded.

The shapes, colours and backgrounds are those of the small image model.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from benchmarks.small import shapes_world as world
from benchmarks.small.shapes_world import Array
from magcache.demo.world import word_signs

SIDE, FRAMES = 32, 9
TEXT_TOKENS, TEXT_WIDTH = 4, 4096
"""One token for each meaningful word of a prompt, and the width of a token, which is that of every Wan."""

MOTIONS: dict[str, tuple[float, float]] = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
REACH = 0.45
"""Farthest distance of the shape from its middle position, in half widths of the picture."""


def prompts() -> list[str]:
    """Every prompt of the world, in a fixed order."""
    choices = itertools.product(world.SHAPES, world.COLOURS, world.BACKGROUNDS, MOTIONS)
    return [f"a {colour} {shape} moving {motion} on {background}" for shape, colour, background, motion in choices]


def draw(prompt: str, rng: np.random.Generator) -> Array:
    """One video of `prompt`, (3, FRAMES, SIDE, SIDE) in [-1, 1]. `rng` decides its position and size."""
    return _render(prompt, np.linspace(-REACH, REACH, FRAMES).tolist(), rng)


def draw_still(prompt: str, rng: np.random.Generator) -> Array:
    """One frame of a video of `prompt` at a random moment, (3, 1, SIDE, SIDE) in [-1, 1]."""
    return _render(prompt, [rng.uniform(-REACH, REACH)], rng)


def _render(prompt: str, path: Sequence[float], rng: np.random.Generator) -> Array:
    """One frame for each element of `path`: the distance of the shape from its middle position, in half widths of the picture."""
    step_x, step_y = next(MOTIONS[word] for word in prompt.split() if word in MOTIONS)
    radius = rng.uniform(0.44, 0.54)
    middle_x, middle_y = rng.uniform(-0.15, 0.15, size=2)
    frames = [world.render(prompt, (middle_x + step_x * way, middle_y + step_y * way), radius, SIDE) for way in path]
    return np.stack(frames, axis=1)


def encode(prompt: str) -> Array:
    """The words of `prompt` as (TEXT_TOKENS, TEXT_WIDTH); an empty prompt is all zeros."""
    meaningful = {*world.SHAPES, *world.COLOURS, *world.BACKGROUNDS, *MOTIONS}
    tokens = np.zeros((TEXT_TOKENS, TEXT_WIDTH), np.float32)
    for place, word in enumerate([word for word in prompt.lower().split() if word in meaningful][:TEXT_TOKENS]):
        signs = word_signs(word)
        tokens[place, : len(signs)] = signs
    return tokens


def to_latent(videos: Array) -> Array:
    """Videos (n, 3, frames, h, w) in [-1, 1] as latents (n, 16, frames, h/2, w/2)."""
    n, _, frames, height, width = videos.shape
    flat = world.to_latent(videos.transpose(0, 2, 1, 3, 4).reshape(n * frames, 3, height, width))
    return flat.reshape(n, frames, *flat.shape[1:]).transpose(0, 2, 1, 3, 4)


def to_videos(latents: Array) -> Array:
    """The inverse of `to_latent`."""
    n, channels, frames, height, width = latents.shape
    flat = world.to_pictures(latents.transpose(0, 2, 1, 3, 4).reshape(n * frames, channels, height, width))
    return flat.reshape(n, frames, *flat.shape[1:]).transpose(0, 2, 1, 3, 4)
