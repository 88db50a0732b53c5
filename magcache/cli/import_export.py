"""`magcache import` and `magcache export`: curves from published lists of ratios, and lists from curves."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from ..curves.curve import check_name
from ..curves.ratio_lists import Form, Layout, export_ratios, import_curve
from ..documents import write_text
from ..errors import MagCacheError
from .common import console, errors_as_messages, find_curve


def import_list(
    file: Annotated[Path, typer.Argument(help="A text file with the list: Python, NumPy, torch or JSON. Nothing in it is executed.")],
    name: Annotated[str, typer.Option(help="Name of the curve; of several lists in the file, the one with this label is taken.")],
    family: Annotated[str, typer.Option(help="The architecture, such as flux, wan or qwen_image.")],
    shift: Annotated[float, typer.Option(help="Shift of the run that was measured.")] = 1.0,
    branches: Annotated[Layout | None, typer.Option(help="One ratio a step, or two interleaved; detected if left out.")] = None,
    out: Annotated[Path | None, typer.Option(help="The curve file; NAME.json if left out.")] = None,
) -> None:
    """Make a curve file of a published list of magnitude ratios."""
    with errors_as_messages():
        curve = import_curve(file, name=check_name(name), family=family, shift=shift, layout=branches)
        path = out or Path(f"{curve.name}.json")
        _write(path, curve.save)
        console.print(
            f"{escape(str(path))}: {curve.steps} steps, {' and '.join(curve.ratios)}. The sigmas are reconstructed for shift {shift:g}.",
            soft_wrap=True,
        )


def export_list(
    curve: Annotated[str, typer.Argument(help="A curve's name, or a curve file.")],
    form: Annotated[Form, typer.Option("--format", help="The program that will read the list.")],
    steps: Annotated[int | None, typer.Option(min=2, max=10_000, help="Steps of the list; the curve's own if left out.")] = None,
    out: Annotated[Path | None, typer.Option(help="A file to write; printed if left out.")] = None,
) -> None:
    """Write a curve's ratios as a list for other programs."""
    with errors_as_messages():
        text = export_ratios(find_curve(curve, steps), form, steps) + "\n"
        if out is None:
            sys.stdout.write(text)
        else:
            _write(out, lambda path: write_text(path, text))


def _write(path: Path, write: Callable[[Path], None]) -> None:
    try:
        write(path)
    except (OSError, ValueError) as error:
        raise MagCacheError(f"{path} could not be written: {error}. Choose a file in a folder that can be written to.") from None
