"""Modules that stand in for a model's own for one forward: they note its tokens, or put a residual in the place of its blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn

from .family import Stream
from .residuals import StaleResidualError


@dataclass
class Watch:
    """What the forwards have shown of a stream. Written by the stand-ins, also within a compiled forward."""

    stream: Stream
    shard: Callable[[torch.Tensor], torch.Tensor] | None = None
    """The part of the first block's tokens that is computed here, where the first block divides them among several devices."""
    first: torch.Tensor | None = None
    """Tokens that entered the first block, rows first."""
    missing: bool = False
    """Whether the first block was called without tokens of this stream."""
    residual: torch.Tensor | None = None
    last_calls: int = 0
    """How often the tokens after the last block were seen."""
    last_dtype: torch.dtype | None = None
    """Their type; kept from forward to forward."""
    reused: torch.Tensor | None = None
    """The residual that a skipped forward adds."""
    unchanged: torch.Tensor | None = None
    """Tokens that met it, before it was added."""

    @property
    def absent(self) -> bool:
        """Whether the stream took no part in the forward, such as the sound where there is none."""
        return self.missing and self.last_calls == 0

    def clear(self) -> None:
        self.first, self.residual, self.last_calls, self.unchanged, self.missing = None, None, 0, None, False

    def let_go(self) -> None:
        """A skipped forward is over. Within a watched one its tokens are looked at afterwards."""
        self.reused = None
        if self.first is None:
            self.unchanged = None

    def note_first(self, tokens: object) -> None:
        self.missing = tokens is None
        if isinstance(tokens, torch.Tensor):  # Else the block takes something else than its family says: nothing is recorded.
            self.first = rows_first(self._here(tokens), self.stream).clone()

    def note_last(self, tokens: object, bounds: slice | None = None) -> None:
        """`tokens` come from the last block; those within `bounds` are the stream's. The residual is made to be added to them."""
        self.last_calls += 1
        if self.first is None or not isinstance(tokens, torch.Tensor):
            return
        last = rows_first(tokens, self.stream)
        if bounds is not None:
            self.first, last = self.first[:, bounds], last[:, bounds]
        self.last_dtype = tokens.dtype
        place = self.first.shape if self.stream.tail is None else last.shape
        self.residual = _change(self.first, last, self.stream, place)

    def add(self, tokens: torch.Tensor, bounds: slice | None = None) -> torch.Tensor:
        """`tokens` as if the blocks had run. Raises `StaleResidualError` if the residual does not fit them."""
        whole = rows_first(self._here(tokens), self.stream)
        own = whole if bounds is None else whole[:, bounds]
        wrong_type = self.stream.tail is not None and self.last_dtype != tokens.dtype
        if self.reused is None or self.reused.shape != own.shape or wrong_type:
            raise StaleResidualError("the residual does not fit the tokens of this step")
        self.unchanged = own
        added = own + self.reused.to(own.dtype)
        if bounds is not None:
            added = torch.cat([whole[:, : bounds.start], added, whole[:, bounds.stop :]], dim=1)
        return added[0] if tokens.ndim == 2 else added.movedim(0, self.stream.batch)

    def _here(self, tokens: torch.Tensor) -> torch.Tensor:
        return tokens if self.shard is None else self.shard(tokens)

    def bounds(self, args: Sequence[Any]) -> slice | None:
        """The part of the tail's tokens that is the stream's, by the tail's arguments; None if it is all of them."""
        return None if self.stream.segment is None else slice(*args[self.stream.segment][:2])


def rows_first(tokens: torch.Tensor, stream: Stream) -> torch.Tensor:
    """A view of `tokens` with the rows of the batch in front. Two-dimensional tokens are those of a single row."""
    return tokens[None] if tokens.ndim == 2 else tokens.movedim(stream.batch, 0)


def shared(first: torch.Tensor, last: torch.Tensor, stream: Stream) -> tuple[torch.Tensor, torch.Tensor] | None:
    """The tokens that `first` and `last` have in common, as (rows, tokens, channels); None if they do not fit together."""
    if first.ndim < 3 or last.ndim < 3 or first.shape[0] != last.shape[0] or first.shape[-1] != last.shape[-1]:
        return None
    one, other = first.flatten(1, -2), last.flatten(1, -2)
    count = min(one.shape[1], other.shape[1])
    if stream.align == "end":
        return one[:, one.shape[1] - count :], other[:, other.shape[1] - count :]
    return one[:, :count], other[:, :count]


def _change(first: torch.Tensor, last: torch.Tensor, stream: Stream, place: torch.Size) -> torch.Tensor | None:
    """`last` − `first` in the shape `place`, in the type of `first`; 0 for tokens that only one of them has."""
    if first.shape == last.shape:
        return (last - first).to(first.dtype)
    both = shared(first, last, stream)
    if both is None:
        return None
    change = (both[1] - both[0]).to(first.dtype)
    missing = place[1:-1].numel() - change.shape[1]
    padding = (0, 0, missing, 0) if stream.align == "end" else (0, 0, 0, missing)
    return nn.functional.pad(change, padding).reshape(place) if missing else change.reshape(place)


