"""`magcache import` and `magcache export`: curves from published lists of ratios, and lists from curves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from ..curves.names import file_stem
from ..curves.ratio_lists import Form, Layout, export_ratios, import_curve
from ..curves.shipped import check_own_name
from ..documents import write_text
from ..errors import MagCacheError
from .common import console, errors_as_messages, print_line
from .curve_names import check_family, complete_curve, complete_family, find_curve
from .files import existing_file
from .import_checks import check_branches, checked_shift


def import_list(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A text file with the list: Python, NumPy, torch or JSON. Nothing in it is executed.")
    ],
    name: Annotated[
        str, typer.Option(metavar="NAME", help="Name of the curve; of several lists in the file, the one with this label is taken.")
    ],
    family: Annotated[
        str, typer.Option(metavar="FAMILY", help="The architecture, such as flux, wan or qwen_image.", autocompletion=complete_family)
    ],
    shift: Annotated[
        float | None,
        typer.Option(metavar="S", help="Shift of the run that was measured, as in its ModelSampling node; for flux 1.15 if left out."),
    ] = None,
    branches: Annotated[Layout | None, typer.Option(help="One ratio a step, or two interleaved; detected if left out.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="PATH", help="The curve file; NAME.json if left out.")] = None,
) -> None:
    """Make a curve file of a published list of magnitude ratios."""
    with errors_as_messages():
        source, used = existing_file(file), checked_shift(check_family(family), shift)
        curve = import_curve(source, name=check_own_name(name), family=family, shift=used.plain, layout=branches)
        check_branches(curve, branches)
        path = out or Path(f"{file_stem(curve.name)}.json")
        replaced = " It replaces the file that was there." if path.exists() else ""
        _write(path, curve.save)
        found = "as given" if branches else "as detected"
        text = f"{path}: {curve.steps} steps, {' and '.join(curve.ratios)} ({found}). The sigmas are reconstructed {used}.{replaced}"
        console.print(escape(text), soft_wrap=True, highlight=False)


def export_list(
    curve: Annotated[str, typer.Argument(metavar="NAME_OR_FILE", help="A curve's name, or a curve file.", autocompletion=complete_curve)],
    form: Annotated[Form, typer.Option("--format", help="The program that will read the list.")],
    steps: Annotated[
        int | None, typer.Option(metavar="N", min=2, max=10_000, help="Steps of the list; the curve's own if left out.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="PATH", help="A file to write; printed if left out.")] = None,
) -> None:
    """Write a curve's ratios as a list for other programs."""
    with errors_as_messages():
        text = export_ratios(find_curve(curve, steps), form, steps)
        if out is None:
            print_line(text)
        else:
            _write(out, lambda path: write_text(path, f"{text}\n"))


def _write(path: Path, write: Callable[[Path], None]) -> None:
    try:
        write(path)
    except (OSError, ValueError) as error:
        raise MagCacheError(f"{path} could not be written: {error}. Choose a file in a folder that can be written to.") from None
