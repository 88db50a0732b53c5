"""Why a mode skips nothing in a run, or less than was asked for: the reason of the plan, with the figures of the run."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ..curves.curve import MagnitudeCurve
from ..curves.propagation import Source
from ..planning.budget import parts_of_plain
from ..planning.fewer_steps import CLEARLY_BETTER
from ..planning.plan import Plan, Reason
from ..planning.threshold import last_skippable, least_error
from ..settings import FEW_STEPS, ThresholdSettings
from ..texts import Text, counted
from .run_setup import RunFacts

_SPREAD: Mapping[Source, str] = MappingProxyType(
    {
        "measured": "How errors spread in this model was measured.",
        "published plans": "How errors spread in this model is known from published plans.",
        "assumed": "How errors spread in this model was not measured (thorough, in MagCache Calibration), so only safe plans count.",
    }
)


def no_curve(run: RunFacts) -> Text:
    """There is no curve for the model of a run."""
    return Text("There is no curve for this model ({model}) yet.", model=run.kind)


def not_covered(curve: MagnitudeCurve, run: RunFacts) -> Text:
    """The curve was measured at other noise levels."""
    return Text(
        "The curve {curve} was measured at noise levels (sigma) from {measured_from:.3g} down to {measured_to:.3g}; this run goes from "
        "{run_from:.3g} down to {run_to:.3g}.",
        curve=curve.name,
        measured_from=curve.sigmas[0],
        measured_to=curve.sigmas[-1],
        run_from=run.sigmas[0],
        run_to=run.sigmas[-1],
    )


def too_short_to_measure(run: RunFacts) -> Text:
    """A model without a curve is measured by longer runs only."""
    return counted(
        len(run.sigmas),
        "There is no curve for this model ({model}) yet, and a run of {count} step is too short to measure one: it takes {needed}.",
        "There is no curve for this model ({model}) yet, and a run of {count} steps is too short to measure one: it takes {needed}.",
        model=run.kind,
        needed=FEW_STEPS,
    )


def of_threshold(plan: Plan, curve: MagnitudeCurve, run: RunFacts, settings: ThresholdSettings) -> str:
    """Why a plan by the published rule skips nothing; empty if it skips, or is switched off, or there is no more to tell."""
    steps = len(run.sigmas)
    if plan.reason is Reason.EMPTY_WINDOW:
        return Text(
            "Skipping may begin at step {start} but must end at step {end} (steps count from 0, the last one is {last}).",
            start=settings.start_step,
            end=last_skippable(settings, steps),
            last=steps - 1,
        )
    if plan.reason is Reason.NO_STEP_ALLOWED:
        return Text(
            "The first {first} of {steps} steps are always computed, and the last step that may be skipped is {end}: that leaves none.",
            first=max(1, int(steps * settings.retention), settings.start_step),
            steps=steps,
            end=last_skippable(settings, steps),
        )
    if plan.reason is Reason.ERROR_TOO_LARGE:
        error = least_error(curve, run.sigmas, settings)
        if error is not None and error > settings.threshold:
            return Text(
                "Every skip would exceed the threshold: it is {threshold:.3g}, and the least error of a skip is {error:.3g}.",
                threshold=settings.threshold,
                error=error,
            )
    return _of_any(plan, curve, run)


def of_speedup(plan: Plan, curve: MagnitudeCurve, run: RunFacts, asked: float, window: tuple[float, float]) -> str:
    """Why a plan for the speed-up `asked`, between two fractions of the schedule, skips less; empty if it does what was asked."""
    start, end = window
    if plan.reason is Reason.EMPTY_WINDOW:
        return Text("Skipping may begin at {start:.0%} of the schedule but must end at {end:.0%} of it.", start=start, end=end)
    if plan.reason is Reason.NO_STEP_ALLOWED:
        return Text("No step that could be skipped lies between {start:.0%} and {end:.0%} of the schedule.", start=start, end=end)
    if plan.reason is Reason.LIMITED_BY_WINDOW:
        limit = Text("only steps between {start:.0%} and {end:.0%} of the schedule may be skipped", start=start, end=end)
    elif plan.reason is Reason.LIMITED:
        limit = Text("the first steps, the last one and those at which the model changes fast are always computed")
    elif plan.reason is Reason.FEWER_STEPS:
        limit = Text("with more skipped, plain sampling with as few steps would be about as good")
    else:
        return _of_any(plan, curve, run)
    if not any(plan.reused):
        return Text(
            "You asked for {asked:.1f}×. In {steps} steps nothing is skipped, because {limit}.", asked=asked, steps=plan.steps, limit=limit
        )
    return Text(
        "You asked for {asked:.1f}×. In {steps} steps {possible:.1f}× is possible, because {limit}.",
        asked=asked,
        steps=plan.steps,
        possible=plan.speedup,
        limit=limit,
    )


def _of_any(plan: Plan, curve: MagnitudeCurve, run: RunFacts) -> str:
    if plan.reason is Reason.TOO_SHORT:
        return counted(
            len(run.sigmas),
            "The run has {count} step, and its first steps and its last one are always computed.",
            "The run has {count} steps, and its first steps and its last one are always computed.",
        )
    return not_covered(curve, run) if plan.reason is Reason.NOT_COVERED else ""


def of_plain(plan: Plan, curve: MagnitudeCurve, run: RunFacts) -> str:
    """What skipping more would cost a run that is too short to gain as much as was asked, for the log; empty for other runs."""
    if plan.reason is not Reason.FEWER_STEPS:
        return ""
    parts = parts_of_plain(
        curve,
        run.sigmas,
        guidance=run.guidance,
        influence=run.influence,
        correct=run.correctable,
        schedule_part=run.schedule_part,
        compare=reuses_predictions(curve),
    )
    figures = ", ".join(f"{part:.2f} with {nfe}" for nfe, part in parts.items())
    predicted = (
        f"Predicted error, relative to plain sampling with as few steps: {figures} evaluations; "
        f"above {CLEARLY_BETTER:.2f} it is not worth it."
    )
    return " ".join([*[predicted] * bool(parts), _SPREAD[curve.propagation.source]])


def reuses_predictions(curve: MagnitudeCurve) -> bool:
    """Whether the curve is of predictions as a whole. They are worth reusing in few models, so that is looked at in every run."""
    return curve.provenance.get("reuses") == "prediction"
