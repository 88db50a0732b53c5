"""What a run did, in the words that people read on a node: first how much faster it was, then how, then details."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..texts import Text, counted, joined

if TYPE_CHECKING:
    from .run_report import RunReport

BETWEEN = " · "
"""What stands between the parts of a line."""
_NO_FASTER = 1.05
"""A measured speed-up below this is none."""


def summary(report: RunReport) -> Text:
    """A run in one line."""
    parts = [speed(report), *counts(report)]
    if report.evaluations != sum(step.evaluations > 0 for step in report.outcomes()):
        parts.append(Text("{done} of {count} calls of the model computed", done=report.nfe, count=report.evaluations))
    parts.append(report.label.text)
    if report.residual_bytes:
        parts.append(Text("{size} of memory", size=size_of(report.residual_bytes)))
    if refused := sum(step.refused > 0 for step in report.outcomes()):
        parts.append(counted(refused, "{count} planned skip was not safe", "{count} planned skips were not safe"))
    return joined(parts, BETWEEN)


def speed(report: RunReport) -> Text:
    """How much faster a run was."""
    if not report.reused:
        return Text("nothing skipped")
    if report.measured is None:
        return Text("about {predicted:.1f}× faster (predicted)", predicted=report.predicted)
    figures = {"measured": report.measured, "predicted": report.predicted}
    if report.measured < _NO_FASTER:
        return Text("not faster ({measured:.1f}× measured, {predicted:.1f}× predicted)", **figures)
    return Text("{measured:.1f}× faster (predicted {predicted:.1f}×)", **figures)


def counts(report: RunReport) -> list[Text]:
    """How many steps of a run were computed, and how many skipped if any was."""
    ran = [step for step in report.outcomes() if step.evaluations]
    skipped = sum(step.reused for step in ran)
    if not skipped:
        return [counted(len(ran), "{count} step computed", "{count} steps computed")]
    computed = counted(len(ran), "{done} of {count} step computed", "{done} of {count} steps computed", done=len(ran) - skipped)
    return [computed, Text("{count} skipped", count=skipped)]


def status(report: RunReport, done: int, steps: int) -> Text:
    """The progress of a run of which `done` of `steps` steps are over."""
    parts = [counted(steps, "{done} of {count} step", "{done} of {count} steps", done=done)]
    if report.label.kind == "calibrating":
        parts.append(Text("measuring"))
    else:
        computed = {event.step for event in report.events if not event.reused}
        parts.append(Text("{count} skipped", count=len({event.step for event in report.events} - computed)))
    if (speedup := report.measured) is not None:
        parts.append(Text("{speedup:.1f}× so far", speedup=speedup))
    return joined(parts, BETWEEN)


def size_of(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
