"""A model without a network: the exact flow towards a hundred known pictures, growing or contracting.

The latent at noise level σ is x = (1 − σ)·x₀ + σ·ε, where x₀ is one of the pictures of a prompt, each as likely as the others, plus
Gaussian detail. The velocity E[ε − x₀ | x] is then a softmax over the pictures. There are two kinds:

* growing, as FLUX, Qwen-Image, Wan and HunyuanVideo: vague prompts and far more contrast than noise. What is drawn is decided in the
  first third of a run, and an early error that turns the decision ends as another picture;
* contracting, as the trained models of this folder: exact prompts and hardly more contrast than noise. An error shrinks on its way.

A latent is a sheet of tiles, each drawn on its own, so that one run makes many decisions, as a large picture does. NumPy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from benchmarks.small import shapes_world as world
from magcache.curves.curve import MagnitudeCurve
from magcache.planning.plan import Plan

Array = npt.NDArray[np.float32]

SIDE = 4
"""Width and height of a tile in pixels."""
TILES = 1024
"""Tiles of a sheet. With fewer, chance decides whether a run has a wrong decision at all, and with it which plan is the best."""
PICTURES = 128
"""Pictures of a prompt."""
SHIFT = 3.0
_NEGLIGIBLE = 50.0
"""Pictures that are e^50 times less likely than the likeliest get no weight: denormal numbers are slow."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What makes an early error grow or shrink."""

    contrast: float
    """Half the range of a pixel, in standard deviations of the noise."""
    detail: float
    """Standard deviation of the Gaussian detail of each pixel, in the same unit."""
    prompts: tuple[str, ...]


GROWING = Kind(contrast=24.0, detail=0.4, prompts=(*world.SHAPES, *world.COLOURS, *world.BACKGROUNDS))
CONTRACTING = Kind(contrast=1.2, detail=0.6, prompts=tuple(world.prompts()))


@dataclass(frozen=True, slots=True)
class Sheet:
    """A finished run."""

    latent: Array
    """(…, tiles, values)."""
    residuals: Array
    """What each step added, Δσ left out: (steps, …, tiles, values). Here the residual is the velocity itself."""
    evaluations: int
    """Steps that were computed."""


@dataclass(frozen=True, slots=True)
class Posterior:
    """The flow of one prompt."""

    pictures: Array
    """(pictures, values), in units of the noise."""
    kind: Kind

    @classmethod
    def of(cls, prompt: str, kind: Kind) -> Posterior:
        """The flow of a prompt of the demo's world. It may leave words out: "star" is a star of any colour on any ground.

        Raises `ValueError` if no prompt of the world has all these words.
        """
        exact = [text for text in world.prompts() if set(prompt.split()) <= set(text.split())]
        if not exact:
            raise ValueError(f"No prompt of the demo's world has the words of {prompt!r}; expected words such as 'a red star on sand'.")
        rng = np.random.default_rng(list(prompt.encode()))
        drawn = [
            world.render(exact[number % len(exact)], tuple(rng.uniform(-0.2, 0.2, 2)), rng.uniform(0.48, 0.60), SIDE)
            for number in range(PICTURES)
        ]
        return cls(np.stack(drawn).reshape(PICTURES, -1) * np.float32(kind.contrast), kind)

    def noise(self, seed: int, tiles: int = TILES) -> Array:
        """The latent from which a run starts, (tiles, values)."""
        return np.random.default_rng(seed).standard_normal((tiles, self.pictures.shape[1]), dtype=np.float32)

    def velocity(self, latent: Array, sigma: float) -> Array:
        """E[ε − x₀ | x = `latent`], (…, values), at 0 < `sigma` ≤ 1. Each row is a tile of its own."""
        clean, detail = 1.0 - sigma, self.kind.detail**2
        variance = clean**2 * detail + sigma**2
        squares = np.sum(self.pictures**2, axis=1)
        scores = (clean * (latent @ self.pictures.T) - clean**2 / 2 * squares) / variance
        scores -= scores.max(axis=-1, keepdims=True)
        weights = np.where(scores > -_NEGLIGIBLE, np.exp(np.maximum(scores, -_NEGLIGIBLE)), np.float32(0))
        mean = (weights / weights.sum(axis=-1, keepdims=True)) @ self.pictures
        return (latent - clean * mean) * np.float32((sigma - clean * detail) / variance) - mean

    def sample(self, noise: Array, sigmas: Sequence[float], plan: Plan | None = None) -> Sheet:
        """Euler steps from `noise` (…, tiles, values) over `sigmas`, one a step, and then to 0, with what `plan` reuses and corrects."""
        latent, residuals, evaluations = noise, [], 0
        for step, (sigma, after) in enumerate(pairwise((*sigmas, 0.0))):
            recipe = plan.recipe(step) if plan else ()
            residual = _mixed(residuals, recipe) if recipe else self.velocity(latent, sigma)
            evaluations += not recipe
            residuals.append(residual)
            correction = plan.correction(step) if plan else None
            if correction:
                residual = residual + np.float32(correction.gain) * (residual - _mixed(residuals, correction.expected))
            latent = latent + np.float32(after - sigma) * residual
        return Sheet(latent, np.stack(residuals), evaluations)

    def psnr(self, latent: Array, reference: Array) -> npt.NDArray[np.float64]:
        """PSNR in dB of each sheet of `latent`, (…, tiles, values); at most 90."""
        error = np.mean((latent.astype(np.float64) - reference) ** 2, axis=(-2, -1)) / (2 * self.kind.contrast) ** 2
        return -10 * np.log10(np.maximum(error, 1e-9))


def schedule(steps: int) -> tuple[float, ...]:
    """Sigmas of the flow schedule, one a step, from 1."""
    times = 1 - np.arange(steps) / steps
    return tuple((SHIFT * times / (1 + (SHIFT - 1) * times)).tolist())


def curve_of(sheet: Sheet, sigmas: Sequence[float]) -> MagnitudeCurve:
    """The curve that a calibration with this run, in which every step was computed, would keep."""
    rows = sheet.residuals.reshape(len(sigmas), -1).astype(np.float64)
    products = rows @ rows.T
    products /= np.trace(products) / len(sigmas)
    sizes = np.linalg.norm(sheet.residuals, axis=-1).reshape(len(sigmas), -1)
    ratios = (1.0, *np.mean(sizes[1:] / sizes[:-1], axis=1).tolist())
    return MagnitudeCurve(
        name="posterior",
        family="posterior",
        sigmas=tuple(sigmas),
        ratios={"cond": ratios},
        products={("cond", "cond"): tuple(map(tuple, products.tolist()))},
    )


def _mixed(residuals: Sequence[Array], recipe: Sequence[tuple[int, float]]) -> Array:
    return np.sum([np.float32(weight) * residuals[step] for step, weight in recipe], axis=0)
