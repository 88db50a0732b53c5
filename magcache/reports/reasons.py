"""Why a run skipped nothing, or less than was asked for, in a sentence for people. A host adds what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ..planning.plan import Reason
from ..texts import Text
from .run_report import Disturbance, RunReport

WHY: Mapping[Reason, Text] = MappingProxyType(
    {
        Reason.UNUSABLE: Text("What was chosen on the node cannot be used."),
        Reason.NO_CURVE: Text("There is no curve for this model yet."),
        Reason.TOO_SHORT_TO_MEASURE: Text("There is no curve for this model yet, and this run is too short to measure one."),
        Reason.TOO_NOISY_TO_MEASURE: Text(
            "There is no curve for this model yet. This run cannot measure one, because its sampler adds noise (or cannot be tried out)."
        ),
        Reason.NOT_FALLING: Text("The noise levels of this run do not fall from step to step."),
        Reason.TOO_SHORT: Text("The run is too short: its first steps and its last one are always computed."),
        Reason.EMPTY_WINDOW: Text("The part of the run in which steps may be skipped ends before it begins."),
        Reason.NO_STEP_ALLOWED: Text("The settings allow no step to be skipped."),
        Reason.CHANGES_FAST: Text("The model changes too fast at every step that could be skipped."),
        Reason.ERROR_TOO_LARGE: Text("Every skip would exceed the threshold."),
        Reason.NOT_COVERED: Text("The curve was not measured at the noise levels of this run."),
        Reason.FEWER_STEPS: Text("Plain sampling with as few steps would be about as good."),
        Reason.LIMITED: Text("A higher speed-up is not possible in this run."),
        Reason.LIMITED_BY_WINDOW: Text("The settings allow too few steps to be skipped for a higher speed-up."),
    }
)
"""The sentence of each reason, for runs that have none with their own figures. A plan that is switched off needs none."""


def why(report: RunReport) -> Text | None:
    """Why the plan of a run skips nothing, or less than was asked for; None if it does what was asked."""
    if isinstance(report.label.why, Text):
        return report.label.why
    if report.label.why:
        return Text("{why}", why=report.label.why)
    return None if report.plan.reason is None else WHY.get(report.plan.reason)


def interference(report: RunReport) -> Text | None:
    """What kept a run from skipping what was planned; None if nothing did."""
    if Disturbance.OTHER_CACHE in report.disturbances:
        name = report.other_cache
        if name:
            return Text("{cache} is on this model too, so MagCache computed every step.", cache=name)
        return Text("Another node skipped steps of this model. Since MagCache noticed it, it computed every step.")
    if Disturbance.NOT_REPRODUCED in report.disturbances:
        if report.label.unknown:
            return Text(
                "MagCache does not know this kind of model ({model}). It tried a skip, which did not give the right result, so it computed "
                "every step.",
                model=report.label.unknown,
            )
        return Text("MagCache tried a skip, which did not give the right result on this model, so it computed every step.")
    refused = [event for event in report.events if event.planned and not event.reused]
    if report.reused or not refused:
        return None
    if all(event.withheld for event in refused):
        return Text("This model keeps a memory of its own from step to step, which a skipped step would miss. So every step was computed.")
    return Text("The prompt, the size, the batch or a patch changed from step to step, so no earlier result was safe to use again.")


def calibration_disturbed(report: RunReport) -> Text | None:
    """Why a run that something else took part in measures nothing, and what to do; None if nothing did."""
    if Disturbance.OTHER_CACHE in report.disturbances:
        if report.other_cache:
            return Text("Nothing was calibrated, because {cache} is on this model too. Remove one of the two.", cache=report.other_cache)
        return Text("Nothing was calibrated, because another node skipped steps of this model. Remove one of the two.")
    if Disturbance.NOT_REPRODUCED in report.disturbances:
        return Text(
            "Nothing was calibrated, because MagCache tried a skip, which did not give the right result on this model. Remove other nodes "
            "from the model. If that does not help, this model cannot be skipped."
        )
    if Disturbance.EXTRA_EVALUATIONS in report.disturbances:
        return Text(
            "Nothing was calibrated, because another node calls the model more often than once a step. Run once without it; the curve then "
            "serves runs with it too."
        )
    return None
