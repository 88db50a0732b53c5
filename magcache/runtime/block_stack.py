"""Run a model's own forward with its block stack watched or skipped.

Only entries of `_modules` are exchanged, for the time of one forward: they are what the forward looks up, and what torch.compile's
guards watch.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

import torch
from torch import nn

from ..reports.run_report import Reused
from .family import Family, children, submodule
from .residuals import Residual
from .stand_ins import AddingTail, FirstBlock, LastBlock, OneBlock, Passed, StandIn, Watch, WatchingTail, shared

Shard = Callable[[torch.Tensor, nn.Module, str], torch.Tensor]
"""The part that this process computes of a stream's tokens, given the first block, which divides them, and the name of the tokens
among its arguments."""


CANNOT_SKIP = (RuntimeError, TypeError, ValueError, LookupError, AttributeError, NameError)
"""What a forward may raise that cannot do without its blocks: it asks for a block that is not there, or for what a block has set."""


class Capture:
    """What one watched forward has shown."""

    def __init__(self, watches: list[Watch]) -> None:
        self._watches = watches

    @property
    def residual(self) -> Residual | None:
        """The residual of all streams; None unless every stream was seen at its first block and exactly once after the last one.

        That of a stream that takes no part in the forward has no tokens: (rows, 0, 1).
        """
        seen = [watch.residual for watch in self._watches if watch.last_calls == 1 and watch.residual is not None]
        if not seen or len(seen) < sum(not watch.absent for watch in self._watches):
            return None
        nothing = seen[0].new_empty(seen[0].shape[0], 0, 1)
        return tuple(nothing if watch.residual is None else watch.residual for watch in self._watches)

    @property
    def skipped(self) -> bool:
        """Whether neither the first block nor a tail was called: somebody else skipped this forward."""
        return all(watch.first is None and not watch.missing and watch.last_calls == 0 for watch in self._watches)


class BlockStack:
    """The block stack of one model, for the time of one run. A forward runs either `watched` or `skipped`, one at a time."""

    reuses: Reused = "blocks"
    """What is reused."""

    def __init__(self, model: nn.Module, family: Family, shard: Shard | None = None) -> None:
        """`shard` is for a model whose first block divides the tokens among processes: a skipped forward has none that could."""
        self.model = model
        self.checked = False
        """Whether a skip was compared with the step it was taken from, in this run."""
        self.family = family
        self._watches = [Watch(stream) for stream in family.streams]
        paths = [f"{path}.{name}" for path in family.blocks for name in children(_module(model, path))]
        self._first_path, self._last_path = paths[0], paths[-1]
        tailless = [watch for watch in self._watches if watch.stream.tail is None]
        self._passed = Passed() if tailless else None
        self._first_block = FirstBlock(_module(model, self._first_path), self._watches, self._passed)
        self._last_block = LastBlock(_module(model, self._last_path), tailless) if tailless else None
        tails: dict[str, list[Watch]] = {}
        for watch in self._watches:
            watch.shard = None if shard is None else partial(self._here, shard, watch.stream.hidden)
            for tail in _present(model, watch.stream.tails):
                tails.setdefault(tail, []).append(watch)
        self._watching = {path: WatchingTail(_module(model, path), watches) for path, watches in tails.items()}
        self._skipping: dict[str, nn.Module] = {path: _emptied(_module(model, path)) for path in family.blocks}
        self._skipping.update({path: AddingTail(_module(model, path), watches) for path, watches in tails.items()})
        if self._passed is not None:
            owner, _, name = self._first_path.rpartition(".")
            one = OneBlock(_module(model, self._first_path), tailless[0], self._passed)
            self._skipping[owner] = _emptied(_module(model, owner), {name: one})

    @property
    def compares_outputs(self) -> bool:
        """Whether the model's output is needed to see that a skip is right: there is no tail whose input shows it."""
        return self._passed is not None

    def take_in(self, first: torch.Tensor, last: torch.Tensor) -> Residual | None:
        """The residual of a forward that somebody else watched, as if it had been watched here."""
        self.forget()
        for watch in self._watches:
            watch.note_first(first)
            watch.note_last(last)
        return Capture(self._watches).residual

    @contextmanager
    def watched(self) -> Generator[Capture, None, None]:
        """Within: the forward runs in full and the capture is filled. It is empty again afterwards."""
        self.forget()
        stand_ins: dict[str, StandIn] = {self._first_path: self._first_block, **self._watching}
        self._look_up_first()
        if self._last_block is not None:
            alone = self._first_path == self._last_path
            self._last_block.__dict__["real"] = self._first_block if alone else _module(self.model, self._last_path)
            stand_ins[self._last_path] = self._last_block
        try:
            with _swapped(self.model, stand_ins):
                yield Capture(self._watches)
        finally:
            self.forget()

    def forget(self) -> None:
        """Let go of what was seen."""
        for watch in self._watches:
            watch.clear()

    @contextmanager
    def skipped(self, residual: Residual) -> Generator[None, None, None]:
        """Within: the forward runs without its blocks, with `residual` added in their place. May raise `StaleResidualError`."""
        for watch, stream in zip(self._watches, residual, strict=True):
            watch.reused = stream
        self._look_up_first()
        try:
            with _swapped(self.model, self._skipping):
                yield
        finally:
            for watch in self._watches:
                watch.let_go()

    def _look_up_first(self) -> None:
        """Find the first block: whatever stands there now, such as a block that was compiled on its own for this forward."""
        standing = _module(self.model, self._first_path)
        if standing is not self._first_block and standing is not self._last_block:  # Else this is a skip within a watched forward.
            self._first_block.__dict__["real"] = standing

    def _here(self, shard: Shard, name: str, tokens: torch.Tensor) -> torch.Tensor:
        return shard(tokens, self._first_block.real, name)

    def met(self) -> list[tuple[torch.Tensor, torch.Tensor] | None]:
        """After a watched forward and a skipped one within it: for each stream the tokens that its residual was taken from, and those
        that it was added to; None if the skipped forward showed none that fit."""
        return [
            None if watch.first is None or watch.unchanged is None else shared(watch.first, watch.unchanged, watch.stream)
            for watch in self._watches
            if not watch.absent
        ]


def _present(model: nn.Module, paths: Sequence[str]) -> Sequence[str]:
    """Those of alternative paths that the model has, and of a table its entries; all paths if it has none, so that they are missed."""
    found = {path: module for path in paths if (module := submodule(model, path)) is not None}
    tables = {path: [*children(module)] if isinstance(module, nn.ModuleDict) else [] for path, module in found.items()}
    return [each for path in found for each in ([f"{path}.{name}" for name in tables[path]] or [path])] or paths


def _emptied(blocks: nn.Module, instead: dict[str, nn.Module] | None = None) -> nn.Module:
    """A list of blocks, or a table of them, with these instead of its own."""
    if isinstance(blocks, nn.ModuleDict):
        return nn.ModuleDict(instead or {})
    return nn.ModuleList((instead or {}).values())


def _module(model: nn.Module, path: str) -> nn.Module:
    found = submodule(model, path)
    if found is None:
        raise LookupError(f"The model has no module {path}.")
    return found


@contextmanager
def _swapped(model: nn.Module, stand_ins: Mapping[str, nn.Module]) -> Generator[None, None, None]:
    """Within: the modules at these dotted paths are the stand-ins."""
    with ExitStack() as restored:
        for path, stand_in in stand_ins.items():
            owner_path, _, name = path.rpartition(".")
            entries = children(_module(model, owner_path) if owner_path else model)
            restored.callback(entries.__setitem__, name, entries[name])
            entries[name] = stand_in
        yield
