"""Stacks of every shape that models have: no tail, one of two, tables of blocks, several streams in one sequence, tokens in tuples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from magcache.runtime.block_stack import BlockStack
from magcache.runtime.family import Family, Stream
from magcache.runtime.residuals import Residual, StaleResidualError
from magcache.runtime.self_check import same_tokens

WIDTH = 8


class Change(nn.Module):
    """Adds something to its tokens that depends on them."""

    layout = "BTC"

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(seed)) / WIDTH)
        self.calls = 0

    def change(self, tokens: torch.Tensor) -> torch.Tensor:
        return tokens + torch.tanh(tokens @ self.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.change(x)


class Pair(Change):
    """Takes and returns text and picture."""

    def forward(self, text: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.calls += 1
        return text * 2, self.change(x)


class Both(Change):
    """Takes and returns picture and sound as one tuple."""

    def forward(self, x: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        self.calls += 1
        return self.change(x[0]), self.change(x[1])


class Model(nn.Module):
    def __init__(self, *blocks: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.norm, self.other_norm = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)


class NoTail(Model):
    """Nothing but arithmetic follows the blocks, of which the last one takes text and picture in one sequence (AuraFlow)."""

    def __init__(self) -> None:
        super().__init__(Pair(0), Pair(1))
        self.late = nn.ModuleList([Change(2)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        text = torch.ones(x.shape[0], 3, WIDTH)
        for block in self.blocks:
            text, x = block(text, x)
        both = torch.cat([text, x], dim=1)
        for block in self.late:
            both = block(both)
        return both[:, text.shape[1] :] ** 2


class Lone(Model):
    """A single block, and no tail."""

    def __init__(self) -> None:
        super().__init__(Change(0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x)
        return x * 3


class Table(Model):
    """Blocks in a table, an attribute of the first of which is read, and rows as the last dimension but one (Cosmos)."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleDict({"block0": Change(0), "block1": Change(1)})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert self.blocks["block0"].layout == "BTC"
        x = x.movedim(0, -2)[None]
        for block in self.blocks.values():
            x = block(x)
        return x[0].movedim(-2, 0).sin()


class TwoHeads(Model):
    """Now one tail gets the tokens, now the other (WanDancer)."""

    def __init__(self, second: bool) -> None:
        super().__init__(Change(0), Change(1))
        self.second = second

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x)
        return self.other_norm(x) if self.second else self.norm(x)


class TableOfTails(Model):
    """The tail is an entry of a table, which one depends on the patches (Z-Image)."""

    def __init__(self, entry: str) -> None:
        super().__init__(Change(0), Change(1))
        self.final = nn.ModuleDict({"2-1": nn.LayerNorm(WIDTH), "1-1": nn.LayerNorm(WIDTH)})
        self.entry = entry

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x)
        return self.final[self.entry](x)


