"""The page of a comparison."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from magcache.server.bench.report import bench_facts, write_report
from magcache.server.bench.rounds import FULL, MAGCACHE, BenchRound
from magcache.server.quality import compare_pictures
from magcache.server.runs import RunResult

PICTURES = [np.full((16, 16, 3), 128, np.uint8)]


class FakeClient:
    url, version, device = "http://server", "0.30.0", "cpu"


def rounds(*reports: dict[str, Any]) -> list[BenchRound]:
    """Two seeds; sampling takes two seconds with all steps and one with MagCache."""
    full, cached = RunResult(PICTURES, 3.0, 2.0, [], [], {}), RunResult(PICTURES, 2.0, 1.0, list(reports), [], {})
    quality = {MAGCACHE: compare_pictures(PICTURES, PICTURES)}
    return [BenchRound(seed, {FULL: full, MAGCACHE: cached}, quality) for seed in (1000, 1001)]


def report(**changed: Any) -> dict[str, Any]:
    plan = {"nfe": 1, "evaluations": 2, "sigmas": [1.0, 0.5], "decisions": ["compute", "reuse"]}
    return {"kind": "skipping", "curve": "flux", "tuned": False, **plan, **changed}


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({}, "1 of 2 evaluations computed · curve flux</p>"),
        ({"tuned": True}, "· curve flux (tuned)</p>"),
        ({"kind": "full", "curve": None}, "· curve none</p>"),
        ({"kind": "calibrating", "curve": None}, "· measuring a curve</p>"),
    ],
)
def test_the_page_names_the_curve_of_each_run(tmp_path: Path, changed: dict[str, Any], text: str):
    found = rounds(report(**changed))
    page = write_report(bench_facts(found, "flux.json", FakeClient()), found, tmp_path)
    assert text in page.read_text(encoding="utf-8")


def test_the_facts_are_those_of_all_seeds():
    facts = bench_facts(rounds(report(), report()), "flux.json", FakeClient())
    assert facts["seeds"] == [1000, 1001] and list(facts["ways"]) == [FULL, MAGCACHE]
    full, cached = facts["ways"].values()
    assert (full["nfe"], cached["nfe"]) == (4, 2) and "speedup" not in full
    assert (cached["speedup"], cached["sampler_speedup"], cached["seconds"]) == (1.5, 2.0, [2.0, 2.0])


def test_a_run_without_reports_has_no_number_of_evaluations(tmp_path: Path):
    found = rounds()
    facts = bench_facts(found, "flux.json", FakeClient())
    assert [way["nfe"] for way in facts["ways"].values()] == [None, None]
    assert "MagCache did not report" in write_report(facts, found, tmp_path).read_text(encoding="utf-8")
