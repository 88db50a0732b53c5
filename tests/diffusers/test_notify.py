"""What is told about a run that did not go as asked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from magcache.diffusers.notify import advice
from magcache.planning.plan import Plan, Reason, compute_all
from magcache.reports.reasons import WHY
from magcache.reports.run_report import Disturbance, Event, RunLabel, RunReport

PLAN = Plan((1.0, 0.8, 0.6), (False, True, False), (0.0, 0.1, 0.0))


def report(reused: bool = True, plan: Plan = PLAN, **more: object) -> RunReport:
    events = tuple(
        Event(sigma, step, reuse, reuse and reused) for step, (sigma, reuse) in enumerate(zip(plan.sigmas, plan.reused, strict=True))
    )
    return replace(RunReport(RunLabel("skipping", "flux"), plan, events, (), 0), **more)


def test_a_run_that_went_as_asked_needs_no_word():
    assert advice(report()) is None
    assert advice(report(label=RunLabel("calibrating"))) is None
    assert advice(report(plan=compute_all(PLAN.sigmas, Reason.OFF))) is None


@pytest.mark.parametrize(
    ("run", "says"),
    [
        (report(False), "The prompt, the size, the batch or a patch changed"),
        (report(False, disturbances=(Disturbance.OTHER_CACHE,)), "Another node skipped steps"),
        (report(False, disturbances=(Disturbance.NOT_REPRODUCED,)), "did not give the right result"),
        (report(plan=compute_all(PLAN.sigmas, Reason.NO_CURVE)), "There is no curve for this model yet. Use apply"),
        (
            report(plan=compute_all(PLAN.sigmas, Reason.NO_CURVE), label=RunLabel("full", note="Too few steps.")),
            "Nothing was skipped. Too few",
        ),
        (report(label=RunLabel("skipping", "flux", note="Residuals are held.")), "MagCache: Residuals are held."),
    ],
)
def test_the_reason_is_said(run: RunReport, says: str):
    assert says in (advice(run) or "")


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason not in (Reason.OFF, Reason.UNUSABLE)])
def test_every_reason_comes_with_advice(reason: Reason):
    found = advice(report(plan=compute_all(PLAN.sigmas, reason)))
    assert found and WHY[reason] in found and len(found.split(". ")) > 1
