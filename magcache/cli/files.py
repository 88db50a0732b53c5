"""Files and folders that are given to commands: those that must be there, and those that must not be overwritten."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

from .common import UsageError, print_note

_REPORT = ("index.html", "result.json")
"""Files that every report has."""


def existing_file(path: Path) -> Path:
    """The path of a file that is there. Raises `UsageError` if nothing is there, or a folder."""
    try:
        if path.is_dir():
            raise UsageError(f"{path} is a folder, not a file. Name a file in it.")
        if not path.exists():
            raise UsageError(f"There is no file {_shown(path)}. The current folder is {Path.cwd()}.")
    except (OSError, ValueError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"{_shown(path)} cannot be a file: {error}.") from None
    return path


def numbered(path: Path) -> Iterator[Path]:
    """The path, then names beside it: `flux.bench`, `flux.bench-2`, `flux.bench-3`, …; `flux.json`, `flux-2.json`, …"""
    yield path
    path = path if path.name not in ("", "..") else path.resolve()
    name, ending = (path.stem, path.suffix) if path.suffix == ".json" else (path.name, "")
    for number in count(2):
        yield path.with_name(f"{name}-{number}{ending}")


def report_folder(wanted: Path) -> Path:
    """The first of the numbered folders without a report. Says so if it is not the one that was wanted."""
    folder = next(each for each in numbered(wanted) if not has_report(each))
    if folder != wanted:
        print_note(f"{wanted} holds an earlier report, which is kept. This one goes to {folder}.")
    return folder


def has_report(folder: Path) -> bool:
    return any((folder / name).exists() for name in _REPORT)


def free_file(path: Path) -> Path:
    """The first of the numbered paths where no file is."""
    return next(each for each in numbered(path) if not each.exists())


def _shown(path: Path) -> str:
    return f"{str(path)!r:.200}"
