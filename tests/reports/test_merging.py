"""One report of several runs."""

from __future__ import annotations

import json

from magcache.planning.plan import Plan, Reason, compute_all
from magcache.reports.merging import merged
from magcache.reports.run_report import Disturbance, Event, RunLabel, RunReport


def report(sigmas: tuple[float, ...], reused: tuple[bool, ...], curve: str | None, **more: object) -> RunReport:
    plan = Plan(sigmas, reused, tuple(0.1 * reuse for reuse in reused)) if curve else compute_all(sigmas, Reason.NO_CURVE)
    events = tuple(Event(sigma, step, reuse, reuse) for step, (sigma, reuse) in enumerate(zip(sigmas, plan.reused, strict=True)))
    label = RunLabel("skipping", curve) if curve else RunLabel("calibrating")
    options = {"ratios": (1.0,) * len(sigmas), "residual_bytes": 5, **more}
    return RunReport(label, plan, events, tuple(0.5 for _ in sigmas), **options)


FIRST = report((1.0, 0.8, 0.6), (False, True, False), "high", residual_bytes=7)
SECOND = report((0.5, 0.3), (False, True), "low", disturbances=(Disturbance.EXTRA_EVALUATIONS,))


def test_a_single_run_is_its_own_report():
    assert merged([FIRST]) is FIRST


def test_two_experts():
    both = merged([FIRST, SECOND])
    assert both.plan.sigmas == (1.0, 0.8, 0.6, 0.5, 0.3) and both.plan.computed == (0, 2, 3) and both.steps == 5
    assert [step.index for step in both.outcomes() if step.reused] == [1, 4] and both.reused == 2
    assert both.seconds == (0.5,) * 5 and both.residual_bytes == 7 and both.label.curve == "high, low"
    assert both.disturbances == SECOND.disturbances and len(both.ratios) == 5
    assert json.dumps(both.to_json())


def test_sections_begin_again_at_the_first_sigma():
    whole = merged([FIRST, FIRST, FIRST])
    assert whole.plan.computed == (0, 2, 3, 5, 6, 8) and whole.label.curve == "high"
    assert [step.sigma for step in whole.outcomes()] == [1.0, 0.8, 0.6] * 3
    assert all(step.evaluations == 1 for step in whole.outcomes())


def test_a_run_that_calibrated_counts_with_the_ones_that_skipped():
    whole = merged([report((1.0, 0.5), (False, False), None, ratios=()), FIRST])
    assert whole.label.kind == "skipping" and whole.plan.reason is Reason.NO_CURVE and whole.ratios == ()
