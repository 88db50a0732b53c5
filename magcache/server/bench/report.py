"""The result of a comparison as JSON and as a web page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from ...documents import write_text
from ...reports.metrics import difference
from ...reports.pages import DIFFERENCE_GAIN, encoded, write_page
from ..client import Client
from ..quality import combined
from ..workflow import Workflow, settings_of
from .rounds import CACHES, EASYCACHE, FULL, MAGCACHE, BenchRound, skipped_by_easycache

HOW_MEASURED = (
    "Seconds: the whole workflow by the server's clock, median over the seeds. Speed-up: median over the seeds of the time of all "
    "steps divided by the time of this run. Nodes that do not depend on the seed, such as the text encoder, ran before. PSNR and SSIM "
    "compare with the picture of all steps and the same seed; for a video, with its frames as saved."
)


def bench_facts(rounds: Sequence[BenchRound], workflow: str, client: Client, workflows: Mapping[str, Workflow]) -> dict[str, Any]:
    """The result as JSON. `workflow` is the name of its file, `workflows` what ran, by variant."""
    ways = {variant: _variant_facts(rounds, variant) for variant in rounds[0].runs}
    for variant, facts in ways.items():
        facts["settings"] = settings_of(workflows[variant], CACHES[variant])
    last = rounds[-1].runs
    # MagCache counts all evaluations. EasyCache tells only in the server's log how many it skipped.
    ways[FULL]["nfe"] = last[MAGCACHE].evaluations or None
    if EASYCACHE in ways and ways[FULL]["nfe"] and (skipped := skipped_by_easycache(last[EASYCACHE])) is not None:
        ways[EASYCACHE]["nfe"] = ways[FULL]["nfe"] - skipped
    return {
        "workflow": workflow,
        "server": client.url,
        "comfyui": client.version,
        "device": client.device,
        "seeds": [each.seed for each in rounds],
        "ways": ways,
    }


def write_report(facts: dict[str, Any], rounds: Sequence[BenchRound], folder: Path) -> Path:
    """Write `index.html` and `result.json` to `folder`; returns the path of the page."""
    page = folder / "index.html"
    write_text(folder / "result.json", json.dumps(facts, indent=1) + "\n")
    write_page("bench.html", page, facts=facts, how=HOW_MEASURED, rows=[_row(each) for each in rounds])
    return page


def _variant_facts(rounds: Sequence[BenchRound], variant: str) -> dict[str, Any]:
    runs = [each.runs[variant] for each in rounds]
    facts: dict[str, Any] = {
        "nfe": runs[-1].nfe or None,
        "seconds": [run.seconds for run in runs],
        "seconds_median": median(run.seconds for run in runs),
        "sampler_seconds_median": median(run.sampler_seconds for run in runs),
    }
    if variant != FULL:
        facts |= {
            "speedup": median(each.speedup(variant) for each in rounds),
            "sampler_speedup": median(each.sampler_speedup(variant) for each in rounds),
            **combined(each.quality[variant] for each in rounds).to_json(),
            "reports": runs[-1].reports,
        }
    return facts


def _row(each: BenchRound) -> dict[str, Any]:
    """The pictures of one seed: all steps, then each other variant and its difference from all steps."""
    full, columns = each.runs[FULL].pictures, [each.runs[FULL].pictures]
    for variant in each.quality:
        pictures = each.runs[variant].pictures
        columns += [pictures, [difference(*pair, DIFFERENCE_GAIN) for pair in zip(full, pictures, strict=True)]]
    notes = [f"{name}: {quality.to_json()['psnr_mean']:.1f} dB · {each.speedup(name):.2f}×" for name, quality in each.quality.items()]
    return {"seed": each.seed, "notes": notes, "columns": [[encoded(picture) for picture in column] for column in columns]}
