"""The result of the demo as a web page, as JSON and as one picture."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..reports.metrics import Picture, difference, psnr
from ..reports.pages import DIFFERENCE_GAIN, encoded, write_page
from .run import DemoResult, DemoRow

_GAP = 4
"""Pixels between the pictures of the overview."""
_OVERVIEW_PROMPTS = 8


def write_report(result: DemoResult, folder: Path) -> Path:
    """Write `index.html`, `result.json` and `overview.png` to `folder`; returns the path of the page."""
    folder.mkdir(parents=True, exist_ok=True)
    facts, page = result.to_json(), folder / "index.html"
    (folder / "result.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    overview(result.rows[:_OVERVIEW_PROMPTS]).save(folder / "overview.png", optimize=True)
    write_page("demo.html", page, facts=facts, summary=summary(facts), rows=[each for row in result.rows for each in _rows(row)])
    return page


def overview(rows: Sequence[DemoRow]) -> Image.Image:
    """The first picture of each prompt in a column: with all steps, with MagCache, and with fewer steps."""
    columns = [np.concatenate([_framed(way.pictures[0]) for way in (row.full, row.cached, row.fewer)]) for row in rows]
    return Image.fromarray(np.concatenate(columns, axis=1))


def _framed(picture: Picture) -> Picture:
    return np.pad(picture, ((_GAP // 2,) * 2, (_GAP // 2,) * 2, (0, 0)), constant_values=255)


def summary(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """The three ways of sampling, for a table: name, evaluations, median seconds, how many times faster, and quality."""
    seconds, nfe = facts["seconds_per_run"], facts["nfe"]
    ways = (
        ("all steps", facts["steps"], seconds["full"], None, None),
        ("MagCache", nfe, seconds["cached"], facts["measured_speedup"], facts["magcache"]),
        ("plain, as few steps", nfe, seconds["fewer"], seconds["full"] / seconds["fewer"], facts["plain_with_as_few_steps"]),
    )
    return [dict(zip(("name", "nfe", "seconds", "speedup", "quality"), way, strict=True)) for way in ways]


def _rows(row: DemoRow) -> Iterator[dict[str, Any]]:
    """A row of the page for each picture of the prompt."""
    for full, cached, fewer in zip(row.full.pictures, row.cached.pictures, row.fewer.pictures, strict=True):
        yield {
            "prompt": row.prompt,
            "seed": row.seed,
            "full": encoded(full),
            "ways": {name: _compared(full, picture) for name, picture in (("MagCache", cached), ("plain", fewer))},
        }


def _compared(reference: Picture, picture: Picture) -> dict[str, Any]:
    return {
        "picture": encoded(picture),
        "difference": encoded(difference(reference, picture, DIFFERENCE_GAIN)),
        "psnr": psnr(reference, picture),
    }
