"""What users are told about a run that did not go as asked. Everything is logged, to the logger `magcache`."""

from __future__ import annotations

from ..planning.plan import Reason
from ..reports.reasons import interference, why
from ..reports.run_report import Disturbance, RunReport

_ADVICE = {
    Reason.NO_CURVE: "Use apply(pipe, speedup=…), which calibrates a model by itself, or calibrate(pipe, …).",
    Reason.TOO_SHORT_TO_MEASURE: "Run it once with 10 steps or more. A model made for few steps (Lightning) leaves little to skip.",
    Reason.TOO_NOISY_TO_MEASURE: "Run it once with a scheduler that adds no noise, such as Euler.",
    Reason.NOT_FALLING: "Use a schedule whose sigmas fall.",
    Reason.TOO_SHORT: "A model made for few steps (Lightning, schnell) leaves little to skip. Use more steps with other models.",
    Reason.EMPTY_WINDOW: "Let start be lower than end.",
    Reason.NO_STEP_ALLOWED: "Lower retention or start, or raise end.",
    Reason.CHANGES_FAST: "Use more steps.",
    Reason.ERROR_TOO_LARGE: "Raise threshold, or use more steps.",
    Reason.NOT_COVERED: "Calibrate with the scheduler and strength of this run.",
    Reason.FEWER_STEPS: "Sample with fewer steps instead, or skip from a run of more steps.",
    Reason.LIMITED: "Use more steps for more speed.",
    Reason.LIMITED_BY_WINDOW: "Lower start or raise end for more speed.",
}


def advice(report: RunReport) -> str | None:
    """What to tell about a run that did not skip as asked, and what to do; None if it went as asked."""
    reason = report.plan.reason
    if report.label.kind == "calibrating" or not report.events or reason is Reason.OFF:
        return None
    if (text := interference(report)) is not None:
        return " ".join(["MagCache:", text, *["Remove one of the two."] * (Disturbance.OTHER_CACHE in report.disturbances)])
    parts = [report.label.note, (reason and why(report)) or "", (reason and _ADVICE.get(reason)) or "", report.label.detail]
    found = [part for part in parts if part]
    return " ".join(["MagCache:", *["Nothing was skipped."] * (not report.reused), *found]) if found else None
