"""What the benchmarks of the small models have in common: models with their settings, cases to sample, and how results are compared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.small.comfyui_host import SamplingSetting
from benchmarks.small.emoji_model import EMOJI
from benchmarks.small.loop import Outcome
from benchmarks.small.models import IMAGE, VIDEO, SmallModel

UNSEEN = 80
"""Index of the first evaluated prompt, of all in a fixed shuffled order. No constant was chosen with it or later ones. The image has 96."""


@dataclass(frozen=True, slots=True)
class Bench:
    """A small model and the setting under which it is measured."""

    name: str
    small: SmallModel
    setting: SamplingSetting


BENCHES = (
    Bench("image", IMAGE, SamplingSetting(28, 2.5)),
    Bench("video", VIDEO, SamplingSetting(30, 3.0)),
    Bench("emoji", EMOJI, SamplingSetting(28, 2.5)),
)


@dataclass(frozen=True, slots=True)
class Case:
    """A prompt and the noise from which it is sampled."""

    prompt: str
    noise: torch.Tensor
    """Latents, batch of 1."""


def make_cases(small: SmallModel, count: int) -> tuple[Case, list[Case]]:
    """The case to calibrate and tune with, and `count` others to evaluate."""
    return calibration_cases(small, 1)[0], _cases(small, range(UNSEEN, UNSEEN + count))


def calibration_cases(small: SmallModel, count: int) -> list[Case]:
    """Cases to calibrate with, that of `make_cases` first."""
    return _cases(small, range(count))


def _cases(small: SmallModel, indices: range) -> list[Case]:
    shuffled = np.random.default_rng(11).permutation(np.array(small.prompts()))
    shape = (1, *small.latent_shape)

    def case(index: int) -> Case:
        return Case(str(shuffled[index]), torch.randn(shape, generator=torch.Generator().manual_seed(1000 + index)))

    return [case(index) for index in indices]


def latent_error(sampled: Outcome, reference: Outcome) -> float:
    """‖sampled − reference‖ / ‖reference‖ of the latents."""
    return float((sampled.latents - reference.latents).norm() / reference.latents.norm())


def pictures(small: SmallModel, sampled: Outcome) -> np.ndarray:
    """The frames of a result, (frames, height, width, 3) in uint8. A picture is a video of one frame."""
    decoded = small.from_latent(sampled.latents.float().numpy())[0]
    frames = decoded[:, None] if decoded.ndim == 3 else decoded
    return np.round(np.clip((frames + 1) * 127.5, 0, 255)).astype(np.uint8).transpose(1, 2, 3, 0)
