"""Run a model's own forward with its block stack watched or skipped.

Only entries of `_modules` are exchanged, for the time of one forward: they are what the forward looks up, and what torch.compile's
guards watch.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from .family import Family, Stream, children, submodule
from .residuals import Residual, StaleResidualError


@dataclass
class _Watch:
    """What one watched forward has shown of a stream. Written by the stand-ins, also within a compiled forward."""

    stream: Stream
    first: torch.Tensor | None = None
    """Tokens that entered the first block."""
    residual: torch.Tensor | None = None
    tail_calls: int = 0
    tail_dtype: torch.dtype | None = None
    """Type in which the tail gets the tokens; kept from forward to forward."""

    def clear(self) -> None:
        self.first, self.residual, self.tail_calls = None, None, 0


class Capture:
    """What one watched forward has shown."""

    def __init__(self, watches: list[_Watch]) -> None:
        self._watches = watches

    @property
    def residual(self) -> Residual | None:
        """The residual of all streams; None unless every stream was seen at its first block and exactly once at its tail."""
        seen = [watch.residual for watch in self._watches if watch.tail_calls == 1 and watch.residual is not None]
        return tuple(seen) if len(seen) == len(self._watches) else None

    @property
    def skipped(self) -> bool:
        """Whether neither the first block nor a tail was called: somebody else skipped this forward."""
        return all(watch.first is None and watch.tail_calls == 0 for watch in self._watches)


class _StandIn(nn.Module):
    """Stands in for `real` without owning it: parameters, hooks and state dict stay where they are."""

    real: nn.Module

    def __init__(self, real: nn.Module) -> None:
        super().__init__()
        self.__dict__["real"] = real


class _FirstBlock(_StandIn):
    """Notes the tokens that enter the stack. Copies of them: several models change them in place later."""

    def __init__(self, real: nn.Module, watches: list[_Watch]) -> None:
        super().__init__(real)
        self.watches = watches

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        for watch in self.watches:
            stream = watch.stream
            tokens = kwargs.get(stream.hidden, args[stream.position] if len(args) > stream.position else None)
            if isinstance(tokens, torch.Tensor):  # Else the block takes something else than its family says: nothing is recorded.
                watch.first = tokens.clone()
        return self.real(*args, **kwargs)


class _WatchingTail(_StandIn):
    """Notes how the stack changed the tokens of a stream."""

    def __init__(self, real: nn.Module, watch: _Watch) -> None:
        super().__init__(real)
        self.watch = watch

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        watch, first = self.watch, self.watch.first
        watch.tail_calls += 1
        tokens = args[0] if args else None
        if first is not None and isinstance(tokens, torch.Tensor):
            watch.tail_dtype = tokens.dtype
            if first.shape[2:] == tokens.shape[2:] and first.shape[1] >= tokens.shape[1]:
                dropped = first.shape[1] - tokens.shape[1]
                kept = first[:, dropped:] if watch.stream.align == "end" else first[:, : tokens.shape[1]]
                watch.residual = (tokens - kept).to(first.dtype)
        return self.real(*args, **kwargs)


class _AddingTail(_StandIn):
    """Adds the residual of an earlier step in place of the stack."""

    def __init__(self, real: nn.Module, watch: _Watch) -> None:
        super().__init__(real)
        self.watch = watch
        self.residual: torch.Tensor | None = None

    def forward(self, tokens: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if self.residual is None or self.residual.shape != tokens.shape or self.watch.tail_dtype != tokens.dtype:
            raise StaleResidualError("the residual does not fit the tokens of this step")
        return self.real(tokens + self.residual.to(tokens.dtype), *args, **kwargs)


class BlockStack:
    """The block stack of one model, for the time of one run. A forward runs either `watched` or `skipped`, one at a time."""

    def __init__(self, model: nn.Module, family: Family) -> None:
        self.model = model
        self.family = family
        first_list = next(path for path in family.blocks if submodule(model, f"{path}.0") is not None)
        self._first_path = f"{first_list}.0"
        self._watches = [_Watch(stream) for stream in family.streams]
        self._first_block = _FirstBlock(_module(model, self._first_path), self._watches)
        tails = {watch.stream.tail: watch for watch in self._watches}
        self._watching = {path: _WatchingTail(_module(model, path), watch) for path, watch in tails.items()}
        self._adding = {path: _AddingTail(_module(model, path), watch) for path, watch in tails.items()}
        self._empty = {path: nn.ModuleList() for path in family.blocks}

    @contextmanager
    def watched(self) -> Generator[Capture, None, None]:
        """Within: the forward runs in full and the capture is filled. It is empty again afterwards."""
        self._forget()
        # Whatever stands there now, such as a block that was compiled on its own for this forward.
        self._first_block.__dict__["real"] = _module(self.model, self._first_path)
        try:
            with _swapped(self.model, {self._first_path: self._first_block, **self._watching}):
                yield Capture(self._watches)
        finally:
            self._forget()

    def _forget(self) -> None:
        for watch in self._watches:
            watch.clear()

    @contextmanager
    def skipped(self, residual: Residual) -> Generator[None, None, None]:
        """Within: the forward runs without its blocks, with `residual` added in their place. May raise `StaleResidualError`."""
        for tail, stream in zip(self._adding.values(), residual, strict=True):
            tail.residual = stream
        try:
            with _swapped(self.model, {**self._empty, **self._adding}):
                yield
        finally:
            for tail in self._adding.values():
                tail.residual = None


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
