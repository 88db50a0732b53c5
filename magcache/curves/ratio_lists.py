"""Magnitude ratios as others publish them: lists in Python, NumPy or JSON, read into curves and written from curves.

Such a list tells nothing of its run but the number of steps, so the sigmas of an imported curve are reconstructed. Nothing in a file
is executed: numbers are looked for, the text around them is passed over.
"""

from __future__ import annotations

import ast
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from ..documents import floats, items, read_text
from ..errors import CurveError, SettingsError
from .codec import FORMAT
from .curve import MagnitudeCurve

MAX_BYTES, MAX_NUMBERS = 2**20, 20_000
"""Lists are a few kilobytes, program files around them some hundred; what is larger is something else."""
_SHIFTS = (0.01, 100.0)

_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_FLAT = rf"\[\s*{_NUMBER}(?:\s*,\s*{_NUMBER})*\s*(?:,\s*)?\]"
_LIST = rf"(?:\[\s*{_FLAT}(?:\s*,\s*{_FLAT})*\s*(?:,\s*)?\]|{_FLAT})"
_TIMES = r"(?:\s*\*\s*(\d{1,4})(?![\d.]))?"
_PART = re.compile(f"({_LIST}){_TIMES}")
_SUM = re.compile(rf"{_LIST}{_TIMES}(?:\s*\+\s*{_LIST}{_TIMES})*(?P<more>\s*[+*])?")
_LABEL = re.compile(r"[\"']?(?P<label>\w[\w.-]*)[\"']?(?:\s*[:=]\s*|\s+)(?:[A-Za-z_][\w.]*\(\s*)*$")
_BRANCH = re.compile(r"cond|uncond|ref|branch\d+")


class Layout(str, Enum):
    """How one flat list holds the branches."""

    COND = "cond"
    """One ratio a step."""
    INTERLEAVED = "interleaved"
    """Two ratios a step, of the positive and of the negative prompt."""


class Form(str, Enum):
    """Who shall read an exported list."""

    LIST = "list"
    """The original MagCache: one list, the two branches interleaved if there are two."""
    DIFFUSERS = "diffusers"
    """`MagCacheConfig(mag_ratios=…)`: the ratios of the positive prompt, which diffusers uses for both."""
    WANVIDEOWRAPPER = "wanvideowrapper"
    """An entry of WanVideoWrapper's table: always two branches interleaved."""
    JSON = "json"
    """An object with one list a branch."""


@dataclass(frozen=True, slots=True)
class _Found:
    """One list in a text: what it is called there, its line, and its rows (one, unless it is nested)."""

    label: str
    line: int
    rows: tuple[tuple[float, ...], ...]


def flow_sigmas(steps: int, shift: float) -> tuple[float, ...]:
    """The plain flow schedule: σ = s·t / (1 + (s − 1)·t) with t falling evenly from 1, one sigma a step, without the closing 0.

    Raises `SettingsError` when the shift is out of range.
    """
    low, high = _SHIFTS
    if not low <= shift <= high:
        raise SettingsError(f"The shift is {shift}; it must be from {low} to {high:g}, usually 1 to 12. Look up the one of the run.")
    times = (1 - step / steps for step in range(steps))
    return tuple(shift * time / (1 + (shift - 1) * time) for time in times)


def import_curve(
    path: str | os.PathLike[str], *, name: str, family: str, shift: float = 1.0, layout: Layout | None = None
) -> MagnitudeCurve:
    """A curve from the list in a text file: a Python or JSON array, nested or not, alone or within a program.

    Of several lists it takes the one labelled `name`, else the only one whose label speaks of ratios. `layout` is needed only where
    a flat list does not begin with the 1.0 of its first step; that is then added. Raises `CurveError` when there is no such list or
    its numbers cannot be ratios, and `SettingsError` for a shift out of range.
    """
    source = Path(path).name
    try:
        text = read_text(path, MAX_BYTES)
    except (OSError, ValueError) as error:
        raise CurveError(f"{path} cannot be read as a list of ratios: {error}") from None
    if f'"{FORMAT}"' in text:
        raise CurveError(f"{path} is a MagCache curve already, not a list of ratios; use it as it is, or export it.")
    ratios = _completed(_chosen(_find(text, str(path)), name, layout, str(path)))
    steps = len(next(iter(ratios.values())))
    return MagnitudeCurve(
        name=name,
        family=family,
        sigmas=flow_sigmas(steps, shift),
        ratios=ratios,
        provenance={
            "source": f"imported from {source}",
            "steps": steps,
            "shift": shift,
            "sigmas": f"reconstructed, not measured: the plain flow schedule of {steps} steps with shift {shift:g}",
        },
    )


