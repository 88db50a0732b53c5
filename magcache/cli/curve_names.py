"""Curves and families by the names that people type: found, explained when they are not there, and completed by the shell."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from ..curves.curve import MagnitudeCurve
from ..curves.family_names import FAMILY_NAMES
from ..curves.shipped import known_curves, load_curve
from .common import UsageError
from .files import existing_file


def find_curve(given: str, steps: int | None) -> MagnitudeCurve:
    """The shipped curve or the curve file that `given` names. Raises `UsageError`, and `CurveError` if the file holds no curve."""
    if given in known_curves():
        return load_curve(given, steps)
    if _is_file(given):
        return MagnitudeCurve.load(given)
    if given.endswith(".json") or "/" in given or "\\" in given:
        existing_file(Path(given))
    raise UsageError(f"{given!r:.200} is neither a curve file nor a known curve. {_suggested(given, known_curves())}")


def check_family(given: str) -> str:
    """The name of a family. Raises `UsageError` if there is none of that name."""
    if given not in FAMILY_NAMES:
        raise UsageError(f"There is no family {given!r:.200}. {_suggested(given, FAMILY_NAMES)} The command `magcache models` lists them.")
    return given


def complete_curve(incomplete: str) -> list[str]:
    """Names of curves, and files that may be one, that begin like this."""
    start = Path(incomplete)
    folder, beginning = (start, "") if incomplete.endswith("/") else (start.parent, start.name)
    try:
        paths = [path for path in sorted(folder.iterdir()) if path.name.startswith(beginning)]
        files = [f"{path}/" if path.is_dir() else str(path) for path in paths if path.is_dir() or path.suffix == ".json"]
    except OSError:
        files = []
    return [*(name for name in known_curves() if name.startswith(incomplete)), *files]


def complete_family(incomplete: str) -> list[str]:
    """Names of families that begin like this."""
    return [name for name in FAMILY_NAMES if name.startswith(incomplete)]


def _suggested(given: str, known: list[str] | tuple[str, ...]) -> str:
    """The names that look most like the one given, or else all of them."""
    near = get_close_matches(given[:100].lower(), known, n=3, cutoff=0.75)
    near = near or [name for name in known if given and name.startswith(given[:3].lower())][:3]
    return f"Did you mean {' or '.join(near)}?" if near else f"Known: {', '.join(known)}."


def _is_file(given: str) -> bool:
    try:
        return Path(given).is_file()
    except (OSError, ValueError):  # It cannot be a path: it is too long, for example.
        return False
