"""What every command needs: where it writes, which curve is meant, and how it fails."""

from __future__ import annotations

from pathlib import Path

import typer
from rich.console import Console
from rich.markup import escape

from ..curve import MagnitudeCurve
from ..curves import known_curves, load_curve
from ..errors import CurveError, MagCacheError

console = Console()


class errors_as_messages:  # noqa: N801
    """Shows an expected error as one line instead of a traceback, and ends with status 1."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, MagCacheError):
            # A message may quote what was typed, and that may look like markup.
            Console(stderr=True).print(f"[red]Error:[/red] {escape(str(error))}", highlight=False, soft_wrap=True)
            raise typer.Exit(1)


def find_curve(given: str, steps: int | None) -> MagnitudeCurve:
    """The shipped curve or the curve file that `given` names. Raises `CurveError`."""
    if given in known_curves():
        return load_curve(given, steps)
    if _is_file(given):
        return MagnitudeCurve.load(given)
    raise CurveError(f"{given!r:.200} is neither a curve file nor a known curve: {', '.join(known_curves())}.")


def _is_file(given: str) -> bool:
    try:
        return Path(given).is_file()
    except (OSError, ValueError):  # Too long for a path, say.
        return False
