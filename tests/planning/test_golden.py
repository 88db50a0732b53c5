"""The published rule makes exactly the decisions of the published implementations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from magcache import load_curve, published_rule

GOLDEN = json.loads((Path(__file__).parents[1] / "data" / "golden_decisions.json").read_text(encoding="utf-8"))


def _name(entry: dict[str, Any]) -> str:
    return f"{entry['curve']}-{entry['threshold']}-K{entry['max_skip']}"


def _zone(entry: dict[str, Any], branch: str, steps: int) -> tuple[int, set[int]]:
    """The first step that may be skipped, and the later ones that may not."""
    retention = entry["retention"]
    if "split_step" not in entry:
        rounding = {"int": int, "round": round}[entry["retention_rounding"]]
        return rounding(steps * retention), set(entry.get("never", ()))
    # Wan2.2 counts calls, cond and uncond in turn, and each of its two experts has a beginning to retain.
    split = entry["split_step"]
    first = int(split * retention) if entry["mode"] == "t2v" else split
    offset = ("cond", "uncond").index(branch)
    second = 2 * split + retention * (2 * steps - 2 * split)
    return first, {step for step in range(split, steps) if 2 * step + offset < second}


@pytest.mark.parametrize("entry", GOLDEN, ids=_name)
def test_skips_the_published_steps(entry: dict[str, Any]):
    curve = load_curve(entry["curve"])
    for branch, skips in entry["skips"].items():
        start, never = _zone(entry, branch, curve.steps)
        reused = published_rule(
            curve.ratios[branch],
            threshold=entry["threshold"],
            max_skip=entry["max_skip"],
            start=start,
            never=never,
            gate=entry.get("gate"),
        )
        assert list(reused) == skips, branch


@pytest.mark.parametrize("entry", GOLDEN, ids=_name)
def test_published_speedup(entry: dict[str, Any]):
    curve = load_curve(entry["curve"])
    evaluations = curve.steps * len(entry["skips"])
    skipped = sum(map(len, entry["skips"].values()))
    assert evaluations / (evaluations - skipped) == pytest.approx(entry["nfe_speedup"], abs=5e-4)


def test_every_published_list_is_here():
    assert len(GOLDEN) == 21
