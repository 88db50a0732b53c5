"""The small models: growth, weights, latents, and the world of the videos."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.small import video_world
from benchmarks.small.models import IMAGE, VIDEO, TrainableModel, pack, unpack
from benchmarks.small.train import Stage, train

BOTH = pytest.mark.parametrize("small", [IMAGE, VIDEO], ids=["image", "video"])


def inputs(small: TrainableModel) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
    shape = (2, 16, 8, 8) if small is IMAGE else (2, 16, 3, 8, 8)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)), torch.tensor([0.3, 0.8]), small.encode(small.prompts()[:2])


@BOTH
def test_a_model_that_grew_does_the_same_with_all_blocks(small: TrainableModel):
    torch.manual_seed(0)
    model = small.build(small.divisor)
    grown = small.grow(model)
    assert len(list(grown_blocks := list(small.blocks(grown)))) == small.divisor * len(list(small.blocks(model)))
    with torch.no_grad():
        assert torch.equal(small.velocity(grown, *inputs(small)), small.velocity(model, *inputs(small)))
    small.velocity(grown, *inputs(small)).square().mean().backward()
    assert all(any(p.grad is not None and p.grad.abs().max() > 0 for p in block.parameters()) for block in grown_blocks)
    assert small.grow(grown) is grown


@BOTH
def test_weights_survive_the_original_names(small: TrainableModel):
    weights = small.build(small.divisor).state_dict()
    back = small.to_diffusers(small.to_original(weights))
    assert set(back) == set(weights)
    assert all(torch.equal(back[name], tensor) for name, tensor in weights.items())


@BOTH
def test_a_checkpoint_of_a_few_steps_loads(small: TrainableModel, tmp_path):
    path = tmp_path / "small.safetensors"
    torch.manual_seed(0)
    model = train(small, small.build(small.divisor), Stage(2, 1, 1e-3, small.draw), path, seed=0, bf16=False)
    loaded = small.load(path)
    with torch.no_grad():
        assert torch.allclose(small.velocity(loaded, *inputs(small)), small.velocity(model, *inputs(small)), atol=2e-2)


@BOTH
def test_the_trained_checkpoint_is_small_and_loads(small: TrainableModel):
    assert small.checkpoint.stat().st_size < 10e6
    assert len(list(small.blocks(small.load()))) > 0


@BOTH
def test_latents_and_back(small: TrainableModel):
    drawn = small.draw(small.prompts()[5], np.random.default_rng(0))[None]
    assert np.array_equal(small.from_latent(small.to_latent(drawn)), drawn)


def test_pack_and_back():
    latents = torch.randn(2, 16, 6, 8)
    assert torch.equal(unpack(pack(latents), 6, 8), latents)


def test_a_still_is_one_frame_of_a_video():
    for seed in range(5):
        still = video_world.draw_still("a red circle moving left on sand", np.random.default_rng(seed))
        assert still.shape == (3, 1, video_world.SIDE, video_world.SIDE)
        red = np.argwhere((still[0, 0] > 0.2) & (still[1, 0] < -0.2))
        assert len(red) > 60


def test_a_video_moves_as_its_prompt_says():
    def centre(frame: np.ndarray) -> tuple[float, float]:
        redness = np.clip(frame[0] - frame[1] - 0.5, 0, None)
        y, x = np.mgrid[0 : video_world.SIDE, 0 : video_world.SIDE]
        return float((redness * x).sum() / redness.sum()), float((redness * y).sum() / redness.sum())

    for motion, (step_x, step_y) in video_world.MOTIONS.items():
        video = video_world.draw(f"a red circle moving {motion} on sky", np.random.default_rng(1))
        assert video.shape == (3, video_world.FRAMES, video_world.SIDE, video_world.SIDE)
        (x0, y0), (x1, y1) = centre(video[:, 0]), centre(video[:, -1])
        assert (np.sign(round((x1 - x0) / 4)), np.sign(round((y1 - y0) / 4))) == (step_x, step_y)


def test_every_word_of_a_video_counts():
    prompt = "a red star moving left on sand"
    texts = [video_world.encode(text) for text in (prompt, prompt.replace("left", "up"), prompt.replace("sand", "sky"), "")]
    assert all(not np.array_equal(one, other) for index, one in enumerate(texts) for other in texts[:index])
    assert not texts[-1].any()
    assert len(video_world.prompts()) == len(set(video_world.prompts()))
