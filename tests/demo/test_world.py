"""The demo's world: prompts, their encoding, and pictures in latents."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from magcache.demo import run, world


@pytest.fixture
def pictures() -> np.ndarray:
    """Slopes with a soft edge, (4, 3, 32, 64) in [-1, 1]."""
    y, x = np.mgrid[0:32, 0:64].astype(np.float32) / 32
    edge = np.tanh(6 * (x - y))
    slopes = [np.stack([a * x - 0.7, 0.5 - a * y, b * edge]) for a, b in ((0.2, 0.9), (0.5, 0.1), (0.7, -0.6), (0.1, 0.4))]
    return np.clip(np.stack(slopes), -1, 1).astype(np.float32)


def test_every_prompt_is_encoded_differently_and_always_alike():
    encoded = [world.encode(prompt) for prompt in world.prompts()]
    assert len({(tokens.tobytes(), pooled.tobytes()) for tokens, pooled in encoded}) == len(world.SUBJECTS) * len(world.GROUNDS)
    tokens, pooled = world.encode("a tropical fish on lilac")
    assert tokens.shape == (world.TEXT_TOKENS, world.TEXT_WIDTH)
    assert pooled.shape == (world.POOLED_WIDTH,)
    assert np.abs(tokens).sum(1).tolist() == [world.TEXT_WIDTH] * 3 + [0]
    assert tokens[0, :8].tolist() == [1, 1, -1, 1, 1, -1, -1, 1]


def test_words_that_are_not_of_the_world_change_nothing():
    for part, other in zip(world.encode("A fox, sitting on mint"), world.encode("fox mint"), strict=True):
        assert np.array_equal(part, other)


@pytest.mark.parametrize("prompt", ["", "   ", "a photograph of an astronaut", ",,,"])
def test_nothing_known_is_all_zeros(prompt: str):
    assert not any(part.any() for part in world.encode(prompt))


def test_more_words_than_tokens():
    tokens, pooled = world.encode("fox " * 10)
    assert tokens.all()
    assert set(np.abs(pooled)) == {float(world.TEXT_TOKENS)}


def test_pictures_survive_the_latent(pictures: np.ndarray):
    latents = world.to_latent(pictures)
    assert latents.shape == (4, world.LATENT_CHANNELS, 8, 16)
    back = world.to_pictures(latents)
    assert back.shape == pictures.shape
    assert 10 * math.log10(4 / np.square(back - pictures).mean()) >= 30
    assert np.allclose(world.to_latent(back), latents, atol=1e-4)


def test_the_shipped_code_is_a_code():
    code = world.cells()
    assert np.allclose(code.basis @ code.basis.T, np.eye(world.LATENT_CHANNELS), atol=1e-4)
    assert (np.diff(code.scale) <= 0).all()
    assert world.CELLS_FILE.stat().st_size < 20_000
    assert json.loads(world.CELLS_FILE.read_text("utf-8")).keys() == {"mean", "basis", "scale"}


def test_the_demo_compares_prompts_of_its_world_that_it_does_not_calibrate_with():
    known = set(world.prompts())
    assert {run.CALIBRATION_PROMPT, *run.PROMPTS} <= known
    assert run.CALIBRATION_PROMPT not in run.PROMPTS
    subjects = [prompt.partition(" on ")[0] for prompt in run.PROMPTS]
    assert len(set(subjects)) == len(subjects) == 16
    assert run.CALIBRATION_PROMPT.partition(" on ")[0] not in subjects
