"""The curves that come with MagCache, one JSON file each, and what is known of models without one."""

from __future__ import annotations

import json
import re
from pathlib import Path

from ..documents import mapping
from ..errors import CurveError, UnknownCurveError
from ..texts import Text
from .codec import propagation_from_json
from .curve import MagnitudeCurve
from .names import check_name
from .propagation import Propagation

_FOLDER = Path(__file__).parent
_VARIANT = re.compile(r"(?P<name>.+)_(?P<steps>\d+)steps")


def known_curves() -> list[str]:
    """Names of the shipped curves, without the variants measured at another step count."""
    return sorted(name for name in _files() if not _VARIANT.fullmatch(name))


def load_curve(name: str, steps: int | None = None) -> MagnitudeCurve:
    """The shipped curve `name`; where it was measured at several step counts, the one for a run of `steps`.

    That is the one with the fewest steps that are not less than `steps`, or else the one with the most.
    Raises `UnknownCurveError`.
    """
    files = _files()
    if name not in files:
        raise UnknownCurveError(f"There is no curve named {name!r}. Known: {', '.join(known_curves())}.")
    curve = MagnitudeCurve.load(files[name])
    if steps is None or curve.steps >= steps:
        return curve
    variants = {int(found["steps"]): path for key, path in files.items() if (found := _VARIANT.fullmatch(key)) and found["name"] == name}
    longer = sorted(count for count in variants if count > curve.steps)
    chosen = next((count for count in longer if count >= steps), longer[-1] if longer else None)
    return curve if chosen is None else MagnitudeCurve.load(variants[chosen])


def check_own_name(name: str) -> str:
    """`name` as it is kept, if a user's own curve may have it: it must not hide a curve that comes with MagCache. Raises `CurveError`."""
    kept = check_name(name)
    if kept.casefold() in {known.casefold() for known in _files()}:
        raise CurveError(
            Text(
                "{name!r} is the name of a curve that comes with MagCache, and yours would hide it. Choose another name, such as "
                "'my {name}', or leave the name empty.",
                name=kept,
            )
        )
    return kept


def known_propagation(name: str | None, fingerprint: str) -> Propagation | None:
    """How errors propagate in the model that the shipped curve `name` belongs to, or else that has this fingerprint; None if unknown."""
    if name is not None:
        return load_curve(name).propagation
    for path in sorted((_FOLDER / "propagations").glob("*.json")):
        document = mapping(json.loads(path.read_text(encoding="utf-8")))
        if document["fingerprint"] == fingerprint:
            return propagation_from_json(mapping(document["propagation"]))
    return None


def _files() -> dict[str, Path]:
    return {path.stem: path for path in _FOLDER.glob("*.json")}
