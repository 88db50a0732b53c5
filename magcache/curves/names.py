"""Names of curves, in any script, and the file names that are made of them."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from ..errors import CurveError
from ..texts import Text

MOST_CHARACTERS = 200
_AUTO = "auto"
_PLAIN = re.compile(r"(?!(?i:con|prn|aux|nul|com\d|lpt\d)(?:\.|$))[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""Names that are file names as they are, on every system: without a device of Windows (con, nul, com1, …)."""
_MARK = "~"
"""Ends the readable part of a file name that had to be made. No plain name contains it."""
_READABLE_BYTES = 80
_JOINERS = "\u200c\u200d"
"""Invisible, but parts of words in Persian and Indian scripts, and of emoji."""
_PART = r"(?:-below[\d.]+|-[\d.]+-to-[\d.]+)?"
"""What a calibration of a part of a schedule adds to a name."""


def check_name(name: str) -> str:
    """`name` as it is kept: composed characters (NFC), single spaces between words. Raises `CurveError` if it cannot name a curve."""
    kept = " ".join(unicodedata.normalize("NFC", name).split())
    if not 1 <= len(kept) <= MOST_CHARACTERS or kept == _AUTO or any(map(_unseen, kept)):
        raise CurveError(
            Text(
                "{name} cannot name a curve: use 1 to {most} visible characters of any script. 'auto' is taken: it stands for the curve "
                "that fits the model.",
                name=f"{name!r:.120}",
                most=MOST_CHARACTERS,
            )
        )
    return kept


def file_stem(name: str) -> str:
    """The file name, without `.json`, for a curve of this name: valid and the same on every system, and within its folder."""
    return name if _PLAIN.fullmatch(name) else marked_stem(name)


def marked_stem(name: str) -> str:
    """A file name that no other curve has: what can be kept of `name`, and eight digits that stand for all of it."""
    letters = "".join(each if _is_letter(each) else "_" for each in name)
    readable = re.sub("^-|__+", "_", letters).encode()[:_READABLE_BYTES].decode(errors="ignore")
    return f"{readable}{_end(name)}"


def name_of(stem: str, inner: str | None) -> str:
    """The name of the curve in a file, by its file name and the name that is written in it; None if that is not known."""
    return inner if inner is not None and stem.endswith(_end(inner)) else stem


def may_be_made(stem: str) -> bool:
    """Whether a file name may have been made, so that only the file tells the name of its curve."""
    return _MARK in stem


def is_automatic(name: str, provenance: Mapping[str, Any]) -> bool:
    """Whether a calibration was named by MagCache and not by the user. Files of before tell it by their name alone."""
    named = provenance.get("named")
    if isinstance(named, bool):
        return not named
    digits = str(provenance.get("fingerprint", ""))[:8]
    return bool(digits) and re.fullmatch(rf".+-{re.escape(digits)}{_PART}", name) is not None


def _end(name: str) -> str:
    return _MARK + hashlib.sha256(name.encode()).hexdigest()[:8]


def _is_letter(character: str) -> bool:
    return character in "-_" or character.isalnum() or unicodedata.category(character).startswith("M")


def _unseen(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf", "Cs") and character not in _JOINERS
