"""Text files of bounded size, written in one piece, and JSON values checked for their kind.

The functions named after a kind (`number`, `whole`, `text`, …) return the value, or raise `TypeError` with what was expected and
what was given.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast
from uuid import uuid4


def read_text(path: str | os.PathLike[str], limit: int) -> str:
    """The text of a UTF-8 file of at most `limit` bytes.

    A larger file is refused before it is read. Raises `OSError` if it cannot be read and `ValueError` if it is too large or not
    UTF-8.
    """
    with Path(path).open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        data = file.read(limit + 1) if size <= limit else b""
    # A device or a pipe reports no size; only reading it tells.
    if max(size, len(data)) > limit:
        raise ValueError(f"it has {max(size, len(data)):,} bytes or more, and at most {limit:,} are read. Is it the right file?")
    return data.decode("utf-8-sig")


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a UTF-8 file in one piece: a reader finds the old file or the new one, never half of it. Raises `OSError`."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{uuid4().hex}")
    try:
        with part.open("x", encoding="utf-8") as file:
            file.write(text)
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def shown(value: object) -> str:
    """`value` for a message, or only the name of its type if its text could be very long."""
    plain = value is None or isinstance(value, str | float) or (isinstance(value, int) and value.bit_length() < 64)
    return f"{value!r:.60}" if plain else type(value).__name__


def number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"expected a number, got {shown(value)}")
    try:
        return float(value)
    except OverflowError:
        raise TypeError("expected a number that fits into 64 bits") from None


def whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"expected a whole number, got {shown(value)}")
    if value.bit_length() >= 64:
        raise TypeError("expected a whole number that fits into 64 bits")
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
    """An object of lists of numbers."""
    return {branch: floats(values) for branch, values in mapping(value).items()}


def rows(value: object) -> tuple[tuple[float, ...], ...]:
    """A list of lists of numbers."""
    return tuple(floats(row) for row in items(value))
