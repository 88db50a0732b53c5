"""The demo's world: prompts such as "a fox on mint", how they are encoded for the model, and what its latents mean.

What sampling needs, in NumPy alone. `benchmarks/small/emoji_art.py` paints the pictures that the model was trained on.
"""

# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# NumPy's own types of unpackbits, reshape and transpose are incomplete.
from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

SIDE = 128
"""Pixels on a side of a picture."""
CELL = 4
"""Pixels on a side of the cell that one latent stands for."""
LATENT_CHANNELS = 16
TEXT_TOKENS, TEXT_WIDTH, POOLED_WIDTH = 4, 96, 64
CELLS_FILE = Path(__file__).with_name("cells.json")

SUBJECTS: dict[str, str] = {
    "a fox": "fox",
    "a frog": "frog",
    "a panda": "panda",
    "a tiger": "tiger-face",
    "a pig": "pig-face",
    "a rabbit": "rabbit-face",
    "a koala": "koala",
    "a cat": "cat-face",
    "a dog": "dog-face",
    "a lion": "lion",
    "a unicorn": "unicorn",
    "a penguin": "penguin",
    "an owl": "owl",
    "an octopus": "octopus",
    "a crab": "crab",
    "a butterfly": "butterfly",
    "a ladybug": "lady-beetle",
    "a snail": "snail",
    "a turtle": "turtle",
    "a tropical fish": "tropical-fish",
    "an apple": "red-apple",
    "a banana": "banana",
    "a strawberry": "strawberry",
    "a watermelon": "watermelon",
    "a pineapple": "pineapple",
    "cherries": "cherries",
    "a lemon": "lemon",
    "grapes": "grapes",
    "a carrot": "carrot",
    "a corn cob": "ear-of-corn",
    "an avocado": "avocado",
    "a mushroom": "mushroom",
    "a cactus": "cactus",
    "a sunflower": "sunflower",
    "a pizza": "pizza",
    "a hamburger": "hamburger",
    "a doughnut": "doughnut",
    "a cupcake": "cupcake",
    "an ice cream": "soft-ice-cream",
    "french fries": "french-fries",
}
"""The subjects as prompts say them, and the names of their pictures in the Noto Emoji icon set."""

GROUNDS: dict[str, tuple[float, float, float]] = {
    "mint": (0.72, 0.93, 0.82),
    "sky": (0.55, 0.78, 0.97),
    "rose": (0.98, 0.76, 0.82),
    "night": (0.10, 0.12, 0.28),
    "sand": (0.95, 0.86, 0.66),
    "lilac": (0.80, 0.73, 0.96),
}

_WORDS = {word for name in (*SUBJECTS, *GROUNDS) for word in name.split()} - {"a", "an"}


@dataclass(frozen=True, slots=True)
class Cells:
    """A linear code of the 48 values of a cell (colour, row, column): latent = basis · (cell − mean) / scale."""

    mean: Array
    """(48,)."""
    basis: Array
    """(16, 48), orthonormal rows: the strongest principal components first."""
    scale: Array
    """(16,): standard deviations of the components; of the weak ones that of the fourth, so that they stay weak."""


@functools.cache
def cells() -> Cells:
    """The code that the model was trained with."""
    return Cells(**{name: np.asarray(values, np.float32) for name, values in json.loads(CELLS_FILE.read_text("utf-8")).items()})


def prompts() -> list[str]:
    """Every prompt of the world, in a fixed order: all grounds of the first subject, then of the second, …"""
    return [f"{subject} on {ground}" for subject in SUBJECTS for ground in GROUNDS]


def encode(prompt: str) -> tuple[Array, Array]:
    """The words of `prompt` as (TEXT_TOKENS, TEXT_WIDTH) and (POOLED_WIDTH,).

    Words that are not of the world are ignored, and an empty prompt is all zeros.
    """
    return encode_words(prompt, _WORDS, TEXT_TOKENS)


def encode_words(prompt: str, known: Container[str], most: int) -> tuple[Array, Array]:
    """The first `most` words of `prompt` that are `known`, as (most, TEXT_WIDTH) and (POOLED_WIDTH,).

    Every word is a fixed vector of ±1 taken from its hash: there is nothing to learn and nothing to ship.
    """
    words = [word for word in prompt.lower().replace(",", " ").split() if word in known]
    tokens = np.zeros((most, TEXT_WIDTH), np.float32)
    pooled = np.zeros(POOLED_WIDTH, np.float32)
    for place, word in enumerate(words[:most]):
        signs = word_signs(word)
        tokens[place] = signs[:TEXT_WIDTH]
        pooled += signs[-POOLED_WIDTH:]
    return tokens, pooled


def word_signs(word: str) -> Array:
    """The 512 values of ±1 that stand for `word`."""
    bits = np.unpackbits(np.frombuffer(hashlib.sha512(word.encode()).digest(), np.uint8))
    return bits.astype(np.float32) * 2 - 1


def to_latent(pictures: Array) -> Array:
    """(n, 3, h, w) in [-1, 1] to (n, LATENT_CHANNELS, h/4, w/4)."""
    n, channels, height, width = pictures.shape
    rows, columns = height // CELL, width // CELL
    split = pictures.reshape(n, channels, rows, CELL, columns, CELL).transpose(0, 2, 4, 1, 3, 5).reshape(n, rows, columns, -1)
    code = cells()
    return np.ascontiguousarray((((split - code.mean) @ code.basis.T) / code.scale).transpose(0, 3, 1, 2))


def to_pictures(latents: Array) -> Array:
    """The nearest to an inverse of `to_latent`: what the 16 components do not hold is lost."""
    n, _, rows, columns = latents.shape
    code = cells()
    split = (latents.transpose(0, 2, 3, 1) * code.scale) @ code.basis + code.mean
    split = split.reshape(n, rows, columns, 3, CELL, CELL).transpose(0, 3, 1, 4, 2, 5)
    return np.ascontiguousarray(split.reshape(n, 3, rows * CELL, columns * CELL))
