"""Describe a transformer of an unknown class by watching one of its forwards.

Its blocks are in its largest lists of modules, its tokens enter the first block that runs, and its tail is the first module beside the
lists that gets tokens after the last block has run. If that does not hold, because something is done to the tokens before the tail or
because the forward looks at its first block, one block stands in for all of them. A description is a guess: `self_check` tells whether it
holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import torch
from torch import nn

from .block_stack import CANNOT_SKIP, BlockStack
from .family import Family, Stream
from .self_check import same_tokens

_MAIN_SHARE = 0.25
"""A list belongs to the stack if it has at least this part of the parameters of the largest one."""
_NAMES = ("hidden_states", "x", "img", "image", "hidden", "tokens", "visual_embed")
"""Names under which blocks take their tokens."""


@dataclass(frozen=True, slots=True)
class Description:
    """A family of one class, with the tokens that were seen when it was described."""

    family: Family
    first: torch.Tensor
    last: torch.Tensor


def described(model: nn.Module, forward: Callable[[], Any]) -> tuple[Any, Description | None]:
    """What `forward`, which runs `model`, returns, and what it shows of the model; None if the model has no stack of blocks.

    `forward` may be called a second time, without the model's blocks.
    """
    lists, seen = _main_lists(model), _Seen()
    with ExitStack() as removed:

        def follow(module: nn.Module, hook: Callable[..., None]) -> None:
            removed.callback(module.register_forward_pre_hook(hook, with_kwargs=True).remove)

        for path, blocks in lists.items():
            for block in blocks:
                follow(block, partial(seen.enter_block, path))
                removed.callback(block.register_forward_hook(seen.leave_block).remove)
        for path, module in _beside(model, lists):
            follow(module, partial(seen.enter_tail, path))
        result = forward()
    candidates = _descriptions(model, seen)
    if len(candidates) > 1 and not _holds(model, candidates[0], forward):
        candidates.pop(0)
    return result, candidates[0] if candidates else None


def unknown_family(model: nn.Module) -> Family:
    """Stands for the family of a model of an unknown class until it is described."""
    return Family(type(model).__name__, (type(model).__name__,), (), ())


@dataclass
class _Seen:
    """What one forward showed."""

    entered: dict[str, tuple[Stream, torch.Tensor] | None] = field(default_factory=dict[str, "tuple[Stream, torch.Tensor] | None"])
    """The tokens that first entered each list, by the paths of the lists in the order in which they ran; None if there were none."""
    left: object = None
    """What the last block returned."""
    tail: str | None = None
    last: torch.Tensor | None = None
    """The tokens that the tail got."""

    def enter_block(self, path: str, block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A block of the list at `path` is called."""
        if path not in self.entered:
            found = _tokens(args, kwargs)
            self.entered[path] = None if found is None else (found[0], found[1].clone())
        self.tail = self.last = None  # What was called between blocks is no tail.

    def leave_block(self, block: nn.Module, args: tuple[Any, ...], output: object) -> None:
        """A block has returned."""
        self.left = output

    def enter_tail(self, path: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A module beside the lists is called."""
        tokens = args[0] if args else None
        if not self.entered or self.tail is not None or not isinstance(tokens, torch.Tensor) or tokens.ndim < 3:
            return
        self.tail, self.last = path, tokens.clone()
        self.left = self.left.clone() if isinstance(self.left, torch.Tensor) else None


def _main_lists(model: nn.Module) -> dict[str, nn.ModuleList]:
    """The largest lists of modules by path; a list within another is a part of it."""
    modules = cast("Iterable[tuple[str, nn.Module]]", model.named_modules())
    lists = {path: module for path, module in modules if isinstance(module, nn.ModuleList) and len(module) > 1}
    outer = {path: found for path, found in lists.items() if not any(path.startswith(f"{other}.") for other in lists)}
    sizes = {path: sum(parameter.numel() for parameter in found.parameters()) for path, found in outer.items()}
    return {path: outer[path] for path, size in sizes.items() if size >= _MAIN_SHARE * max(sizes.values())}


def _beside(model: nn.Module, lists: Iterable[str]) -> Iterator[tuple[str, nn.Module]]:
    """The modules beside the lists, by path, and those of tables beside them."""
    for owner in dict.fromkeys(path.rpartition(".")[0] for path in lists):
        for name, child in model.get_submodule(owner).named_children():
            path = f"{owner}.{name}".lstrip(".")
            if any(f"{main}.".startswith(f"{path}.") for main in lists):
                continue
            yield path, child
            if isinstance(child, nn.ModuleDict):
                yield from ((f"{path}.{entry}", module) for entry, module in child.items())


def _tokens(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Stream, torch.Tensor] | None:
    """The tokens among the arguments of a block; None if there are none."""
    for name in _NAMES:
        if isinstance(kwargs.get(name), torch.Tensor) and kwargs[name].ndim == 3:
            return Stream(name, None), kwargs[name]
    if args and isinstance(args[0], torch.Tensor) and args[0].ndim == 3:
        return Stream("", None), args[0]
    return None


def _descriptions(model: nn.Module, seen: _Seen) -> list[Description]:
    """What may follow from a forward, the likeliest first; nothing if tokens were not followed from the first block to a tail."""
    last = seen.last
    if last is None:
        return []
    found = {path: entry for path, entry in seen.entered.items() if entry is not None and _fit(entry[1], last)}
    if not found:
        return []
    # Of lists that run side by side, the picture's is the one with as many tokens as the tail gets. The other ones are the text's.
    start = next((path for path, (_, first) in found.items() if first.shape[1:-1].numel() == last.shape[1:-1].numel()), next(iter(found)))
    stream, first = found[start]
    name, lists = type(model).__name__, (start, *(path for path in seen.entered if path != start))

    def described_by(tail: str | None, tokens: torch.Tensor) -> Description:
        return Description(Family(name, (name,), lists, (Stream(stream.hidden, tail),)), first, tokens)

    with_tail = described_by(seen.tail, last)
    if isinstance(seen.left, torch.Tensor) and seen.left.shape == first.shape:
        return [with_tail, described_by(None, seen.left)]
    return [with_tail]


def _holds(model: nn.Module, description: Description, forward: Callable[[], Any]) -> bool:
    """Whether the tail gets, without the blocks, the tokens that entered them. Waits for the device."""
    stack = BlockStack(model, description.family)
    residual = stack.take_in(description.first, description.last)
    if residual is None:
        return False
    try:
        with stack.skipped(residual):
            forward()
    except CANNOT_SKIP:
        return False
    return bool(same_tokens(stack.met(), residual[0].device))


def _fit(first: torch.Tensor, last: torch.Tensor) -> bool:
    """Whether both have the same rows and channels."""
    return first.shape[0] == last.shape[0] and first.shape[-1] == last.shape[-1]
