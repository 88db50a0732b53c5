"""What must hold for every transformer. A new family is covered as soon as `zoo.EVERY` has a model of it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace

import pytest
import torch
from torch import nn

from magcache.diffusers.families import FAMILIES
from magcache.runtime.block_stack import CANNOT_SKIP, BlockStack
from magcache.runtime.discovery import described
from magcache.runtime.family import Family, children, find_family
from magcache.runtime.residuals import Residual
from magcache.runtime.self_check import same_output, same_tokens

from .tiny import Case
from .zoo import EVERY

PREDICTS_BY_A_CONSTANT = {"PriorTransformer"}
"""What is predicted is read off a token that enters the blocks the same at every step: its residual is all there is."""
WRONG_TAILS = 2
"""How many are tried on each model."""


@pytest.fixture(params=EVERY)
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    """A tiny model and its arguments. Whatever a test does with it, its modules must be back in their places afterwards."""
    found = EVERY[request.param]
    before = structure(found.model)
    yield found
    assert structure(found.model) == before
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in found.model.modules())


def structure(model: nn.Module) -> tuple[dict[str, int], list[str]]:
    """Which module is where, and the names in the state dict."""
    return {name: id(module) for name, module in model.named_modules()}, list(model.state_dict())


def family_of(case: Case) -> Family:
    family = find_family(FAMILIES, case.model)
    assert family is not None
    return family


def apart(one: list[torch.Tensor], other: list[torch.Tensor]) -> float:
    """The largest difference between two outputs, relative to the largest value of the first."""
    assert [part.shape for part in one] == [part.shape for part in other]
    pairs = [(first.float(), second.float()) for first, second in zip(one, other, strict=True) if first.numel()]
    return max(float((first - second).abs().max()) for first, second in pairs) / max(float(first.abs().max()) for first, _ in pairs)


def rows_of(case: Case) -> int:
    """How many samples are in its batch; 1 for Cosmos 3, which has no batch."""
    arguments = case.arguments()
    return len(arguments.get("hidden_states", arguments.get("x", [None])))


def exact(case: Case) -> float:
    """The difference that rounding makes."""
    return 1e-5 if case.dtype == torch.float32 else 2e-2


def skipped(case: Case, stack: BlockStack, residual: Residual) -> list[torch.Tensor]:
    with stack.skipped(residual):
        return case()


@contextmanager
def counted(model: nn.Module, family: Family) -> Iterator[list[str]]:
    """Within: the paths of the blocks that run."""
    ran: list[str] = []
    with ExitStack() as removed:
        for path in family.blocks:
            for name, block in children(model.get_submodule(path)).items():
                assert block is not None
                hook = block.register_forward_pre_hook(lambda *_, path=f"{path}.{name}": ran.append(path))
                removed.callback(hook.remove)
        yield ran


def accepted(case: Case, stack: BlockStack) -> tuple[bool, list[torch.Tensor] | None]:
    """Whether the self-check lets a description pass, and what a skip returns; as `runtime.forward` checks it."""
    plain = case.plain
    with stack.watched() as capture:
        assert all(map(torch.equal, plain, case())), "watching changes nothing, whatever the description"
        residual = capture.residual
        if residual is None:
            return False, None
        try:
            again = skipped(case, stack, residual)
        except CANNOT_SKIP:
            return False, None
        holds = same_tokens(stack.met(), residual[0].device)
        if stack.compares_outputs:
            holds = holds & same_output(plain, again, residual[0].dtype)
    return bool(holds), again


def test_every_class_of_a_family_has_a_tiny_model():
    built = {type(case.model).__name__ for case in EVERY.values()}
    assert {name for family in FAMILIES for name in family.classes} == built


def test_watching_changes_nothing(case: Case):
    plain, stack = case.plain, BlockStack(case.model, family_of(case))
    assert all(bool(part.isfinite().all()) for part in plain)
    with stack.watched() as capture:
        watched = case()
        assert capture.residual is not None and not capture.skipped
        rows = {part.shape[0] for part in capture.residual}
    assert all(map(torch.equal, plain, watched))
    assert len(rows) == 1 and rows.pop() % rows_of(case) == 0, "several for each sample where frames are rows, as in Latte"


def test_a_skip_puts_back_what_the_blocks_did(case: Case):
    family = family_of(case)
    stack, plain = BlockStack(case.model, family), case.plain
    with stack.watched() as capture:
        case()
        residual = capture.residual
        assert residual is not None
        again = skipped(case, stack, residual)
        assert same_tokens(stack.met(), torch.device("cpu"))
        assert same_output(plain, again, residual[0].dtype)
    assert apart(plain, again) <= exact(case)
    with counted(case.model, family) as ran:
        afterwards = skipped(case, stack, residual)
        empty = skipped(case, stack, tuple(torch.zeros_like(part) for part in residual))
        assert ran == []
    assert apart(plain, afterwards) <= exact(case)
    assert apart(plain, empty) > 10 * exact(case), "the blocks must be seen in the output"


def test_other_tokens_get_the_residual_of_the_earlier_ones(case: Case):
    stack = BlockStack(case.model, family_of(case))
    with stack.watched() as capture:
        case(0)
        residual = capture.residual
    assert residual is not None
    with stack.skipped(residual):
        moved = case(1)
    assert apart(case(1), moved) > exact(case)
    assert apart(case.plain, moved) > exact(case) or type(case.model).__name__ in PREDICTS_BY_A_CONSTANT


def test_a_wrong_description_is_refused(case: Case):
    """Of the modules that get something after the blocks one is taken for the tail, or no module. What the check lets pass is right."""
    family = family_of(case)
    tails: list[str | None] = [path for path in _after_the_blocks(case, family) if path not in family.streams[0].tails]
    for tail in random.Random(0).sample([*tails, None], min(WRONG_TAILS, len(tails) + 1)):
        passes, again = accepted(case, BlockStack(case.model, _with_tail(family, tail)))
        assert not passes or (again is not None and apart(case.plain, again) <= 10 * exact(case)), tail


@pytest.mark.parametrize(("name", "tail"), [("flux", "proj_out"), ("kandinsky5 with sparse attention", "out_layer"), ("flux2", "proj_out")])
def test_some_descriptions_are_wrong(name: str, tail: str):
    case = EVERY[name]
    passes, again = accepted(case, BlockStack(case.model, _with_tail(family_of(case), tail)))
    assert not passes and again is not None and apart(case.plain, again) > 0.01


def _with_tail(family: Family, tail: str | None) -> Family:
    return replace(family, streams=(replace(family.streams[0], tail=tail), *family.streams[1:]))


def _after_the_blocks(case: Case, family: Family) -> list[str]:
    """Paths of modules that get a tensor of three dimensions or more after the last block."""
    found: list[str] = []

    def note(path: str, given: object) -> None:
        if any(path.startswith(f"{own}.") for own in family.blocks):
            found.clear()
        elif isinstance(given, torch.Tensor) and given.ndim >= 3:
            found.append(path)

    with ExitStack() as removed:
        for path, module in case.model.named_modules():
            hook = module.register_forward_pre_hook(lambda _, args, path=path: note(path, args[0] if args else None))
            removed.callback(hook.remove)
        case()
    return found


def test_an_unknown_class_is_described_by_watching_it(case: Case):
    """Without its family. What the self-check lets pass is right; what it refuses is run in full."""
    plain, description = described(case.model, case)
    again, passes = plain, False
    if description is not None:
        stack = BlockStack(case.model, description.family)
        residual = stack.take_in(description.first, description.last)
        assert residual is not None
        with suppress(*CANNOT_SKIP):
            again = skipped(case, stack, residual)
            passes = bool(same_tokens(stack.met(), torch.device("cpu")) & same_output(plain, again, residual[0].dtype))
    assert apart(plain, again) <= exact(case) or not passes
    assert passes or not case.found
