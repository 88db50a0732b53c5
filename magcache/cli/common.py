"""What several commands share: options, finding a curve, output and errors."""

from __future__ import annotations

import json
import sys
from collections.abc import Generator
from contextlib import contextmanager
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
"""Where ComfyUI listens by default."""
_INTERRUPTED = 130
"""The exit status of a program that Ctrl-C ended."""


@contextmanager
def errors_as_messages(extra: str = "cli") -> Generator[None, None, None]:
    """Show an expected error as one line instead of a traceback, and exit: with status 1, or 130 after Ctrl-C.

    `extra` names the extra of the package that the command needs.
    """
    try:
        yield
    except MagCacheError as error:
        print_error(str(error))
        raise typer.Exit(1) from None
    except ModuleNotFoundError as error:
        print_error(f'{error.name} is not installed. Run: pip install "magcache[{extra}]"')
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        print_error("stopped by Ctrl-C.")
        raise typer.Exit(_INTERRUPTED) from None


def find_curve(given: str, steps: int | None) -> MagnitudeCurve:
    """The shipped curve or the curve file that `given` names. Raises `CurveError`."""
    if given in known_curves():
        return load_curve(given, steps)
    if _is_file(given):
        return MagnitudeCurve.load(given)
    raise CurveError(f"{given!r:.200} is neither a curve file nor a known curve: {', '.join(known_curves())}.")


def print_json(facts: object) -> None:
    sys.stdout.write(json.dumps(facts, indent=1) + "\n")


def print_error(message: str) -> None:
    """Print one line to stderr."""
    # A message may quote user input that looks like Rich's markup.
    Console(stderr=True).print(f"[red]Error:[/red] {escape(message)}", highlight=False, soft_wrap=True)


def _is_file(given: str) -> bool:
    try:
        return Path(given).is_file()
    except (OSError, ValueError):  # It cannot be a path: it is too long, for example.
        return False
