"""Magnitude curves as JSON documents (format `magcache.curve`)."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, cast

from ..documents import floats, items, mapping, number, rows, shown, table, text, whole
from ..errors import CurveError, SettingsError
from ..settings import ThresholdSettings
from ..texts import Text
from .propagation import GROWING, Propagation, Source

if TYPE_CHECKING:
    from .curve import MagnitudeCurve

FORMAT, VERSION = "magcache.curve", 2
MAX_BYTES = 64 * 2**20
"""Curve files are some hundred kilobytes; all products of a thousand steps would still fit."""
_TEXT = r'"(?:[^"\\]|\\.)*"'
_HEAD = re.compile(rf'\s*\{{\s*"format":\s*"{FORMAT}",\s*"version":\s*\d+,\s*"name":\s*({_TEXT}),\s*"family":\s*({_TEXT})')
"""The beginning of a file that `document_of` made."""


def head_of(text: str) -> tuple[str, str] | None:
    """Name and family of a curve by the beginning of its file; None if that was not written by MagCache."""
    found = _HEAD.match(text)
    try:
        return None if found is None else (str(json.loads(found[1])), str(json.loads(found[2])))
    except ValueError:
        return None


def document_of(curve: MagnitudeCurve) -> dict[str, Any]:
    """A JSON object from which `fields_of` reads an equal curve."""
    document: dict[str, Any] = {"format": FORMAT, "version": VERSION, "name": curve.name, "family": curve.family}
    document["sigmas"] = list(curve.sigmas)
    document["ratios"] = {branch: list(values) for branch, values in curve.ratios.items()}
    if curve.products:
        document["products"] = {",".join(pair): [list(row) for row in matrix] for pair, matrix in curve.products.items()}
    for title in ("masked", "vetoes"):
        if values := getattr(curve, title):
            document[title] = list(values)
    if curve.gate is not None:
        document["gate"] = curve.gate
    if preset := curve.preset:
        document["preset"] = {"threshold": preset.threshold, "retention": preset.retention, "max_skip": preset.max_skip}
    document["propagation"] = _propagation_document(curve.propagation)
    document["provenance"] = dict(curve.provenance)
    return document


def fields_of(document: object, source: str) -> dict[str, Any]:
    """The fields of a `MagnitudeCurve` from a JSON object. `source` names it in errors. Raises `CurveError`.

    Files of earlier versions may hold `spread` and `distance`, which nothing reads any more.
    """
    given = cast("dict[str, Any]", document) if isinstance(document, dict) else {}
    if given.get("format") != FORMAT:
        raise CurveError(
            Text('{source} is not a MagCache curve: expected a JSON object with "format": "{format}".', source=source, format=FORMAT)
        )
    version = given.get("version")
    if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version <= VERSION:
        raise CurveError(
            Text(
                "{source} has version {version}; this MagCache reads up to {newest}. Update MagCache or calibrate again.",
                source=source,
                version=shown(version),
                newest=VERSION,
            )
        )
    try:
        preset = given.get("preset")
        return {
            "name": text(given["name"]),
            "family": text(given["family"]),
            "sigmas": floats(given["sigmas"]),
            "ratios": table(given["ratios"]),
            "products": _products(given.get("products", {})),
            "masked": tuple(whole(step) for step in items(given.get("masked", ()))),
            "vetoes": floats(given.get("vetoes", ())),
            "gate": None if given.get("gate") is None else number(given["gate"]),
            "preset": None if preset is None else _preset(mapping(preset)),
            "propagation": propagation_from_json(mapping(given["propagation"])) if "propagation" in given else GROWING,
            "provenance": mapping(given.get("provenance", {})),
        }
    except KeyError as missing:
        raise CurveError(Text("{source} lacks {part}. Calibrate again to make a complete file.", source=source, part=missing)) from None
    except (TypeError, SettingsError, CurveError) as wrong:
        raise CurveError(
            Text("{source} holds a value that cannot be used: {wrong}.", source=source, wrong=str(wrong).rstrip("."))
        ) from None


def _products(value: object) -> dict[tuple[str, str], tuple[tuple[float, ...], ...]]:
    products: dict[tuple[str, str], tuple[tuple[float, ...], ...]] = {}
    for pair, matrix in mapping(value).items():
        one, _, other = pair.partition(",")
        products[one, other] = rows(matrix)
    return products


def propagation_from_json(fields: dict[str, Any]) -> Propagation:
    """Raises `KeyError`, `TypeError` or `CurveError` if they describe none."""
    source: Source = text(fields["source"])  # pyright: ignore[reportAssignmentType] - checked by Propagation
    numbers = {title: number(fields[title]) for title in ("growth", "shape", "stride", "coherence")}
    return Propagation(**numbers, source=source, trials=rows(fields.get("trials", ())))


def _propagation_document(propagation: Propagation) -> dict[str, Any]:
    document = asdict(propagation)
    document["trials"] = [list(row) for row in propagation.trials]
    return document if propagation.trials else {title: value for title, value in document.items() if title != "trials"}


def _preset(fields: dict[str, Any]) -> ThresholdSettings:
    return ThresholdSettings(
        threshold=number(fields["threshold"]), max_skip=whole(fields["max_skip"]), retention=number(fields["retention"])
    )