class Reshaped(Model):
    """The tail gets the tokens as a picture (Kandinsky)."""

    def __init__(self) -> None:
        super().__init__(Change(0), Change(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x)
        return self.norm(x.unflatten(1, (2, -1))).flatten(1, 2)


class Joined(Model):
    """The text joins in front of the picture before the tail (Boogu)."""

    def __init__(self) -> None:
        super().__init__(Change(0), Change(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x)
        return self.norm(torch.cat([torch.ones(x.shape[0], 2, WIDTH), x], dim=1))[:, 2:]


class InTuples(Model):
    """Picture and sound go through the blocks as a tuple, to a tail each (LTX-2)."""

    def __init__(self) -> None:
        super().__init__(Both(0), Both(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        both = (x[:, :4], x[:, 4:])
        for block in self.blocks:
            both = block(both)
        return torch.cat([self.norm(both[0]), self.other_norm(both[1])], dim=1)


class Final(nn.Module):
    def forward(self, x: torch.Tensor, time: float, video: tuple[int, int, int], sound: tuple[int, int, int]) -> torch.Tensor:
        return torch.cat([x[video[0] : video[1]].sin(), x[sound[0] : sound[1]].cos()])


class OneSequence(Model):
    """Text, sound and video are one sequence without a batch; the tail is told which part is which (MiniMax)."""

    def __init__(self) -> None:
        super().__init__(Change(0), Change(1))
        self.final = Final()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = torch.cat([torch.ones(2, WIDTH), x[0]])
        for block in self.blocks:
            tokens = block(tokens)
        return self.final(tokens, 0.5, (5, 8, 0), (2, 5, 0))[None]


def family(*streams: Stream, blocks: tuple[str, ...] = ("blocks",)) -> Family:
    return Family("some", ("Model",), blocks, streams)


SHAPES: dict[str, tuple[Callable[[], Model], Family]] = {
    "no tail": (NoTail, family(Stream("x", None, position=1, index=1), blocks=("blocks", "late"))),
    "a lone block": (Lone, family(Stream("x", None))),
    "a table": (Table, family(Stream("x", None, batch=2))),
    "the first head": (lambda: TwoHeads(False), family(Stream("x", ("norm", "other_norm")))),
    "the second head": (lambda: TwoHeads(True), family(Stream("x", ("norm", "other_norm")))),
    "a head that is missing": (lambda: TwoHeads(False), family(Stream("x", ("norm", "missing")))),
    "a tail in a table": (lambda: TableOfTails("2-1"), family(Stream("x", "final"))),
    "another tail in a table": (lambda: TableOfTails("1-1"), family(Stream("x", "final"))),
    "reshaped": (Reshaped, family(Stream("x", "norm"))),
    "joined": (Joined, family(Stream("x", "norm"))),
    "tuples": (InTuples, family(Stream("x", "norm", index=0), Stream("x", "other_norm", index=1))),
    "one sequence": (OneSequence, family(Stream("x", "final", segment=2), Stream("x", "final", segment=3))),
}


def tokens(rows: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, 6, WIDTH, generator=torch.Generator().manual_seed(seed))


def calls(model: nn.Module) -> int:
    return sum(block.calls for block in model.modules() if isinstance(block, Change))


def watched(stack: BlockStack, model: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, Residual]:
    with stack.watched() as capture:
        result = model(x)
        assert capture.residual is not None and not capture.skipped
        return result, capture.residual


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("shape", SHAPES)
@torch.no_grad()
def test_a_skip_reproduces_what_was_watched_without_running_a_block(shape: str, rows: int):
    if shape == "one sequence" and rows > 1:
        pytest.skip("without a batch")
    build, description = SHAPES[shape]
    model, x = build(), tokens(rows)
    before = {name: id(module) for name, module in model.named_modules()}
    plain = model(x)
    stack = BlockStack(model, description)
    result, residual = watched(stack, model, x)
    assert torch.equal(result, plain)
    assert all(part.shape[0] == rows for part in residual), "rows come first, whatever the model's layout"
    ran = calls(model)
    with stack.skipped(residual):
        again = model(x)
    assert calls(model) == ran
    torch.testing.assert_close(again, plain, rtol=1e-5, atol=1e-5)
    assert {name: id(module) for name, module in model.named_modules()} == before


@pytest.mark.parametrize("shape", SHAPES)
@torch.no_grad()
def test_other_tokens_get_the_residual_of_the_earlier_ones(shape: str):
    build, description = SHAPES[shape]
    model = build()
    stack = BlockStack(model, description)
    result, residual = watched(stack, model, tokens(1))
    with stack.skipped(residual):
        moved = model(tokens(1) + 1e-3 * tokens(1, seed=1))
    apart = float((moved - result).abs().max())
    assert 1e-5 < apart < 0.1


@pytest.mark.parametrize("shape", SHAPES)
@torch.no_grad()
def test_a_residual_of_another_batch_is_refused(shape: str):
    if shape == "one sequence":
        pytest.skip("without a batch")
    build, description = SHAPES[shape]
    model = build()
    stack = BlockStack(model, description)
    _, residual = watched(stack, model, tokens(1))
    with stack.skipped(residual), pytest.raises(StaleResidualError):
        model(tokens(2))


@torch.no_grad()
def test_each_part_of_one_sequence_has_its_own_residual():
    model = OneSequence()
    stack = BlockStack(model, SHAPES["one sequence"][1])
    result, (video, sound) = watched(stack, model, tokens(1))
    assert video.shape == sound.shape == (1, 3, WIDTH)
    with stack.skipped((video, torch.zeros_like(sound))):
        mixed = model(tokens(1))
    assert torch.allclose(mixed[:, :3], result[:, :3], atol=1e-6) and not torch.allclose(mixed[:, 3:], result[:, 3:], atol=1e-2)


@torch.no_grad()
def test_what_a_skip_hands_to_the_tail_is_compared_with_what_entered_the_blocks():
    class Between(TwoHeads):
        """Does something to the tokens after its blocks, before the tail."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for block in self.blocks:
                x = block(x)
            return self.norm(x * 1.001)

    def held(model: Model, description: Family, x: Any) -> bool:
        stack = BlockStack(model, description)
        with stack.watched() as capture:
            model(x)
            assert capture.residual is not None
            with stack.skipped(capture.residual):
                model(x)
            return bool(same_tokens(stack.met(), x.device))

    for shape, (build, description) in SHAPES.items():
        assert held(build(), description, tokens(1)), shape
    assert not held(Between(False), family(Stream("x", "norm")), tokens(1))


@torch.no_grad()
def test_a_tail_that_a_skipped_forward_does_not_call_fails_the_check():
    class Shy(TwoHeads):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) if len(self.blocks) else x

    model = Shy(False)
    stack = BlockStack(model, family(Stream("x", "norm")))
    with stack.watched() as capture:
        model(tokens(1))
        assert capture.residual is not None
        with stack.skipped(capture.residual):
            model(tokens(1))
        assert not same_tokens(stack.met(), torch.device("cpu"))


def test_tokens_differ_by_less_than_rounding_or_not_at_all():
    cpu, one = torch.device("cpu"), torch.randn(1, 4, WIDTH, dtype=torch.bfloat16, generator=torch.Generator().manual_seed(0))
    unit = torch.finfo(torch.bfloat16).eps * float(one.abs().max())
    assert same_tokens([(one, one)], cpu) and same_tokens([], cpu)
    assert same_tokens([(one, one + 0.9 * unit)], cpu) and not same_tokens([(one, one + 6 * unit)], cpu)
    assert not same_tokens([(one, one), None], cpu)
    nothing = one[:, :0]
    assert same_tokens([(one, one), (nothing, nothing)], cpu)


@torch.no_grad()
def test_a_model_may_ask_a_stand_in_for_its_weights():
    """Its own list of weights stays as it is without those of its blocks and as if nothing stood in for its tail."""

    class Asking(TwoHeads):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.seen = [name for name, _ in self.named_parameters()]
            return super().forward(x).to(next(self.norm.parameters()).dtype)

    model = Asking(False)
    stack = BlockStack(model, family(Stream("x", "norm")))
    result, residual = watched(stack, model, tokens(1))
    assert result.dtype == torch.float32 and "norm.weight" not in model.seen
    with stack.skipped(residual):
        torch.testing.assert_close(model(tokens(1)), result)
