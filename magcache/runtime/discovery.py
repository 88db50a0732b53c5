"""Describe a transformer of an unknown class by watching one of its forwards.

Its blocks are in its largest lists of modules, its tokens enter the first block that runs, and its tail is the first module beside the
lists that gets tokens after the last block has run. A description is a guess: `self_check` tells whether it holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import torch
from torch import nn

from .family import Family, Stream

_MAIN_SHARE = 0.25
"""A list belongs to the stack if it has at least this part of the parameters of the largest one."""
_NAMES = ("hidden_states", "x", "img", "image", "hidden", "tokens")
"""Names under which blocks take their tokens."""


@dataclass(frozen=True, slots=True)
class Description:
    """A family of one class, with the tokens that were seen when it was described."""

    family: Family
    first: torch.Tensor
    last: torch.Tensor


def described(model: nn.Module, forward: Callable[[], Any]) -> tuple[Any, Description | None]:
    """What `forward`, which runs `model`, returns, and what it shows of the model; None if the model has no stack of blocks."""
    lists, seen = _main_lists(model), _Seen()
    with ExitStack() as removed:

        def follow(module: nn.Module, hook: Callable[..., None]) -> None:
            removed.callback(module.register_forward_pre_hook(hook, with_kwargs=True).remove)

        for path, blocks in lists.items():
            for block in blocks:
                follow(block, partial(seen.enter_block, path))
        for path in {path.rpartition(".")[0] for path in lists}:
            for name, child in model.get_submodule(path).named_children():
                below = f"{path}.{name}".lstrip(".")
                if not any(f"{main}.".startswith(f"{below}.") for main in lists):
                    follow(child, partial(seen.enter_tail, below))
        result = forward()
    return result, _description(model, seen)


def unknown_family(model: nn.Module) -> Family:
    """Stands for the family of a model of an unknown class until it is described."""
    return Family(type(model).__name__, (type(model).__name__,), (), ())


@dataclass
class _Seen:
    """What one forward showed."""

    lists: list[str] = field(default_factory=list[str])
    """Paths of the lists in the order in which they ran."""
    stream: Stream | None = None
    first: torch.Tensor | None = None
    tail: str | None = None
    last: torch.Tensor | None = None

    def enter_block(self, path: str, block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A block of the list at `path` is called."""
        if not self.lists and (found := _tokens(args, kwargs)) is not None:
            self.stream, self.first = found[0], found[1].clone()
        if path not in self.lists:
            self.lists.append(path)
        self.tail = self.last = None  # What was called between blocks is no tail.

    def enter_tail(self, path: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A module beside the lists is called."""
        tokens = args[0] if args else None
        if self.lists and self.tail is None and isinstance(tokens, torch.Tensor) and tokens.ndim == 3:
            self.tail, self.last = path, tokens.clone()


def _main_lists(model: nn.Module) -> dict[str, nn.ModuleList]:
    """The largest lists of modules by path; a list within another is a part of it."""
    modules = cast("Iterable[tuple[str, nn.Module]]", model.named_modules())
    lists = {path: module for path, module in modules if isinstance(module, nn.ModuleList) and len(module) > 1}
    outer = {path: found for path, found in lists.items() if not any(path.startswith(f"{other}.") for other in lists)}
    sizes = {path: sum(parameter.numel() for parameter in found.parameters()) for path, found in outer.items()}
    return {path: outer[path] for path, size in sizes.items() if size >= _MAIN_SHARE * max(sizes.values())}


def _tokens(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Stream, torch.Tensor] | None:
    """The tokens among the arguments of a block; None if there are none."""
    for name in _NAMES:
        if isinstance(kwargs.get(name), torch.Tensor) and kwargs[name].ndim == 3:
            return Stream(name, None), kwargs[name]
    if args and isinstance(args[0], torch.Tensor) and args[0].ndim == 3:
        return Stream("", None), args[0]
    return None


def _description(model: nn.Module, seen: _Seen) -> Description | None:
    """What follows from a forward; None if tokens were not followed from the first block to a tail."""
    if seen.stream is None or seen.first is None or seen.tail is None or seen.last is None:
        return None
    if seen.first.shape[0] != seen.last.shape[0] or seen.first.shape[-1] != seen.last.shape[-1]:
        return None
    kind = type(model).__name__
    stream = Stream(seen.stream.hidden, seen.tail, align="end")
    return Description(Family(kind, (kind,), tuple(seen.lists), (stream,)), seen.first, seen.last)
