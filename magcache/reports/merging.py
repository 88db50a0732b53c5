"""One report of several runs that belong together: the sections of a long video, or two experts that share one schedule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..planning.plan import joined
from .run_report import Event, RunReport


def merged(reports: Sequence[RunReport]) -> RunReport:
    """The runs one after the other. The label is that of the last one, with the curves of all."""
    if len(reports) == 1:
        return reports[0]
    events: list[Event] = []
    offset = 0
    for report in reports:
        events += [replace(event, step=None if event.step is None else event.step + offset) for event in report.events]
        offset += report.plan.steps
    ratios = tuple(ratio for report in reports for ratio in report.ratios)
    curves = dict.fromkeys(report.label.curve for report in reports if report.label.curve)
    return replace(
        reports[-1],
        label=replace(reports[-1].label, curve=", ".join(curves) or None),
        plan=joined([report.plan for report in reports]),
        events=tuple(events),
        seconds=tuple(second for report in reports for second in report.seconds),
        residual_bytes=max(report.residual_bytes for report in reports),
        ratios=ratios if len(ratios) == offset else (),
        disturbances=tuple(dict.fromkeys(found for report in reports for found in report.disturbances)),
    )