def export_ratios(curve: MagnitudeCurve, form: Form, steps: int | None = None) -> str:
    """The ratios of `curve` as text for `form`; for another number of `steps` than its own they are resampled over sigma.

    Raises `CurveError` when the curve has branches that the form cannot hold.
    """
    if steps is None or steps == curve.steps:
        ratios = dict(curve.ratios)
    else:
        sigmas = curve.sigmas_for(steps)
        ratios = {branch: curve.ratios_at(sigmas, branch) for branch in curve.ratios}
    if form is Form.JSON:
        rows = (f" {json.dumps(branch)}: {json.dumps(values)}" for branch, values in ratios.items())
        return "{\n" + ",\n".join(rows) + "\n}"
    if "cond" not in ratios or ratios.keys() - {"cond", "uncond"}:
        raise CurveError(
            f"The curve {curve.name!r} has the branches {', '.join(ratios):.200}; the format {form.value!r} holds 'cond' and 'uncond'. "
            "Export it as 'json'."
        )
    if form is Form.DIFFUSERS or (form is Form.LIST and "uncond" not in ratios):
        return json.dumps(ratios["cond"])
    other = ratios.get("uncond", ratios["cond"])
    flat = json.dumps([ratio for pair in zip(ratios["cond"], other, strict=True) for ratio in pair])
    return flat if form is Form.LIST else f'"{curve.name}": np.array({flat}),'


def _find(text: str, source: str) -> list[_Found]:
    """Every list of at least two numbers in `text`."""
    text = re.sub(r"#[^\n]*", "", text)
    found: list[_Found] = []
    line, counted = 1, 0
    for match in _SUM.finditer(text):
        line, counted = line + text.count("\n", counted, match.start()), match.start()
        try:
            rows = () if match["more"] else _rows(match[0])
        except (ValueError, SyntaxError, TypeError) as error:
            raise CurveError(f"{source} holds a list in line {line} that cannot be read: {error}. Correct it or remove it.") from None
        before = text[max(0, match.start() - 200) : match.start()]
        label = _LABEL.search(before)
        # A part of something that is not numbers throughout is not a list to go by.
        if max(map(len, rows), default=0) > 1 and not before.rstrip().endswith(("[", "+", "*")):
            found.append(_Found(label["label"] if label else "", line, rows))
    if not found:
        raise CurveError(
            f"{source} holds no list of numbers. Expected a Python or JSON array such as [1.0, 1.21, 1.12], alone or as in "
            "np.array([1.0]*2 + [0.98, 0.99]), with a comma after each number."
        )
    return found


def _rows(expression: str) -> tuple[tuple[float, ...], ...]:
    """The value of a sum of lists, each perhaps repeated. Raises `ValueError`, `SyntaxError` or `TypeError`."""
    total: list[object] = []
    for part in _PART.finditer(expression):
        literal, times = part[1], int(part[2] or 1)
        if len(total) + (literal.count(",") + 1) * times > MAX_NUMBERS:
            raise ValueError(f"it has more than {MAX_NUMBERS:,} numbers")
        total.extend([*items(ast.literal_eval(literal))] * times)
    if total and isinstance(total[0], list):
        return tuple(floats(row) for row in total)
    return (floats(total),)


def _chosen(found: Sequence[_Found], name: str, layout: Layout | None, source: str) -> dict[str, tuple[float, ...]]:
    """The ratios of each branch, from the one list (or the lists labelled as branches) that is meant."""
    branches = [(one.label, one.rows[0]) for one in found if _BRANCH.fullmatch(one.label) and len(one.rows) == 1]
    if "cond" in dict(branches) and len(dict(branches)) == len(branches):
        return dict(branches)
    for chosen in (
        found,
        [one for one in found if one.label == name],
        [one for one in found if "ratios" in one.label.lower()],
    ):
        if len(chosen) == 1:
            return _split(chosen[0].rows, layout, f"The list in line {chosen[0].line} of {source}")
    shown = ", ".join(f"{one.label or 'unnamed'} in line {one.line}" for one in found[:8])
    raise CurveError(
        f"{source} holds {len(found)} lists of numbers ({shown:.400}), and none is labelled {name!r}. Import under the label of the one "
        "you mean, or leave only that one in the file."
    )


def _split(rows: Sequence[tuple[float, ...]], layout: Layout | None, where: str) -> dict[str, tuple[float, ...]]:
    if len(rows) == 2:
        return {"cond": rows[0], "uncond": rows[1]}
    if len(rows) > 2:
        raise CurveError(f"{where} has {len(rows)} rows; expected one list, or two rows: the positive and the negative prompt's.")
    (numbers,) = rows
    if layout is None:
        if numbers[0] != 1:
            raise CurveError(
                f"{where} begins with {numbers[0]} instead of the 1.0 of a first step, so it does not tell how many branches it has. "
                "Choose the branches: 'cond' (one number a step) or 'interleaved' (two)."
            )
        layout = Layout.INTERLEAVED if numbers[:2] == (1, 1) and len(numbers) % 2 == 0 else Layout.COND
    if layout is Layout.COND:
        return {"cond": numbers}
    if len(numbers) % 2:
        raise CurveError(f"{where} has {len(numbers)} numbers; two interleaved branches need an even number. Choose the branches 'cond'.")
    if numbers[:2] != (1, 1):
        # Without its first step either branch may happen to begin with a ratio of exactly 1; the other tells.
        numbers = (1.0, 1.0, *numbers)
    return {"cond": numbers[::2], "uncond": numbers[1::2]}


def _completed(ratios: Mapping[str, tuple[float, ...]]) -> dict[str, tuple[float, ...]]:
    """All branches with the 1.0 of the first step, which a calibration of the original leaves out."""
    if all(values[0] == 1 for values in ratios.values()):
        return dict(ratios)
    return {branch: (1.0, *values) for branch, values in ratios.items()}
