"""Streams that take no part in a forward, and tokens that the first block divides among processes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from magcache.runtime.block_stack import BlockStack
from magcache.runtime.residuals import Residual, StaleResidualError
from magcache.runtime.self_check import same_tokens

from .two_streams import CHANNELS, FAMILY, Block, Model, inputs


def watch(stack: BlockStack, model: nn.Module, *args: Any) -> tuple[torch.Tensor, Residual | None]:
    with stack.watched() as capture:
        return model(*args), capture.residual


def skip(stack: BlockStack, model: nn.Module, residual: Residual, *args: Any) -> torch.Tensor:
    with stack.skipped(residual):
        return model(*args)


# Streams that take no part


class Silent(Model):
    """Without sound its blocks get None for it, and the sound's tail is not called."""

    def forward(self, image: torch.Tensor, sound: torch.Tensor | None, scale: float = 1.0) -> torch.Tensor:
        if sound is not None:
            return super().forward(image, sound, scale)
        for block in (*self.trunk.early, *self.trunk.late):
            image, _ = block(image=image, sound=None, scale=scale)
        return self.heads.image(image)


class Deaf(Block):
    def forward(self, image: torch.Tensor, sound: Any, scale: float = 1.0) -> Any:
        return (image + scale * torch.tanh(image @ self.weight), None) if sound is None else super().forward(image, sound, scale)


def silent() -> Silent:
    model = Silent()
    model.trunk.early = nn.ModuleList([Deaf(0), Deaf(1)])
    model.trunk.late = nn.ModuleList([Deaf(2)])
    return model


def test_a_stream_that_takes_no_part_in_a_forward_has_a_residual_without_tokens():
    model, image = silent(), inputs()[0]
    stack = BlockStack(model, FAMILY)
    full, residual = watch(stack, model, image, None)
    assert residual is not None and [stream.shape for stream in residual] == [(2, 5, CHANNELS), (2, 0, 1)]
    torch.testing.assert_close(skip(stack, model, residual, image, None), full)
    with pytest.raises(StaleResidualError):
        skip(stack, model, residual, *inputs())
    both = watch(stack, model, *inputs())[1]
    assert both is not None and both[1].shape == (2, 3, CHANNELS), "it may take part again"


def test_a_stream_that_takes_no_part_is_not_compared():
    model, image = silent(), inputs()[0]
    stack = BlockStack(model, FAMILY)
    with stack.watched() as capture:
        model(image, None)
        assert capture.residual is not None and not capture.skipped
        with stack.skipped(capture.residual):
            model(image, None)
        assert len(stack.met()) == 1 and same_tokens(stack.met(), image.device)
    with stack.watched() as capture:
        assert capture.skipped, "of the forward before nothing is known any more"


@pytest.mark.parametrize("seen", ["sound", "neither"])
def test_tokens_that_are_missing_where_their_tail_is_called_are_no_absent_stream(seen: str):
    """Nor are all streams absent: something must have been watched."""
    model = Model()
    misnamed = tuple(replace(stream, hidden=f"no {stream.hidden}", position=7) for stream in FAMILY.streams)
    wrong = replace(FAMILY, streams=(misnamed[0], FAMILY.streams[1] if seen == "sound" else misnamed[1]))
    assert watch(BlockStack(model, wrong), model, *inputs())[1] is None
    untailed = silent()
    untailed.heads.image = nn.Identity()
    nothing = replace(FAMILY, streams=(replace(misnamed[0], tail="heads.sound"), misnamed[1]))
    with BlockStack(untailed, nothing).watched() as capture:
        untailed(inputs()[0], None)
        assert capture.residual is None and not capture.skipped


# Tokens that the first block divides among processes


class Dividing(Block):
    """The first block keeps the second half of the image's tokens and all of the sound's."""

    def forward(self, image: torch.Tensor, sound: torch.Tensor, scale: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
        return super().forward(second_half(image, self, "image"), sound, scale)


def second_half(tokens: torch.Tensor, block: nn.Module, name: str) -> torch.Tensor:
    assert isinstance(block, Dividing), "the first block, whether it is in its list or not"
    return tokens[:, tokens.shape[1] // 2 :] if name == "image" else tokens


def dividing(text: int = 0) -> Model:
    model = Model(text=text)
    model.trunk.early[0] = Dividing(0)
    return model


@torch.no_grad()
def test_each_process_has_the_residual_of_its_part_of_the_tokens():
    model = dividing()
    stack = BlockStack(model, FAMILY, second_half)
    with stack.watched() as capture:
        full, residual = model(*inputs()), capture.residual
        assert residual is not None and [stream.shape[1] for stream in residual] == [3, 3]
        with stack.skipped(residual):
            torch.testing.assert_close(model(*inputs()), full)
        assert same_tokens(stack.met(), torch.device("cpu"))
    torch.testing.assert_close(skip(stack, model, residual, *inputs()), full)
    assert watch(BlockStack(model, FAMILY), model, *inputs())[1] is not None
    with pytest.raises(StaleResidualError):
        undivided = BlockStack(model, FAMILY)
        watch(undivided, model, *inputs())
        skip(undivided, model, residual, *inputs())


@torch.no_grad()
def test_the_first_block_that_stands_there_now_divides_the_tokens():
    model, asked = dividing(), list[nn.Module]()

    def note(tokens: torch.Tensor, block: nn.Module, name: str) -> torch.Tensor:
        asked.append(block)
        return second_half(tokens, block, name)

    stack = BlockStack(model, FAMILY, note)
    residual = watch(stack, model, *inputs())[1]
    assert residual is not None and {*asked} == {model.trunk.early[0]}
    asked.clear()
    model.trunk.early[0] = Dividing(0)
    skip(stack, model, residual, *inputs())
    assert {*asked} == {model.trunk.early[0]}


@torch.no_grad()
def test_one_block_in_the_place_of_all_divides_as_well():
    model = dividing()
    one = replace(FAMILY, streams=(replace(FAMILY.streams[0], tail=None),))
    stack = BlockStack(model, one, second_half)
    full, residual = watch(stack, model, *inputs())
    assert residual is not None and residual[0].shape[1] == 3
    again = skip(stack, model, residual, *inputs())
    torch.testing.assert_close(again[:, :3], full[:, :3])
