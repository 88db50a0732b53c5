"""What users are told about a run that did not go as asked. Everything is logged, to the logger `magcache`."""

from __future__ import annotations

from ..planning.plan import Reason
from ..reports.run_report import Disturbance, RunReport

_ADVICE = {
    Reason.NO_CURVE: "Use apply(pipe, speedup=…), which calibrates a model by itself, or calibrate(pipe, …).",
    Reason.NOT_FALLING: "Use a schedule whose sigmas fall.",
    Reason.TOO_SHORT: "Few-step (distilled) models already leave out the steps that a cache would skip.",
    Reason.NO_STEP_ALLOWED: "Lower retention or start, or raise end.",
    Reason.ERROR_TOO_LARGE: "Raise threshold or max_skip, or lower retention.",
    Reason.NOT_COVERED: "Calibrate with the scheduler and strength of this run.",
    Reason.FEWER_STEPS: "Sample with fewer steps instead.",
    Reason.LIMITED: "Use more steps, or a lower speed-up.",
}


def advice(report: RunReport) -> str | None:
    """What to tell about a run that did not skip as asked, and what to do; None if it went as asked."""
    if report.label.kind == "calibrating" or not report.events or report.plan.reason is Reason.OFF:
        return None
    if Disturbance.OTHER_CACHE in report.disturbances:
        return "MagCache: another step cache is on this model, so every step was computed. Remove one of the two."
    if Disturbance.NOT_REPRODUCED in report.disturbances:
        return "MagCache: every step was computed, because a skipped step would not give what the blocks of this model give."
    if report.label.note:
        return f"MagCache: {'' if report.reused else 'nothing was skipped. '}{report.label.note}"
    if report.reused:
        return None
    if report.refused:
        return "MagCache: nothing was skipped, because the prompt, the size or the batch changed between steps."
    reason = report.plan.reason
    return None if reason is None else f"MagCache: nothing was skipped, because {reason.value}. {_ADVICE.get(reason, '')}".rstrip()
