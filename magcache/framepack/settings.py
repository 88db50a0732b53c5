"""What a user asks for: one video."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from PIL import Image

from ..documents import number, shown, text, whole
from ..errors import SettingsError

FPS = 30
"""Frames a second; the models were trained on it."""
MULTIPLE = 16
"""Width and height are multiples of so many pixels: 8 of the VAE times 2 of the patches."""
_LONGEST = 4
"""The longer side of a video is at most so many times the shorter one."""
LARGEST_SEED = 2**32 - 1
Memory = Literal["none", "model", "group"]
"""Where the weights are while they are not needed: on the device, or in main memory by models or by groups of blocks."""
_RANGES: dict[str, tuple[float, float, str]] = {
    "seconds": (0.1, 120, "length in seconds"),
    "steps": (1, 200, "number of steps"),
    "seed": (0, LARGEST_SEED, "seed"),
    "guidance_scale": (0, 50, "guidance"),
    "true_cfg_scale": (1, 20, "true CFG"),
    "speedup": (1, 10, "speed-up"),
    "size": (MULTIPLE, 2048, "size"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One video, without its pictures. Raises `SettingsError` if a value is out of range."""

    prompt: str
    negative_prompt: str = ""
    """What should not be seen; only used with a true CFG above 1."""
    true_cfg_scale: float = 1.0
    """How much the negative prompt counts; above 1 every step takes two evaluations."""
    guidance_scale: float = 10.0
    """How much the prompt counts, as the model was trained with (distilled CFG)."""
    seconds: float = 5.0
    steps: int = 25
    seed: int = 0
    speedup: float = 2.0
    """Steps per computed step that MagCache aims at; 1 switches it off."""
    compare: bool = False
    """Whether to make the video without MagCache too."""
    size: int = 640
    """Side in pixels of a square with as many pixels as the video."""
    memory: Memory = "none"
    tiling: bool = True
    """Whether the VAE decodes in tiles."""

    def __post_init__(self) -> None:
        for name, (low, high, title) in _RANGES.items():
            value = getattr(self, name)
            if not (math.isfinite(value) and low <= value <= high):
                raise SettingsError(f"The {title} is {value:g}; it must be from {low:g} to {high:g}.")
        if self.memory not in get_args(Memory):
            raise SettingsError(f"The memory setting is {shown(self.memory)}; it must be one of {', '.join(get_args(Memory))}.")

    @property
    def compares(self) -> bool:
        """Whether two videos are made: without a speed-up they would be the same."""
        return self.compare and self.speedup > 1

    def dimensions(self, picture: Image.Image) -> tuple[int, int]:
        """Width and height of the video: the shape of the picture, `size`² pixels. A very long picture is cut."""
        shape = math.sqrt(min(max(picture.width / picture.height, 1 / _LONGEST), _LONGEST))
        return _rounded(self.size * shape), _rounded(self.size / shape)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Settings:
        """Settings that `to_json` gave; unknown names are ignored. Raises `SettingsError` if a value is not what it should be."""
        found: dict[str, Any] = {}
        for each in fields(cls):
            if each.name in values:
                try:
                    found[each.name] = _KINDS[each.type](values[each.name])
                except TypeError as error:
                    raise SettingsError(f"{each.name}: {error}.") from None
        if "prompt" not in found:
            raise SettingsError("There is no prompt. Is this a settings file of the FramePack page?")
        return cls(**found)


@dataclass(frozen=True, slots=True)
class Task:
    """One video: settings and pictures."""

    settings: Settings
    picture: Image.Image = field(repr=False)
    last_picture: Image.Image | None = field(default=None, repr=False)


def _rounded(side: float) -> int:
    return max(MULTIPLE, round(side / MULTIPLE) * MULTIPLE)


def truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"expected true or false, got {shown(value)}")
    return value


_KINDS: dict[Any, Any] = {"str": text, "float": number, "int": whole, "bool": truth, "Memory": text}
