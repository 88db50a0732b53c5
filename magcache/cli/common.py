"""What every command needs: where it writes, which curve is meant, and how it fails."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from ..curves.curve import MagnitudeCurve
from ..curves.shipped import known_curves, load_curve
from ..errors import CurveError, MagCacheError

console = Console()
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
WorkflowFile = Annotated[Path, typer.Argument(metavar="WORKFLOW.json", help="A workflow from ComfyUI's Workflow → Export (API).")]
ServerAddress = Annotated[str, typer.Option(metavar="URL", help="The ComfyUI to use.")]
LOCAL_SERVER = "http://127.0.0.1:8188"
"""Where ComfyUI listens by itself."""
_INTERRUPTED = 130
"""The status that shells give to what Ctrl-C ended."""


class errors_as_messages:  # noqa: N801
    """Shows an expected error as one line instead of a traceback, and ends with status 1.

    `extra` names what has to be installed for the command.
    """

    def __init__(self, extra: str = "cli") -> None:
        self._extra = extra

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, MagCacheError):
            complain(str(error))
            raise typer.Exit(1)
        if isinstance(error, ModuleNotFoundError):
            complain(f'{error.name} is not installed. Run: pip install "magcache[{self._extra}]"')
            raise typer.Exit(1)
        if isinstance(error, KeyboardInterrupt):
            complain("stopped by Ctrl-C.")
            raise typer.Exit(_INTERRUPTED)


def find_curve(given: str, steps: int | None) -> MagnitudeCurve:
    """The shipped curve or the curve file that `given` names. Raises `CurveError`."""
    if given in known_curves():
        return load_curve(given, steps)
    if _is_file(given):
        return MagnitudeCurve.load(given)
    raise CurveError(f"{given!r:.200} is neither a curve file nor a known curve: {', '.join(known_curves())}.")


def print_json(facts: object) -> None:
    sys.stdout.write(json.dumps(facts, indent=1) + "\n")


def complain(message: str) -> None:
    """One line on stderr."""
    # A message may quote what was typed, and that may look like markup.
    Console(stderr=True).print(f"[red]Error:[/red] {escape(message)}", highlight=False, soft_wrap=True)


def _is_file(given: str) -> bool:
    try:
        return Path(given).is_file()
    except (OSError, ValueError):  # Too long for a path, say.
        return False
