"""A model of an unknown class: described by one forward, checked by a skip, or else reused as a whole."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from magcache import Plan
from magcache.reports.run_report import Disturbance, RunReport
from magcache.runtime.block_stack import BlockStack
from magcache.runtime.forward import run_evaluation, run_forward
from magcache.runtime.residuals import StaleResidualError
from magcache.runtime.session import Session
from magcache.runtime.stack import Stack, UnknownStack, stack_of
from magcache.runtime.whole_model import WholeModel

from .runs import CPU, LABEL

WIDTH = 8


class Block(nn.Module):
    def __init__(self, seed: int, in_place: bool = False) -> None:
        super().__init__()
        self.inner = nn.ModuleList([nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)])
        self.in_place = in_place
        for part in self.inner.parameters():
            part.data = torch.randn(part.shape, generator=torch.Generator().manual_seed(seed)) / WIDTH

    def forward(self, x: torch.Tensor, scale: float) -> torch.Tensor:
        change = scale * self.inner[1](torch.tanh(self.inner[0](x)))
        return x.add_(change) if self.in_place else x + change


class Dit(nn.Module):
    """As most transformers are built: a refiner of the text, two lists of blocks, and a module that gets the tokens after them."""

    def __init__(self, way: str = "") -> None:
        super().__init__()
        self.way = way
        self.embed = nn.Linear(4, WIDTH)
        self.refiner = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
        self.blocks = nn.ModuleList([Block(0, way == "in place"), Block(1)])
        self.more = nn.ModuleList([Block(2), Block(3)])
        self.norm, self.norms = nn.LayerNorm(WIDTH), nn.ModuleDict({"2-1": nn.LayerNorm(WIDTH)})
        self.head = nn.Linear(WIDTH, 4)
        for place, part in enumerate((self.embed, self.head)):
            part.weight.data = torch.randn(part.weight.shape, generator=torch.Generator().manual_seed(9 + place)) / 2

    def forward(self, x: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        x = self.embed(x)
        first = x
        if self.way == "zipped":
            for one, other in zip(self.blocks, self.more, strict=True):
                x = other(one(x, scale), scale)
            return self.head(self.norm(x - 0.1))
        for block in self.blocks:
            x = block(x, scale)
        if self.way == "joined":
            x = torch.cat([torch.ones(x.shape[0], 2, WIDTH), x], dim=1)
        for block in self.more:
            x = block(x, scale)
        if self.way == "joined":
            return self.head(self.norm(1.5 * x[:, 2:]))
        if self.way == "as a picture":
            return self.head(self.norm(x.unflatten(1, (1, 5)))).flatten(1, 2)
        if self.way == "in a table":
            return self.head(self.norms["2-1"](x))
        if self.way == "skip connection":
            x = x * first.sigmoid()
        if self.way == "between":
            x = x - 0.1
        if self.way == "first looked at":
            assert self.blocks[0].inner is not None
        if self.way == "added":
            x = x + 0.1 if len(self.more) else x
        if self.way == "indexed":
            assert self.more[0] is not None
        if self.way == "no tail":
            return x[..., :4].sin()
        if self.way == "outside":
            return self.head(self.norm(x)) * self.blocks[0](first, 1.0).mean(-1, keepdim=True) if len(self.blocks) else self.head(x)
        return self.head(self.norm(x))


class SideBySide(Dit):
    """Text has blocks of its own, which run first, as large as those of the picture."""

    def forward(self, x: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        x = self.embed(x)
        text = torch.ones(x.shape[0], 3, WIDTH)
        for one, other in zip(self.blocks, self.more, strict=True):
            text = one(text, scale)
            x = other(x, scale * float(text.mean()))
        return self.head(self.norm(x))


class UNet(nn.Module):
    """Pictures, not tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.downs = nn.ModuleList([nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)])
        self.ups = nn.ModuleList([nn.Conv2d(8, 4, 3, padding=1), nn.Conv2d(8, 4, 3, padding=1)])
        self.calls = 0

    def forward(self, x: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        self.calls += 1
        kept: list[torch.Tensor] = []
        for down in self.downs:
            x = down(x) * scale
            kept.append(x)
        for up in self.ups:
            x = up(torch.cat([x, kept.pop()], dim=1))
        return x


class Pair(UNet):
    """Predicts two things at once."""

    def forward(self, x: torch.Tensor, scale: float = 1.0) -> list[torch.Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        self.calls += 1
        return [self.downs[0](x), x.mean(dim=(2, 3))[:, :, None] * scale]


class Owner(nn.Module):
    """What a host holds its model in."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.diffusion_model = model

    def forward(self, x: torch.Tensor, scale: float) -> torch.Tensor:
        found = self.diffusion_model(x, scale)
        return found if isinstance(found, torch.Tensor) else torch.cat([part.flatten(1) for part in found], dim=1)


def pictures(seed: int = 0, rows: int = 2) -> torch.Tensor:
    return torch.randn(rows, 4, 6, 6, generator=torch.Generator().manual_seed(seed))


def tokens(seed: int = 0, rows: int = 2) -> torch.Tensor:
    return torch.randn(rows, 5, 4, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def run(model: nn.Module, x: torch.Tensor, pattern: str = "ccrcr") -> tuple[list[torch.Tensor], RunReport, Stack]:
    """Evaluations of the same input by a plan of one letter a step."""
    owner = Owner(model)
    before = {name: id(module) for name, module in owner.named_modules()}
    stack = stack_of(owner, "diffusion_model", model, None)
    sigmas = tuple(1 - step / 10 for step in range(len(pattern)))
    session = Session(Plan(sigmas, tuple(letter == "r" for letter in pattern), (0.0,) * len(pattern)), LABEL)
    seen = [
        run_evaluation(
            session,
            "call",
            sigma,
            CPU,
            lambda evaluation: run_forward(evaluation, stack, ["a", "b"], ["cond", "uncond"], CPU, lambda _: owner(x, 1.0)),
        )
        for sigma in sigmas
    ]
    assert {name: id(module) for name, module in owner.named_modules()} == before
    assert not any(module._forward_pre_hooks for module in owner.modules())
    return seen, session.close(), stack


@pytest.mark.parametrize(
    ("way", "tail"),
    [
        ("", "norm"),
        ("in place", "norm"),
        ("as a picture", "norm"),
        ("in a table", "norms.2-1"),
        ("skip connection", None),  # The tail gets something else than the last block returns.
        ("between", None),
        ("first looked at", None),  # Or the forward takes something of its first block.
        ("added", "norm"),  # Something is added within the loop over the blocks, such as a ControlNet's sample, after the last one.
    ],
)
def test_a_transformer_is_described_by_its_first_forward(way: str, tail: str | None):
    model = Dit(way)
    seen, report, stack = run(model, tokens())
    assert isinstance(stack, UnknownStack) and isinstance(stack.found, BlockStack)
    family = stack.found.family
    assert (family.name, family.blocks, family.streams[0].tail) == ("Dit", ("blocks", "more"), tail)
    assert report.reused == 2 and report.reuses == "blocks" and not report.disturbances
    for each in seen:
        torch.testing.assert_close(each, Owner(model)(tokens(), 1.0))


def test_the_stack_begins_with_the_blocks_of_the_picture():
    _, report, stack = run(SideBySide(), tokens())
    assert isinstance(stack, UnknownStack) and isinstance(stack.found, BlockStack)
    assert stack.found.family.blocks == ("more", "blocks")
    assert report.reused == 2 and not report.disturbances


@pytest.mark.parametrize("way", ["zipped", "joined", "indexed"])
def test_a_description_that_does_not_hold_is_not_used(way: str):
    model = Dit(way)
    seen, report, _ = run(model, tokens())
    assert report.reused == 0 and report.disturbances == (Disturbance.NOT_REPRODUCED,)
    assert all(torch.equal(each, seen[0]) for each in seen)


@pytest.mark.parametrize("way", ["no tail", "outside"])
def test_without_a_tail_the_prediction_is_reused_as_a_whole(way: str):
    _, report, stack = run(Dit(way), tokens())
    assert isinstance(stack, UnknownStack) and isinstance(stack.found, WholeModel)
    assert report.reuses == "prediction" and report.reused == 2


@pytest.mark.parametrize("kind", [UNet, Pair])
def test_the_prediction_of_another_model_is_reused_as_a_whole(kind: Callable[[], UNet]):
    model = kind()
    plain = Owner(model)(pictures(), 1.0).detach()
    model.calls = 0
    seen, report, _ = run(model, pictures())
    assert model.calls == 3 and report.reused == 2 and report.reuses == "prediction"
    assert all(torch.equal(each, plain) for each in seen)
    assert "the model's prediction is reused as a whole" in report.line()
    assert report.to_json()["reuses"] == "prediction"


@torch.no_grad()
def test_a_prediction_that_the_host_changes_in_place_is_kept_as_it_was():
    model, x = UNet(), pictures()
    owner = Owner(model)
    stack = stack_of(owner, "diffusion_model", model, None)
    plain = model(x)
    with stack.watched() as capture:
        owner(x, 1.0).mul_(0)
        residual = capture.residual
    assert residual is not None
    with stack.skipped(residual):
        owner(x, 1.0).mul_(0)
        assert torch.equal(owner(x, 1.0), plain)


def test_nothing_is_skipped_before_anything_was_watched():
    model = Dit()
    stack = stack_of(Owner(model), "diffusion_model", model, None)
    with pytest.raises(StaleResidualError, match="not watched yet"):
        stack.skipped((torch.zeros(1),))


@torch.no_grad()
def test_a_model_that_is_called_twice_in_its_first_forward_is_watched_once():
    model = Dit()
    owner = Owner(model)
    stack = stack_of(owner, "diffusion_model", model, None)
    with stack.watched() as capture:
        owner(tokens(), 1.0)
        owner(tokens(1), 1.0)
        assert capture.residual is None
