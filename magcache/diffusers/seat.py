"""Where MagCache sits on a model of diffusers: in torch's own slot for "call this instead", which torch.compile uses too.

The slot is the outermost place of a call. accelerate, PEFT and diffusers' hooks do not touch it, torch leaves it out of copies and
pickles, and the class of the model stays what it is.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import nn

COMPILED = "_orig_mod"
"""Where torch.compile keeps the module that it compiled."""
_SLOT = "_compiled_call_impl"
_COMPILE, _CONTEXT, _END = "compile", "cache_context", "_reset_stateful_cache"


class Listener(Protocol):
    """What is told of the calls of a model."""

    def forward(self, model: nn.Module, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Is called instead of the model; `call` runs it."""
        ...

    def enter_context(self, name: str | None) -> None:
        """The pipeline says which of its predictions the next forwards are for, such as `cond`; None: it does not say any more."""
        ...

    def end_call(self) -> None:
        """The pipeline has done its work."""
        ...


class Seat:
    """Stands in the slot of `model`. `inner` is what torch.compile had put there, None if nothing."""

    def __init__(self, model: nn.Module, listener: Listener, inner: Callable[..., Any] | None) -> None:
        self.model = model
        self.listener = listener
        self.inner = inner

    @torch.compiler.disable  # pyright: ignore[reportUntypedFunctionDecorator] - a decision is no part of a graph
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.listener.forward(self.model, self.inner or self.model._call_impl, args, kwargs)


class _Overheard:
    """Stands for a method of one model. A copy of the model gets the plain method: it has no seat."""

    def __init__(self, model: nn.Module, name: str, listener: Listener) -> None:
        self.model = model
        self.name = name
        self.listener = listener

    @property
    def plain(self) -> Callable[..., Any] | None:
        """The method of the model's class."""
        found = getattr(type(self.model), self.name, None)
        return found and found.__get__(self.model)

    def __reduce__(self) -> tuple[Any, ...]:
        return (getattr, (self.model, self.name)) if self.plain else (_no_method, ())


class _Compile(_Overheard):
    """Compiling the model later keeps the seat."""

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        assert self.plain is not None
        self.plain(*args, **kwargs)
        vars(self.model)[_SLOT] = Seat(self.model, self.listener, vars(self.model)[_SLOT])


class _Context(_Overheard):
    """diffusers' `cache_context`, overheard."""

    @contextmanager
    def __call__(self, name: str, **kwargs: Any) -> Generator[None, None, None]:
        assert self.plain is not None
        self.listener.enter_context(name)
        try:
            with self.plain(name, **kwargs):
                yield
        finally:
            self.listener.enter_context(None)


class _End(_Overheard):
    """Every pipeline asks each of its parts for this method as its last act, whether its class has it or not."""

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        self.listener.end_call()
        if self.plain is not None:
            self.plain(*args, **kwargs)


def take_seat(model: nn.Module, listener: Listener) -> None:
    """Put `listener` in front of a model."""
    own = vars(model)
    own[_SLOT] = Seat(model, listener, own.get(_SLOT))
    own[_COMPILE] = _Compile(model, _COMPILE, listener)
    own[_END] = _End(model, _END, listener)
    if hasattr(type(model), _CONTEXT):
        own[_CONTEXT] = _Context(model, _CONTEXT, listener)


def leave_seat(model: nn.Module) -> None:
    """Take away whoever is in front of a model. It stays compiled if it was."""
    seat = seat_of(model)
    if seat is None:
        return
    own = vars(seat.model)
    if seat.inner is None:
        del own[_SLOT]
    else:
        own[_SLOT] = seat.inner
    for name in (_COMPILE, _CONTEXT, _END):
        if isinstance(own.get(name), _Overheard):
            del own[name]


def seat_of(model: nn.Module) -> Seat | None:
    """Who sits in front of a model, or in front of the one that torch.compile has wrapped since."""
    found = [vars(each).get(_SLOT) for each in (model, bare(model))]
    return next((seat for seat in found if isinstance(seat, Seat)), None)


def bare(model: nn.Module) -> nn.Module:
    """The module that torch.compile compiled, or the module itself."""
    found = getattr(model, COMPILED, model)
    assert isinstance(found, nn.Module)
    return found


def _no_method(*args: Any, **kwargs: Any) -> None:
    """A copy of a model whose class lacks the method."""
