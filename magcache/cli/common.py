"""What several commands share: options, output and errors."""

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

from ..errors import MagCacheError
from .extras import missing

console = Console()
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
WorkflowFile = Annotated[Path, typer.Argument(metavar="WORKFLOW.json", help="A workflow from ComfyUI's menu: File → Export (API).")]
ServerAddress = Annotated[str, typer.Option(metavar="URL", help="The ComfyUI to use.")]
LOCAL_SERVER = "http://127.0.0.1:8188"
"""Where ComfyUI listens by default."""
_FAILED, _CALLED_WRONGLY, _INTERRUPTED = 1, 2, 130
"""Exit statuses. 130 is that of a program that Ctrl-C ended."""


class UsageError(MagCacheError):
    """The command was called with options that contradict each other, or with a file that is not there."""


@contextmanager
def errors_as_messages(extra: str = "cli") -> Generator[None, None, None]:
    """Show an expected error as one line instead of a traceback, and exit.

    The status is 1; 2 if the command was called wrongly or a package is missing; 130 after Ctrl-C. `extra` names the extra of the
    package that the command needs.
    """
    try:
        yield
    except UsageError as error:
        print_error(str(error))
        raise typer.Exit(_CALLED_WRONGLY) from None
    except MagCacheError as error:
        print_error(str(error))
        raise typer.Exit(_FAILED) from None
    except ModuleNotFoundError as error:
        if str(error.name).startswith("magcache"):
            raise
        print_error(missing(error.name, extra))
        raise typer.Exit(_CALLED_WRONGLY) from None
    except KeyboardInterrupt:
        print_error("stopped by Ctrl-C.")
        raise typer.Exit(_INTERRUPTED) from None


def refuse_together(why: str, **options: object) -> None:
    """Raise `UsageError` if more than one of these options was given, that is, is not None. `why` follows a colon."""
    given = [f"--{name.replace('_', '-')}" for name, value in options.items() if value is not None]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} contradict each other: {why}. Leave one of them out.")


def print_json(facts: object) -> None:
    print_line(json.dumps(facts, indent=1))


def print_line(text: str) -> None:
    """Print to stdout as it is: neither wrapped nor coloured."""
    sys.stdout.write(f"{text}\n")


def print_note(message: str) -> None:
    """Print one line to stderr that is no error, so that stdout stays clean."""
    Console(stderr=True).print(escape(message), highlight=False, soft_wrap=True)


def print_error(message: str) -> None:
    """Print one line to stderr."""
    # A message may quote user input that looks like Rich's markup.
    Console(stderr=True).print(f"[red]Error:[/red] {escape(message)}", highlight=False, soft_wrap=True)
