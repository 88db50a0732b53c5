"""`magcache models`: the models of ComfyUI, or of diffusers, that MagCache speeds up."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE
from rich.table import Table

from ..curves.shipped import known_curves, load_curve
from .common import AsJson, console, errors_as_messages, print_json

if TYPE_CHECKING:
    from ..runtime.family import Family


def models(
    diffusers: Annotated[bool, typer.Option("--diffusers", help="List the transformers of diffusers instead.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the models of ComfyUI that MagCache speeds up, or those of diffusers, and what each was tested with."""
    with errors_as_messages("diffusers"):  # Both lists need torch, and this is the smallest extra that has it.
        if diffusers:
            from ..diffusers.families import FAMILIES
        else:
            from ..comfyui.families import FAMILIES
        curves = _curves_by_family()
        rows = [_facts(group, curves[name]) for name, group in _by_name(FAMILIES).items()]
    if as_json:
        print_json(rows)
        return
    table = Table("family", "models", box=SIMPLE, padding=(0, 1, 1, 0))
    for row in rows:
        table.add_row(row["family"], f"{', '.join(row['models'])}\n[dim]{_details(row)}[/dim]")
    console.print(table)
    first_run = "the first run of their pipeline, and so do other transformers" if diffusers else "the first run with MagCache Auto"
    console.print(f"Models without a curve calibrate themselves in {first_run}.")


def _details(row: dict[str, Any]) -> str:
    """The rest of a row in one line."""
    reused = f"{row['streams']} stream" if row["streams"] == "1" else row["streams"]
    curves = f"curves {', '.join(row['curves'])} · " if row["curves"] else ""
    return f"{curves}reuses {reused} · tested with {row['tested']} · class {', '.join(row['classes'])}"


def _curves_by_family() -> defaultdict[str, list[str]]:
    """Names of the shipped curves of each family."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for name in known_curves():
        found[load_curve(name).family].append(name)
    return found


def _by_name(families: Sequence[Family]) -> dict[str, list[Family]]:
    """Families of one name: they share their curves."""
    found: dict[str, list[Family]] = {}
    for family in families:
        found.setdefault(family.name, []).append(family)
    return found


def _facts(group: Sequence[Family], curves: Sequence[str]) -> dict[str, Any]:
    """What is known of the families of one name."""
    return {
        "family": group[0].name,
        "models": [model for family in group for model in family.models],
        "classes": [name for family in group for name in family.classes],
        "curves": list(curves),
        "streams": " / ".join(dict.fromkeys(map(_streams, group))),
        "tested": "tiny random weights" + (" + published curve" if curves else ""),
    }


def _streams(family: Family) -> str:
    """What is reused: the tokens by their names, or their number where they need none."""
    if not family.blocks:
        return "whole prediction"
    names = [stream.name for stream in family.streams]
    return ", ".join(names) if all(names) else str(len(names))
