"""Every plan of a shipped curve stays as it is until somebody decides otherwise.

`tests/data/stored_plans.json` holds the computed steps and the corrections of each shipped curve at several step counts. A change of the
planner that is meant renews it: `python -m tests.planning.test_stored_plans`. Look at the difference before you commit it.

Steps are compared exactly, gains and weights to nine digits: the last digits of a matrix product depend on the processor.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

import magcache.curves
from magcache import Plan, ThresholdSettings, load_curve, plan_by_threshold, plan_speedup
from magcache.curves.curve import MagnitudeCurve
from magcache.planning.influence import euler_influence

FILE = Path(__file__).parents[1] / "data" / "stored_plans.json"
SHIPPED = sorted(path.stem for path in Path(magcache.curves.__file__).parent.glob("*.json"))
SPEEDUPS = (1.5, 2.0, 2.5, 3.0)
STEP_COUNTS = (8, 20, 28, 50)
"""Step counts beside a curve's own."""


def thresholds(curve: MagnitudeCurve) -> list[ThresholdSettings]:
    """The settings that are stored: two for every curve, and the published ones."""
    assert curve.preset is not None
    common = [ThresholdSettings(), ThresholdSettings(threshold=0.24, max_skip=5, retention=0.1, start_step=3, end_step=-2)]
    return [*common, curve.preset]


def plans_of(name: str, steps: int) -> dict[str, Any]:
    """All plans of a curve for a run of `steps` steps, as they are stored."""
    curve = load_curve(name)
    sigmas = curve.sigmas_for(steps)
    speedups = {speedup: plan_speedup(curve, sigmas, speedup, influence=euler_influence(sigmas)) for speedup in SPEEDUPS}
    return {
        "curve": name,
        "steps": steps,
        "threshold": [{**_changed(wish), "computed": list(plan_by_threshold(curve, sigmas, wish).computed)} for wish in thresholds(curve)],
        "speedup": [{"speedup": speedup, **_stored(plan)} for speedup, plan in speedups.items()],
    }


def _changed(wish: ThresholdSettings) -> dict[str, Any]:
    """The settings that are not the default ones."""
    usual = asdict(ThresholdSettings())
    return {title: value for title, value in asdict(wish).items() if value != usual[title]}


def _stored(plan: Plan) -> dict[str, Any]:
    """Computed steps, and for each correcting one the gain and the recipe."""
    found = {str(step): plan.correction(step) for step in range(plan.steps)}
    corrections = {step: [each.gain, [list(part) for part in each.expected]] for step, each in found.items() if each}
    return {"computed": list(plan.computed), "corrections": corrections}


def renew() -> None:
    """Write the plans of today."""
    counts = {name: [load_curve(name).steps, *STEP_COUNTS] for name in SHIPPED}
    rows = [plans_of(name, steps) for name in SHIPPED for steps in dict.fromkeys(counts[name])]
    lines = ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
    FILE.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


STORED: list[dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else []


@pytest.mark.parametrize("row", STORED, ids=lambda row: f"{row['curve']}-{row['steps']}")
def test_plans_are_those_that_are_stored(row: dict[str, Any]):
    found = plans_of(row["curve"], row["steps"])
    assert _apart(found) == _apart(row)
    assert _numbers(found) == pytest.approx(_numbers(row), rel=1e-9, abs=1e-9)


def _apart(row: dict[str, Any]) -> dict[str, Any]:
    """Everything that is stored, without the gains and weights."""
    speedup = [
        {**plan, "corrections": {step: [source for source, _ in recipe] for step, (_, recipe) in plan["corrections"].items()}}
        for plan in row["speedup"]
    ]
    return {**row, "speedup": speedup}


def _numbers(row: dict[str, Any]) -> list[float]:
    """The gains and weights."""
    corrections = [each for plan in row["speedup"] for each in plan["corrections"].values()]
    return [number for gain, recipe in corrections for number in (gain, *(weight for _, weight in recipe))]


def test_every_shipped_curve_is_stored():
    assert sorted({row["curve"] for row in STORED}) == SHIPPED
    assert len({(row["curve"], row["steps"]) for row in STORED}) == len(STORED) == 109
    assert FILE.stat().st_size <= 200_000


if __name__ == "__main__":
    renew()
