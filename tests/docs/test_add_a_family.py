"""docs/add_a_family.md: the family it shows is the real one, and its check finds each mistake that the page names."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from magcache.comfyui import families
from magcache.runtime.family import Family, ModelFacts, Stream

from .snippets import DOCS, run


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    """What the page defines."""
    return run("add_a_family.md")


class Block(nn.Module):
    """Takes and returns tokens by name, text first, as Qwen-Image's does."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, hidden_states: torch.Tensor, encoder_hidden_states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return encoder_hidden_states, hidden_states + self.linear(hidden_states + encoder_hidden_states.mean(1, keepdim=True))


class QwenImageTransformer2DModel(nn.Module):
    """The outline of the real one, and a second list that it has not."""

    def __init__(self, front: int = 0, behind: int = 0) -> None:
        super().__init__()
        self.img_in = nn.Linear(4, 8)
        self.transformer_blocks = nn.ModuleList(Block() for _ in range(3))
        self.more_blocks = nn.ModuleList(Block() for _ in range(2))
        self.unused = nn.Linear(8, 8)
        self.norm_out = nn.LayerNorm(8)
        self.proj_out = nn.Linear(8, 4)
        self.front, self.behind = front, behind

    def forward(self, latent: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        tokens = self.img_in(latent)
        for block in (*self.transformer_blocks, *self.more_blocks):
            text, tokens = block(hidden_states=tokens, encoder_hidden_states=text)
        return self.proj_out(self.norm_out(tokens[:, self.front : tokens.shape[1] - self.behind]))


def stand_in(**cut: int) -> tuple[nn.Module, Callable[[], torch.Tensor]]:
    torch.manual_seed(0)
    model, latent, text = QwenImageTransformer2DModel(**cut), torch.randn(2, 9, 4), torch.randn(2, 5, 8)
    return model, torch.no_grad()(lambda: model(latent, text))


RIGHT = Family(
    name="mine",
    classes=("QwenImageTransformer2DModel",),
    blocks=("transformer_blocks", "more_blocks"),
    streams=(Stream("hidden_states", tail="norm_out"),),
)


def test_the_family_on_the_page_is_the_real_one(page: dict[str, Any]):
    shown, real = page["QWEN_IMAGE"], families.QWEN_IMAGE
    assert real in families.FAMILIES
    assert replace(shown, identify=real.identify, refuses=real.refuses) == real
    for config in ({}, {"num_layers": 60}, {"num_layers": 3}):
        for conditioning in (frozenset(), frozenset({"reference_latents"})):
            facts = ModelFacts(config, conditioning=conditioning)
            assert shown.identify(facts) == real.identify(facts)


def test_every_field_is_explained():
    text = (DOCS / "add_a_family.md").read_text(encoding="utf-8")
    explained = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    assert explained == {*Family.__dataclass_fields__, *Stream.__dataclass_fields__}


@pytest.mark.parametrize(("cut", "align"), [({}, "end"), ({"front": 2}, "end"), ({"behind": 2}, "start")])
def test_a_family_that_is_right_passes(page: dict[str, Any], cut: dict[str, int], align: Any):
    model, call = stand_in(**cut)
    page["check"](model, replace(RIGHT, streams=(Stream("hidden_states", tail="norm_out", align=align),)), call)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"classes": ("QwenImage",)}, "is not there"),
        ({"blocks": ("blocks",)}, "is not there"),
        ({"blocks": ("transformer_blocks",)}, "another one"),
        ({"streams": (Stream("hidden_states", tail="final_layer"),)}, "is not there"),
        ({"streams": (Stream("hidden_states", tail="unused"),)}, "not seen"),
        ({"streams": (Stream("hidden_states", tail="img_in"),)}, "not seen"),
        ({"streams": (Stream("encoder_hidden_states", tail="norm_out"),)}, "another one"),
        ({"streams": (Stream("hidden_states", tail="proj_out"),)}, "another one"),
        ({"streams": (Stream("hidden_states", tail="norm_out", align="start"),)}, "another one"),
    ],
)
def test_a_family_that_is_wrong_is_told_what_is(page: dict[str, Any], wrong: dict[str, Any], said: str):
    model, call = stand_in(front=2)
    with pytest.raises(AssertionError, match=said):
        page["check"](model, replace(RIGHT, **wrong), call)


def test_a_family_with_another_name_for_the_tokens_fails_at_the_first_block(page: dict[str, Any]):
    model, call = stand_in()
    with pytest.raises(AssertionError, match="not seen at the first block"):
        page["check"](model, replace(RIGHT, streams=(Stream("img", tail="norm_out"),)), call)
    assert page["check"](model, RIGHT, call) is None, "everything is back in its place"
