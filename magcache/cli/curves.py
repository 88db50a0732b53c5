"""`magcache curves`: the magnitude curves that come with MagCache."""

from __future__ import annotations

from typing import Any

from rich.box import SIMPLE
from rich.table import Table

from ..curves.curve import MagnitudeCurve
from ..curves.shipped import known_curves, load_curve
from .common import AsJson, console, print_json


def curves(as_json: AsJson = False) -> None:
    """List the magnitude curves that come with MagCache and the settings recommended for each."""
    rows = [_curve_facts(load_curve(name)) for name in known_curves()]
    if as_json:
        print_json(rows)
        return
    table = Table("model_type", "steps", "thresh", "retention", "K", box=SIMPLE)
    for row in rows:
        recommended: dict[str, float] = row["recommended"] or {}
        table.add_row(row["name"], str(row["steps"]), *map(str, recommended.values()))
    console.print(table)


def _curve_facts(curve: MagnitudeCurve) -> dict[str, Any]:
    preset = curve.preset
    return {
        "name": curve.name,
        "family": curve.family,
        "steps": curve.steps,
        "branches": list(curve.ratios),
        "recommended": preset and {"threshold": preset.threshold, "retention": preset.retention, "max_skip": preset.max_skip},
        "provenance": dict(curve.provenance),
    }
