"""What a comparison found, as a web page and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...documents import write_text
from ...reports.metrics import difference
from ...reports.pages import DIFFERENCE_GAIN, encoded, write_page
from .rounds import FULL, Round

HOW_MEASURED = (
    "Seconds: the whole workflow by the server's clock, the median of the seeds; the speed-up is the median of that with each seed. "
    "What does not depend on the seed, such as the text encoder, ran before. PSNR and SSIM compare with the pictures of all steps, same "
    "seed; those of a video are of its frames as saved."
)


def write_report(facts: dict[str, Any], rounds: Sequence[Round], folder: Path) -> Path:
    """Write `index.html` and `result.json` to `folder`; returns the path of the page."""
    page = folder / "index.html"
    write_text(folder / "result.json", json.dumps(facts, indent=1) + "\n")
    write_page("bench.html", page, facts=facts, how=HOW_MEASURED, rows=[_row(each) for each in rounds])
    return page


def _row(each: Round) -> dict[str, Any]:
    full, columns = each.runs[FULL].pictures, [each.runs[FULL].pictures]
    for way in each.quality:
        pictures = each.runs[way].pictures
        columns += [pictures, [difference(*pair, DIFFERENCE_GAIN) for pair in zip(full, pictures, strict=True)]]
    notes = [f"{way}: {quality.to_json()['psnr_mean']:.1f} dB · {each.speedup(way):.2f}×" for way, quality in each.quality.items()]
    return {"seed": each.seed, "notes": notes, "columns": [[encoded(picture) for picture in column] for column in columns]}
