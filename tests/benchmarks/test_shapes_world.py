"""The demo's world: prompts, pictures, latents."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.small import shapes_world as world


def test_prompts():
    prompts = world.prompts()
    assert len(prompts) == len(set(prompts)) == len(world.SHAPES) * len(world.COLOURS) * len(world.BACKGROUNDS)
    assert "a red star on sand" in prompts
    assert prompts == world.prompts()


@pytest.mark.parametrize("prompt", world.prompts())
def test_every_prompt_can_be_drawn(prompt: str):
    picture = world.draw(prompt, np.random.default_rng(0))
    assert (picture.shape, picture.dtype) == ((3, world.SIDE, world.SIDE), np.float32)
    assert -1 <= picture.min() < picture.max() <= 1
    assert np.isfinite(picture).all()


def test_draws_what_the_prompt_says():
    def middle(prompt: str) -> np.ndarray:
        return np.mean([world.draw(prompt, np.random.default_rng(seed))[:, 31:33, 31:33].mean(axis=(1, 2)) for seed in range(20)], axis=0)

    assert np.argmax(middle("a red circle on snow")) == 0
    assert np.argmax(middle("a green square on snow")) == 1
    assert np.argmax(middle("a blue triangle on sand")) == 2

    def corner(prompt: str) -> float:
        return float(world.draw(prompt, np.random.default_rng(0))[:, 0, 0].mean())

    assert corner("a red circle on night") < -0.5 < 0.5 < corner("a red circle on snow")


def test_draws_the_same_from_the_same_randomness_and_else_not():
    one, same, other = (world.draw("a red star on sand", np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("prompt", world.prompts()[::7])
def test_prompts_are_told_apart(prompt: str):
    tokens, pooled = world.encode(prompt)
    assert (tokens.shape, tokens.dtype) == ((world.TEXT_TOKENS, world.TEXT_WIDTH), np.float32)
    assert (pooled.shape, pooled.dtype) == ((world.POOLED_WIDTH,), np.float32)
    assert set(np.unique(tokens[:3])) == {-1, 1}
    assert not tokens[3:].any()
    others = [world.encode(other) for other in world.prompts() if other != prompt]
    assert not any(np.array_equal(tokens, other) or np.array_equal(pooled, pool) for other, pool in others)


@pytest.mark.parametrize("prompt", ["", "   ", "a photograph of an astronaut", ",,,"])
def test_nothing_known_is_all_zeros(prompt: str):
    tokens, pooled = world.encode(prompt)
    assert not tokens.any()
    assert not pooled.any()


def test_unknown_words_case_and_commas_do_not_matter():
    expected = world.encode("a red star on sand")
    for prompt in ("A RED, star on Sand", "one very red and shiny star, upon sand", "red,star,sand"):
        assert all(np.array_equal(got, want) for got, want in zip(world.encode(prompt), expected, strict=True))


def test_order_matters_to_the_tokens_only():
    tokens, pooled = world.encode("red star")
    turned, same = world.encode("star red")
    assert np.array_equal(tokens[[1, 0]], turned[:2])
    assert np.array_equal(pooled, same)


def test_more_words_than_tokens():
    tokens, pooled = world.encode("red " * 10)
    assert tokens.all()
    assert set(np.abs(pooled)) == {float(world.TEXT_TOKENS)}


@pytest.mark.parametrize("size", [(64, 64), (2, 2), (8, 6)])
def test_latents_hold_pictures_exactly(size: tuple[int, int]):
    pictures = np.random.default_rng(0).uniform(-1, 1, (2, 3, *size)).astype(np.float32)
    latents = world.to_latent(pictures)
    assert latents.shape == (2, world.LATENT_CHANNELS, size[0] // 2, size[1] // 2)
    assert latents.dtype == np.float32
    assert not latents[:, 12:].any()
    assert np.array_equal(world.to_pictures(latents), pictures)


def test_a_cell_of_a_latent_is_two_by_two_pixels():
    pictures = np.zeros((1, 3, 8, 8), np.float32)
    pictures[0, 1, 4:6, 2:4] = 1
    latents = world.to_latent(pictures)
    assert set(zip(*(place.tolist() for place in np.nonzero(latents.sum(axis=1)[0])), strict=True)) == {(2, 1)}
    assert np.count_nonzero(latents) == 4
