"""A model's own forward with its blocks watched or skipped, on a made-up model of two streams."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from magcache.runtime.block_stack import BlockStack
from magcache.runtime.family import Family, Stream
from magcache.runtime.residuals import Residual, StaleResidualError

from .two_streams import CHANNELS, FAMILY, Block, Model, calls, change_over_the_blocks, inputs, structure


def watch(stack: BlockStack, model: nn.Module, *args: Any) -> tuple[torch.Tensor, Residual | None]:
    with stack.watched() as capture:
        return model(*args), capture.residual


def skip(stack: BlockStack, model: nn.Module, residual: Residual, *args: Any) -> torch.Tensor:
    with stack.skipped(residual):
        return model(*args)


# Watched


@pytest.mark.parametrize("by_name", [True, False])
@pytest.mark.parametrize(("text", "padding"), [(2, 1), (0, 0), (3, 0), (0, 2)])
def test_the_residual_is_the_change_of_each_stream_over_all_blocks(by_name: bool, text: int, padding: int):
    model = Model(text, padding)
    model.by_name = by_name
    result, residual = watch(BlockStack(model, FAMILY), model, *inputs())
    assert residual is not None and [stream.shape for stream in residual] == [(2, 5, CHANNELS), (2, 3, CHANNELS)]
    for seen, expected in zip(residual, change_over_the_blocks(model, *inputs()), strict=True):
        torch.testing.assert_close(seen, expected)
    assert torch.equal(result, model(*inputs())), "watching changes nothing"


def test_align_says_which_tokens_were_dropped():
    """Text stands in front of the image tokens and padding after the sound; the other way round the wrong ones would be compared."""
    model = Model()
    wrong = replace(FAMILY, streams=(replace(FAMILY.streams[0], align="start"), replace(FAMILY.streams[1], align="end")))
    _, right = watch(BlockStack(model, FAMILY), model, *inputs())
    _, other = watch(BlockStack(model, wrong), model, *inputs())
    assert right is not None and other is not None
    assert not any(torch.allclose(*pair) for pair in zip(right, other, strict=True))
    torch.testing.assert_close(other[0][:, model.text :] - right[0][:, model.text :], inputs()[0][:, 2:] - inputs()[0][:, :-2])


def test_a_block_that_changes_its_tokens_in_place_is_seen_through():
    class InPlace(Block):
        def forward(self, image: torch.Tensor, sound: torch.Tensor, scale: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
            return image.add_(1), sound.mul_(2)

    model = Model()
    model.trunk.early = nn.ModuleList([InPlace(0)])
    model.trunk.late = nn.ModuleList()
    _, residual = watch(BlockStack(model, FAMILY), model, *inputs())
    assert residual is not None
    torch.testing.assert_close(residual, (torch.ones(2, 5, CHANNELS), inputs()[1]))


def test_the_first_list_may_be_empty():
    model = Model()
    model.trunk.early = nn.ModuleList()
    _, residual = watch(BlockStack(model, FAMILY), model, *inputs())
    assert residual is not None
    torch.testing.assert_close(residual, change_over_the_blocks(model, *inputs()))


def test_a_first_block_that_was_exchanged_meanwhile_is_the_one_that_runs():
    """Such as by one that was compiled on its own."""
    model = Model()
    stack = BlockStack(model, FAMILY)
    before = model(*inputs())
    model.trunk.early[0] = Block(7)
    result, residual = watch(stack, model, *inputs())
    assert torch.equal(result, model(*inputs())) and not torch.allclose(result, before)
    assert residual is not None
    torch.testing.assert_close(residual, change_over_the_blocks(model, *inputs()))


class Odd(Model):
    """Deviates from what its family says, in one of several ways."""

    way = ""

    def forward(self, image: torch.Tensor, sound: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        if self.way == "skipped by another cache":
            return image
        if self.way == "no blocks":
            return self.heads.image(image).sum() + self.heads.sound(sound).sum()
        if self.way == "tokens in a tuple":
            image, sound = self.trunk.early[0]((image, sound))
        else:
            image, sound = self.trunk.early[0](image, sound)
        if self.way == "a tail by name":
            return self.heads.image(input=image).sum() + self.heads.sound(sound).sum()
        if self.way == "one tail":
            return self.heads.image(image)
        if self.way == "a tail twice":
            return self.heads.image(self.heads.image(image)).sum() + self.heads.sound(sound).sum()
        if self.way == "more tokens":
            return self.heads.image(torch.cat([image, image], dim=1)).sum() + self.heads.sound(sound).sum()
        if self.way == "other dimensions":
            return self.heads.image(image[:, None]).sum() + self.heads.sound(sound).sum()
        return self.heads.image(image).sum() + self.heads.sound(sound).sum()


@pytest.mark.parametrize(
    ("way", "seen", "skipped"),
    [
        ("", True, False),
        ("skipped by another cache", False, True),
        ("no blocks", False, False),
        ("one tail", False, False),
        ("a tail twice", False, False),
        ("more tokens", True, False),
        ("other dimensions", True, False),
        ("tokens in a tuple", False, False),
        ("a tail by name", False, False),
    ],
)
def test_a_forward_that_does_not_go_as_the_family_says_has_no_residual(way: str, seen: bool, skipped: bool):
    model = Odd()
    model.way = way
    if way == "tokens in a tuple":
        model.trunk.early[0] = nn.Identity()
    with BlockStack(model, FAMILY).watched() as capture:
        model(*inputs())
        assert (capture.residual is not None, capture.skipped) == (seen, skipped)


def test_nothing_of_a_watched_forward_is_kept():
    model = Model()
    stack = BlockStack(model, FAMILY)
    with stack.watched() as capture:
        assert capture.skipped and capture.residual is None, "nothing ran yet"
        model(*inputs())
        assert capture.residual is not None and not capture.skipped
    assert capture.residual is None and capture.skipped
    assert all(watch.first is None for watch in stack._watches)
    with stack.watched() as again:
        assert again.residual is None


def test_a_forward_that_fails_half_way_leaves_nothing():
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    model = Model()
    stack, before = BlockStack(model, FAMILY), structure(model)
    hook = model.trunk.late[0].register_forward_pre_hook(interrupt)
    with pytest.raises(KeyboardInterrupt), stack.watched():
        model(*inputs())
    assert structure(model) == before and all(watch.first is None for watch in stack._watches)
    hook.remove()
    assert watch(stack, model, *inputs())[1] is not None


# Skipped


def test_a_skipped_forward_adds_the_residual_and_runs_no_block():
    model = Model()
    stack = BlockStack(model, FAMILY)
    full, residual = watch(stack, model, *inputs())
    assert residual is not None
    before = calls(model)
    torch.testing.assert_close(skip(stack, model, residual, *inputs()), full, msg="with the same input it is the full result")
    assert calls(model) == before
    doubled = skip(stack, model, tuple(2 * stream for stream in residual), *inputs())
    image, sound = (tokens + 2 * stream for tokens, stream in zip(inputs(), residual, strict=True))
    torch.testing.assert_close(doubled, torch.cat([model.heads.image(image), model.heads.sound(sound)], dim=1))


def test_everything_is_in_its_place_afterwards():
    model = Model()
    stack, before = BlockStack(model, FAMILY), structure(model)
    names = list(model.state_dict())
    residual = watch(stack, model, *inputs())[1]
    assert residual is not None and structure(model) == before
    with stack.watched():
        assert structure(model) != before
    with stack.skipped(residual):
        assert len(model.trunk.early) == len(model.trunk.late) == 0
        model(*inputs())
    assert all(watch.unchanged is None for watch in stack._watches), "its tokens are not kept until the next computed step"
    with pytest.raises(KeyboardInterrupt), stack.skipped(residual):
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt), stack.watched():
        raise KeyboardInterrupt
    assert structure(model) == before and list(model.state_dict()) == names
    assert all(kept is None for watch in stack._watches for kept in (watch.first, watch.residual, watch.reused, watch.unchanged))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda image, sound: (image[:1], sound[:1]),
        lambda image, sound: (image[:, 1:], sound),
        lambda image, sound: (image, sound[:, :1]),
        lambda image, sound: (image[..., :1], sound),
    ],
    ids=["rows", "tokens", "tokens of the other stream", "channels"],
)
def test_a_residual_that_does_not_fit_is_not_added(wrong: Any):
    model = Model()
    stack = BlockStack(model, FAMILY)
    residual = watch(stack, model, *inputs())[1]
    assert residual is not None
    with pytest.raises(StaleResidualError, match="does not fit"):
        skip(stack, model, wrong(*residual), *inputs())


def test_a_residual_must_have_all_streams():
    model = Model()
    stack = BlockStack(model, FAMILY)
    residual = watch(stack, model, *inputs())[1]
    assert residual is not None
    with pytest.raises(ValueError, match="shorter"), stack.skipped(residual[:1]):
        pass


def test_nothing_is_added_before_a_forward_was_watched():
    """Until then the type in which the tails get their tokens is not known."""
    model = Model()
    residual = watch(BlockStack(model, FAMILY), model, *inputs())[1]
    assert residual is not None
    with pytest.raises(StaleResidualError):
        skip(BlockStack(model, FAMILY), model, residual, *inputs())


# Types of numbers


@pytest.mark.parametrize("tail_type", [torch.float64, torch.bfloat16], ids=str)
def test_a_tail_in_another_type_than_the_first_block(tail_type: torch.dtype):
    """Residuals are kept in the type of the first block and added in that of the tail."""
    model = Model(tail_type=tail_type)
    stack = BlockStack(model, FAMILY)
    full, residual = watch(stack, model, *inputs())
    coarse = {"rtol": 0.0, "atol": 0.1} if tail_type is torch.bfloat16 else {}
    assert residual is not None and {stream.dtype for stream in residual} == {torch.float32}
    torch.testing.assert_close(residual, change_over_the_blocks(model, *inputs()), **coarse)
    seen: list[torch.Tensor] = []
    model.heads.image.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    torch.testing.assert_close(skip(stack, model, residual, *inputs()), full, **coarse)
    assert seen[0].dtype == tail_type
    assert torch.equal(seen[0], inputs()[0].to(tail_type) + residual[0].to(tail_type)), "without a detour over another type"


def test_a_tail_in_a_narrower_type_than_the_first_block():
    class Narrowing(Plain):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for block in self.blocks:
                x = x + torch.tanh(block(x))
            return self.head(x.float())

    model, x = Narrowing(), torch.randn(2, 6, CHANNELS, generator=torch.Generator().manual_seed(0)).double()
    model.blocks.double()
    stack = BlockStack(model, PLAIN)
    full, residual = watch(stack, model, x)
    assert residual is not None and residual[0].dtype is torch.float64
    torch.testing.assert_close(skip(stack, model, residual, x), full)


def test_a_tail_that_gets_another_type_than_when_it_was_watched():
    """Then the tokens came from elsewhere: the residual does not belong to them."""
    model = Model(tail_type=torch.float64)
    stack = BlockStack(model, FAMILY)
    residual = watch(stack, model, *inputs())[1]
    assert residual is not None
    model.tail_type = torch.float32
    model.heads.float()
    with pytest.raises(StaleResidualError):
        skip(stack, model, residual, *inputs())
    watch(stack, model, *inputs())
    skip(stack, model, residual, *inputs())


# Other shapes of models


class Plain(nn.Module):
    """One stream, blocks and tail at the top, tokens in a grid."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(CHANNELS, CHANNELS), nn.Linear(CHANNELS, CHANNELS)])
        self.head = nn.Linear(CHANNELS, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = x + torch.tanh(block(x))
        return self.head(x)


PLAIN = Family("plain", ("Plain",), ("blocks",), (Stream("x", "head"),))


@pytest.mark.parametrize("shape", [(2, 6, CHANNELS), (2, 3, 4, CHANNELS), (1, 2, 3, 4, CHANNELS)], ids=str)
def test_one_stream_at_the_top_of_a_model(shape: tuple[int, ...]):
    model, x = Plain(), torch.randn(shape, generator=torch.Generator().manual_seed(0))
    stack = BlockStack(model, PLAIN)
    full, residual = watch(stack, model, x)
    assert residual is not None and [stream.shape for stream in residual] == [shape]
    torch.testing.assert_close(skip(stack, model, residual, x), full)


def test_a_module_that_is_missing_is_named():
    with pytest.raises(LookupError, match=r"no module heads\.missing"):
        BlockStack(Model(), replace(FAMILY, streams=(Stream("image", "heads.missing"),)))
