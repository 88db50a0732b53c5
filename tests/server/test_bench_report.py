"""The page of a comparison."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from magcache.server.bench.report import bench_facts, write_report
from magcache.server.bench.rounds import EASYCACHE, FULL, MAGCACHE, BenchRound
from magcache.server.quality import compare_pictures
from magcache.server.runs import RunResult

PICTURES = [np.full((16, 16, 3), 128, np.uint8)]


LOGGED = [
    "EasyCache enabled - threshold: 0.2, start_percent: 0.15, end_percent: 0.95\n",
    "\x1b[32m[INFO] \x1b[0mEasyCache - skipped 1/2 steps (2.00x speedup).\n",
]
"""What ComfyUI writes, in colour or not."""
WORKFLOWS = {
    FULL: {"1": {"class_type": "KSampler", "inputs": {"steps": 2}}},
    MAGCACHE: {"2": {"class_type": "MagCacheAuto", "inputs": {"model": ["1", 0], "speedup": 2.0}}},
    EASYCACHE: {"3": {"class_type": "EasyCache", "inputs": {"model": ["1", 0], "reuse_threshold": 0.2, "verbose": False}}},
}


class FakeClient:
    url, version, device = "http://server", "0.30.0", "cpu"


def rounds(*reports: dict[str, Any], log: list[str] | None = None) -> list[BenchRound]:
    """Two seeds; sampling takes two seconds with all steps and one with MagCache, or with EasyCache if there is a log."""
    full, cached = RunResult(PICTURES, 3.0, 2.0, [], [], {}), RunResult(PICTURES, 2.0, 1.0, list(reports), [], {})
    runs = {FULL: full, MAGCACHE: cached} | ({} if log is None else {EASYCACHE: RunResult(PICTURES, 2.0, 1.0, [], [], {}, log)})
    quality = {name: compare_pictures(PICTURES, PICTURES) for name in runs if name != FULL}
    return [BenchRound(seed, runs, quality) for seed in (1000, 1001)]


def facts_of(found: list[BenchRound]) -> dict[str, Any]:
    return bench_facts(found, "flux.json", FakeClient(), WORKFLOWS)


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
    page = write_report(facts_of(found), found, tmp_path)
    assert text in page.read_text(encoding="utf-8")


def test_the_facts_are_those_of_all_seeds():
    facts = facts_of(rounds(report(), report()))
    assert facts["seeds"] == [1000, 1001] and list(facts["ways"]) == [FULL, MAGCACHE]
    full, cached = facts["ways"].values()
    assert (full["nfe"], cached["nfe"]) == (4, 2) and "speedup" not in full
    assert (cached["speedup"], cached["sampler_speedup"], cached["seconds"]) == (1.5, 2.0, [2.0, 2.0])


def test_a_run_without_reports_has_no_number_of_evaluations(tmp_path: Path):
    found = rounds()
    facts = facts_of(found)
    assert [way["nfe"] for way in facts["ways"].values()] == [None, None]
    assert "MagCache did not report" in write_report(facts, found, tmp_path).read_text(encoding="utf-8")


def test_what_each_cache_was_set_to_is_told(tmp_path: Path):
    found = rounds(report(), log=LOGGED)
    facts = facts_of(found)
    assert [way["settings"] for way in facts["ways"].values()] == [
        [], [{"node": "MagCacheAuto", "speedup": 2.0}], [{"node": "EasyCache", "reuse_threshold": 0.2}],
    ]  # fmt: skip
    page = write_report(facts, found, tmp_path).read_text(encoding="utf-8")
    assert "Settings of EasyCache: reuse_threshold 0.2<" in page and "Settings of MagCacheAuto: speedup 2.0<" in page


def test_the_evaluations_of_easycache_are_those_that_its_log_leaves(tmp_path: Path):
    """It counts what it skips; MagCache counts how many there are."""
    assert facts_of(rounds(report(), log=LOGGED))["ways"][EASYCACHE]["nfe"] == 1
    assert facts_of(rounds(report(), report(), log=LOGGED * 2))["ways"][EASYCACHE]["nfe"] == 2


@pytest.mark.parametrize(("reports", "log"), [([report()], []), ([], LOGGED)], ids=["no line in the log", "MagCache took no part"])
def test_evaluations_that_are_not_known_are_not_told(reports: list[dict[str, Any]], log: list[str]):
    assert facts_of(rounds(*reports, log=log))["ways"][EASYCACHE]["nfe"] is None
