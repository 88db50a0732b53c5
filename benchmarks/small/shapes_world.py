"""The world of the small image model: prompts such as "a red star on sand", their pictures, and their encoding. NumPy only."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from magcache.demo import world as demo

Array = npt.NDArray[np.floating[Any]]

SIDE = 64
"""Width and height of a picture in pixels."""
LATENT_CHANNELS = 16
"""Channels of a latent: 3 colours × 2 × 2 pixels, and four that are always zero (Flux's latents have sixteen)."""
TEXT_TOKENS, TEXT_WIDTH, POOLED_WIDTH = 6, demo.TEXT_WIDTH, demo.POOLED_WIDTH

COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.86, 0.16, 0.16),
    "green": (0.18, 0.68, 0.28),
    "blue": (0.16, 0.34, 0.90),
    "yellow": (0.95, 0.82, 0.14),
    "purple": (0.60, 0.22, 0.78),
    "orange": (0.96, 0.52, 0.10),
}
BACKGROUNDS: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "sky": ((0.46, 0.72, 0.94), (0.88, 0.95, 1.00)),
    "night": ((0.03, 0.04, 0.14), (0.20, 0.17, 0.34)),
    "sand": ((0.95, 0.88, 0.72), (0.80, 0.66, 0.44)),
    "snow": ((0.98, 0.98, 1.00), (0.80, 0.84, 0.90)),
}


def _circle(x: Array, y: Array) -> Array:
    return np.hypot(x, y) - 1.0


def _square(x: Array, y: Array) -> Array:
    return np.maximum(np.abs(x), np.abs(y)) - 0.86


def _triangle(x: Array, y: Array) -> Array:
    return np.maximum(np.abs(x) * 0.866 - y * 0.5, y) - 0.5


def _star(x: Array, y: Array) -> Array:
    angle = np.mod(np.arctan2(x, -y) + np.pi / 5, 2 * np.pi / 5) - np.pi / 5
    return np.hypot(x, y) * (np.cos(np.abs(angle)) + 1.15 * np.sin(np.abs(angle))) - 1.1


SHAPES: dict[str, Callable[[Array, Array], Array]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
}
"""Signed distance (negative inside, in units of the shape's radius) at points relative to the shape's centre."""


def prompts() -> list[str]:
    """Every prompt, in a fixed order."""
    return [f"a {colour} {shape} on {background}" for shape, colour, background in itertools.product(SHAPES, COLOURS, BACKGROUNDS)]


def draw(prompt: str, rng: np.random.Generator) -> Array:
    """A picture of `prompt`, (3, SIDE, SIDE) in [-1, 1]; `rng` draws the place and the size of its shape."""
    radius = rng.uniform(0.48, 0.60)
    centre_x, centre_y = rng.uniform(-0.2, 0.2, size=2)
    return render(prompt, (centre_x, centre_y), radius, SIDE)


def render(prompt: str, centre: tuple[float, float], radius: float, side: int) -> Array:
    """The picture of `prompt` with its shape at `centre` (x right, y down, both from -1 to 1), (3, side, side) in [-1, 1]."""
    words = prompt.split()
    shape = next(SHAPES[word] for word in words if word in SHAPES)
    colour = next(COLOURS[word] for word in words if word in COLOURS)
    top, bottom = next(BACKGROUNDS[word] for word in words if word in BACKGROUNDS)

    axis = (np.arange(side, dtype=np.float32) + 0.5) / side * 2 - 1
    x, y = np.meshgrid(axis, axis)
    local_x, local_y = (x - centre[0]) / radius, (y - centre[1]) / radius

    ramp = (y[..., None] + 1) / 2
    picture = np.asarray(top, np.float32) * (1 - ramp) + np.asarray(bottom, np.float32) * ramp
    shadow = _coverage(shape(local_x - 0.22, local_y - 0.26), softness=0.30)
    picture = picture * (1 - 0.35 * shadow[..., None])
    light = 1.05 - 0.30 * (local_x + local_y) / np.sqrt(2)
    body = np.asarray(colour, np.float32) * np.clip(light, 0.55, 1.35)[..., None]
    cover = _coverage(shape(local_x, local_y), softness=1.6 / side / radius)[..., None]
    picture = picture * (1 - cover) + body * cover
    return (np.clip(picture, 0, 1) * 2 - 1).transpose(2, 0, 1).astype(np.float32)


def _coverage(distance: Array, softness: float) -> Array:
    """0 outside to 1 inside, over a rim `softness` wide on each side."""
    ramp = np.clip(0.5 - distance / (2 * softness), 0, 1)
    return ramp * ramp * (3 - 2 * ramp)


def encode(prompt: str) -> tuple[Array, Array]:
    """The words of `prompt` as (TEXT_TOKENS, TEXT_WIDTH) and (POOLED_WIDTH,). Other words are ignored."""
    return demo.encode_words(prompt, {*SHAPES, *COLOURS, *BACKGROUNDS}, TEXT_TOKENS)


def to_latent(pictures: Array) -> Array:
    """(n, 3, h, w) in [-1, 1] to (n, LATENT_CHANNELS, h/2, w/2): the four pixels of a 2 × 2 cell become channels."""
    n, channels, height, width = pictures.shape
    cells = pictures.reshape(n, channels, height // 2, 2, width // 2, 2).transpose(0, 1, 3, 5, 2, 4)
    cells = cells.reshape(n, channels * 4, height // 2, width // 2)
    spare = np.zeros((n, LATENT_CHANNELS - channels * 4, height // 2, width // 2), np.float32)
    return np.concatenate([cells, spare], axis=1)


def to_pictures(latents: Array) -> Array:
    """The pictures of latents: the inverse of `to_latent`."""
    n, _, height, width = latents.shape
    cells = latents[:, :12].reshape(n, 3, 2, 2, height, width).transpose(0, 1, 4, 2, 5, 3)
    return cells.reshape(n, 3, height * 2, width * 2)
