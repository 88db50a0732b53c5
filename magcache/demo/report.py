"""The result of the demo as a web page, as JSON and as one picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..reports.comparison import Comparison
from ..reports.metrics import Picture, difference
from ..reports.pages import DIFFERENCE_GAIN, encoded, write_page
from .run import DemoResult, DemoRow

_GAP = 4
"""Pixels between the pictures of the overview."""
_OVERVIEW_SCALE = 2


def write_report(result: DemoResult, folder: Path) -> Path:
    """Write `index.html`, `result.json` and `overview.png` to `folder`; returns the path of the page."""
    folder.mkdir(parents=True, exist_ok=True)
    facts, page = result.to_json(), folder / "index.html"
    (folder / "result.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    overview(result.rows).save(folder / "overview.png")
    write_page("demo.html", page, facts=facts, summary=_summary(facts), rows=[_row(row) for row in result.rows])
    return page


def overview(rows: Sequence[DemoRow]) -> Image.Image:
    """The first picture of each prompt in a column: with all steps, with MagCache, and with fewer steps."""
    columns = [np.concatenate([_framed(way.pictures[0]) for way in (row.full, row.cached, row.fewer)]) for row in rows]
    image = Image.fromarray(np.concatenate(columns, axis=1))
    return image.resize((image.width * _OVERVIEW_SCALE, image.height * _OVERVIEW_SCALE), Image.Resampling.LANCZOS)


def _framed(picture: Picture) -> Picture:
    return np.pad(picture, ((_GAP // 2,) * 2, (_GAP // 2,) * 2, (0, 0)), constant_values=255)


def _summary(facts: dict[str, Any]) -> list[dict[str, Any]]:
    seconds = facts["seconds_per_run"]
    return [
        {"name": "all steps", "nfe": facts["steps"], "seconds": seconds["full"], "quality": None},
        {"name": "MagCache", "nfe": facts["nfe"], "seconds": seconds["cached"], "quality": facts["magcache"]},
        {"name": "plain, as few steps", "nfe": facts["nfe"], "seconds": seconds["fewer"], "quality": facts["plain_with_as_few_steps"]},
    ]


def _row(row: DemoRow) -> dict[str, Any]:
    full, cached, fewer = row.full.pictures, row.cached.pictures, row.fewer.pictures
    differences = [difference(*pair, DIFFERENCE_GAIN) for pair in zip(full, cached, strict=True)]
    quality = Comparison.of(zip(full, cached, strict=True)).to_json()
    return {
        "prompt": row.prompt,
        "seed": row.seed,
        "note": f"{quality['psnr_mean']:.1f} dB · {row.full.seconds / row.cached.seconds:.2f}×",
        "columns": [[encoded(picture) for picture in column] for column in (full, cached, differences, fewer)],
    }
