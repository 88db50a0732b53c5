"""The blocks of a small model are replaced at the steps that a plan leaves out, and only there."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmarks.small.loop import CacheRun, CacheSetting, PlannedStack, sample
from benchmarks.small.models import IMAGE, VIDEO, SmallModel

STEPS, GUIDANCE = 6, 2.5
SIGMAS = torch.linspace(1, 0, STEPS + 1)


class Tape:
    """Records the tokens after the last block, and plays them back."""

    def __init__(self) -> None:
        self.after: dict[int, torch.Tensor] = {}
        self.replaced: list[int] = []

    def learn(self, step: int, before: torch.Tensor, after: torch.Tensor) -> None:
        self.after[step] = after

    def replace(self, step: int, before: torch.Tensor) -> torch.Tensor:
        assert before.shape == self.after[step].shape
        self.replaced.append(step)
        return self.after[step]


@pytest.mark.parametrize(("small", "shape"), [(IMAGE, (1, 16, 8, 8)), (VIDEO, (1, 16, 3, 4, 4))], ids=["image", "video"])
def test_true_tokens_in_place_of_the_blocks_give_the_same_result(small: SmallModel, shape: tuple[int, ...]):
    torch.manual_seed(0)
    model, noise, prompt = small.build(small.divisor), torch.randn(shape), small.prompts()[0]
    tapes = [Tape(), Tape()]

    def by(*computed: int) -> CacheSetting:
        def attach(model: nn.Module, _: CacheRun) -> None:
            PlannedStack(model, computed, tapes)

        return CacheSetting("tape", attach)

    plain = sample(small, model, SIGMAS, noise, prompt, GUIDANCE)
    recorded = sample(small, model, SIGMAS, noise, prompt, GUIDANCE, by(*range(STEPS)))
    played = sample(small, model, SIGMAS, noise, prompt, GUIDANCE, by(0, 3))
    assert torch.equal(recorded.latents, plain.latents)
    assert torch.equal(played.latents, plain.latents)
    assert recorded.nfe == STEPS
    assert played.nfe == 2
    assert [tape.replaced for tape in tapes] == [[1, 2, 4, 5]] * 2
    assert not torch.equal(tapes[0].after[2], tapes[1].after[2])
