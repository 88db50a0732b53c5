"""`magcache models`: the models of ComfyUI that MagCache speeds up."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.table import Table

from ..curves.shipped import known_curves, load_curve
from .common import AsJson, console, errors_as_messages, print_json

if TYPE_CHECKING:
    from ..runtime.family import Family

_COLUMNS = ("models", "classes", "curves", "streams", "tested")


def models(as_json: AsJson = False) -> None:
    """List the models of ComfyUI that MagCache speeds up, and what each was tested with."""
    with errors_as_messages("demo"):
        from ..comfyui.families import FAMILIES

        curves = _curves_by_family()
        rows = [_facts(family, curves[family.name]) for family in FAMILIES]
    if as_json:
        print_json(rows)
        return
    table = Table(box=SIMPLE, padding=(0, 1, 1, 0))
    for name in _COLUMNS:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(", ".join(row["models"]), "\n".join(row["classes"]), "\n".join(row["curves"]), row["streams"], row["tested"])
    console.print(table)
    console.print("Models without a curve calibrate themselves in the first run with MagCache Auto.")


def _curves_by_family() -> defaultdict[str, list[str]]:
    """Names of the shipped curves of each family."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for name in known_curves():
        found[load_curve(name).family].append(name)
    return found


def _facts(family: Family, curves: Sequence[str]) -> dict[str, Any]:
    return {
        "family": family.name,
        "models": list(family.models),
        "classes": list(family.classes),
        "curves": list(curves),
        "streams": _streams(family),
        "tested": "tiny random weights" + (" + published curve" if curves else ""),
    }


def _streams(family: Family) -> str:
    """What is reused: the tokens by their names, or their number where they need none."""
    if not family.blocks:
        return "whole prediction"
    names = [stream.name for stream in family.streams]
    return ", ".join(names) if all(names) else str(len(names))
