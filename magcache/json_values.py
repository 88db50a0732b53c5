"""Values of a JSON document, each checked for its kind; a `TypeError` says what was expected and what was there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast


def shown(value: object) -> str:
    """`value`, or only its kind where its text could be endless."""
    plain = value is None or isinstance(value, str | float) or (isinstance(value, int) and value.bit_length() < 64)
    return f"{value!r:.60}" if plain else type(value).__name__


def number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"expected a number, got {shown(value)}")
    try:
        return float(value)
    except OverflowError:
        raise TypeError("expected a number of ordinary size") from None


def whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"expected a whole number, got {shown(value)}")
    if value.bit_length() >= 64:
        raise TypeError("expected a whole number of ordinary size")
    return value


def text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a text, got {shown(value)}")
    return value


def mapping(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"expected an object, got {shown(value)}")
    return cast("dict[str, Any]", value)


def items(value: object) -> Sequence[object]:
    if not isinstance(value, list | tuple):
        raise TypeError(f"expected a list of numbers, got {shown(value)}")
    return cast("Sequence[object]", value)


def floats(value: object) -> tuple[float, ...]:
    return tuple(number(item) for item in items(value))


def table(value: object) -> dict[str, tuple[float, ...]]:
    return {branch: floats(values) for branch, values in mapping(value).items()}


def rows(value: object) -> tuple[tuple[float, ...], ...]:
    return tuple(floats(row) for row in items(value))
