"""Text files of a known greatest size, read whole and written in one piece."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import uuid4


def read_text(path: str | os.PathLike[str], limit: int) -> str:
    """The text of a UTF-8 file of at most `limit` bytes.

    A larger one is refused before it is read. Raises `OSError` when it cannot be read and `ValueError` when it is too large or not
    UTF-8.
    """
    with Path(path).open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        data = file.read(limit + 1) if size <= limit else b""
    # Where the system tells no size (a device, a pipe) only the reading shows it.
    if max(size, len(data)) > limit:
        raise ValueError(f"it has {max(size, len(data)):,} bytes or more, and at most {limit:,} are read. Is it the right file?")
    return data.decode("utf-8-sig")


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a UTF-8 file in one piece: a reader finds the old file or the new one, never half of it.

    Makes the folder if there is none. Raises `OSError` when it cannot be written.
    """
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