class StandIn(nn.Module):
    """Stands in for `real` without owning it: parameters, hooks and state dict stay where they are."""

    real: nn.Module

    def __init__(self, real: nn.Module) -> None:
        super().__init__()
        self.__dict__["real"] = real

    def __getattr__(self, name: str) -> Any:
        """Attributes that a model reads off its modules, such as `x_format` of Cosmos' blocks."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.__dict__["real"], name)

    def named_parameters(self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True) -> Iterator[tuple[str, nn.Parameter]]:
        """Those of `real`, for a model that asks a module for the type of its weights. A model's own list of parameters lacks them."""
        return self.real.named_parameters(prefix, recurse, remove_duplicate)


@dataclass
class Passed:
    """What a block returns beside its tokens, so that a stand-in can return the same."""

    arguments: list[int | str | None] | None = None
    """For each output the place or name of the argument that it was; None for the tokens. None if a block returns its tokens alone."""


class FirstBlock(StandIn):
    """Notes the tokens that enter the stack. Copies of them: several models change them in place later."""

    def __init__(self, real: nn.Module, watches: Sequence[Watch], passed: Passed | None) -> None:
        super().__init__(real)
        self.watches = watches
        self.passed = passed

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        seen: Watch | None = None
        for watch in self.watches:
            if seen is not None and watch.stream.segment is not None:
                watch.first = seen.first  # Parts of one sequence need one copy.
            else:
                watch.note_first(tokens_among(watch.stream, args, kwargs))
            seen = watch
        shapes = _shapes(args, kwargs)
        result = self.real(*args, **kwargs)
        if self.passed is not None:
            stream = self.watches[0].stream
            others = {name: shape for name, shape in shapes.items() if name not in (stream.hidden, stream.position)}
            outputs = several(result)
            self.passed.arguments = None if outputs is None else _matched(outputs, stream.index, others)
        return result


class LastBlock(StandIn):
    """Notes the tokens that leave the stack, where no module gets them."""

    def __init__(self, real: nn.Module, watches: Sequence[Watch]) -> None:
        super().__init__(real)
        self.watches = watches

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        result = self.real(*args, **kwargs)
        outputs = several(result)
        for watch in self.watches:
            watch.note_last(result if outputs is None else outputs[watch.stream.index])
        return result


class OneBlock(StandIn):
    """Stands in for all blocks: adds the residual to the tokens and passes on what else a block returns."""

    def __init__(self, real: nn.Module, watch: Watch, passed: Passed) -> None:
        super().__init__(real)
        self.watch = watch
        self.passed = passed

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        tokens = tokens_among(self.watch.stream, args, kwargs)
        if not isinstance(tokens, torch.Tensor):
            raise StaleResidualError("the blocks get other tokens than at the step that was recorded")
        added = self.watch.add(tokens)
        if self.passed.arguments is None:
            return added
        given: dict[int | str, Any] = {**dict(enumerate(args)), **kwargs}
        return tuple(added if name is None else given.get(name) for name in self.passed.arguments)


class WatchingTail(StandIn):
    """Notes how the stack changed the tokens of the streams that come here."""

    def __init__(self, real: nn.Module, watches: Sequence[Watch]) -> None:
        super().__init__(real)
        self.watches = watches

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        for watch in self.watches:
            watch.note_last(args[0] if args else None, watch.bounds(args))
        return self.real(*args, **kwargs)


class AddingTail(StandIn):
    """Adds the residual of an earlier step in place of the stack."""

    def __init__(self, real: nn.Module, watches: Sequence[Watch]) -> None:
        super().__init__(real)
        self.watches = watches

    def forward(self, tokens: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        for watch in self.watches:
            tokens = watch.add(tokens, watch.bounds((tokens, *args)))
        return self.real(tokens, *args, **kwargs)


def tokens_among(stream: Stream, args: Sequence[Any], kwargs: dict[str, Any]) -> object:
    """The tokens of a stream among the arguments of a block; None if they are not there."""
    tokens = kwargs.get(stream.hidden, args[stream.position] if len(args) > stream.position else None)
    parts = several(tokens)
    if parts is None:
        return tokens
    return parts[stream.index] if len(parts) > stream.index else None


def several(value: object) -> Sequence[Any] | None:
    """The parts of a tuple or list; None if it is something else."""
    return cast("Sequence[Any]", value) if isinstance(value, tuple | list) else None


def _shapes(args: Sequence[Any], kwargs: dict[str, Any]) -> dict[int | str, torch.Size]:
    given: dict[int | str, Any] = {**dict(enumerate(args)), **kwargs}
    return {name: value.shape for name, value in given.items() if isinstance(value, torch.Tensor)}


def _matched(result: Sequence[Any], index: int, shapes: dict[int | str, torch.Size]) -> list[int | str | None]:
    """For each output the first argument of its shape, which is the text's: it is not used after the stack. −1 if there is none."""
    found: list[int | str | None] = []
    for place, value in enumerate(result):
        fitting = [name for name, shape in shapes.items() if isinstance(value, torch.Tensor) and shape == value.shape]
        found.append(None if place == index else (fitting or [-1])[0])
    return found
