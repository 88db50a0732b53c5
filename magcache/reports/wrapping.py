"""Lines of a text that are no wider than there is room, also in Chinese and Japanese."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from .wording import BETWEEN

_PIECES = re.compile(r"[（「“]*[\u2e80-\uffef][、。，：；！？）」”]*\s*|[^\s\u2e80-\uffef]+(?:\s·)?\s*|\s+")
"""What a line may be broken into: words, and Chinese and Japanese letters with their punctuation."""


def wrapped(line: str, columns: int) -> list[str]:
    """`line` in lines of at most `columns` letters: broken between the parts of a status, within a long part between words."""
    lines, room = [""], columns
    for piece in _pieces(line, columns):
        if width_of(piece.rstrip()) > room and lines[-1]:
            lines, room = [*lines, ""], columns
        lines[-1] += piece
        room -= width_of(piece)
    return [each.rstrip() for each in lines]


def width_of(text: str) -> int:
    """The width of `text` in Latin letters: Chinese and Japanese ones are as wide as two."""
    return sum(1 + (unicodedata.east_asian_width(letter) in "WF") for letter in text)


def _pieces(line: str, columns: int) -> Iterator[str]:
    """The parts of a status; of a part that does not fit into a line, its words."""
    for part in re.findall(rf".*?{BETWEEN}|.+$", line):
        yield from [part] if width_of(part.rstrip()) < columns else _PIECES.findall(part)
