"""Curves that could not be written to a file, in memory."""

from __future__ import annotations

from pathlib import Path

from .curve import MagnitudeCurve


class UnsavedCurves:
    """Stands in for folders that cannot be written to, as long as it lives: what they could not take, by name."""

    def __init__(self) -> None:
        self._curves: dict[tuple[Path, ...], dict[str, MagnitudeCurve]] = {}

    def of(self, folders: tuple[Path, ...]) -> dict[str, MagnitudeCurve]:
        """The curves that the first of these folders could not take, the oldest first."""
        return self._curves.setdefault(folders, {})
