"""What users are told about runs: on the node, in the log, and, for programs, over the websocket."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

from server import PromptServer

from ..curves.curve import MagnitudeCurve
from ..curves.store import Saved
from ..planning.plan import Reason
from ..reports.reasons import interference, why
from ..reports.run_report import CALIBRATION_EVENT, REPORT_EVENT, Disturbance, RunReport
from ..reports.wording import summary
from ..reports.wrapping import wrapped
from ..settings import FEW_STEPS
from ..texts import Text, counted, joined
from .language import errors_in_users_language, in_users_language

log = logging.getLogger("magcache")
_COLUMNS = 40
"""Characters that fit into a line of a node of the default width. The frontend would break words."""

_ADVICE = {
    Reason.NO_CURVE: Text("Run it once with MagCache Calibration, or use MagCache Auto, which measures a model by itself."),
    Reason.TOO_SHORT_TO_MEASURE: Text(
        "Run it once with 10 steps or more. A model made for few steps (Lightning, schnell) leaves little to skip."
    ),
    Reason.TOO_NOISY_TO_MEASURE: Text("Run it once with a sampler such as euler."),
    Reason.NOT_FALLING: Text("Use another scheduler."),
    Reason.TOO_SHORT: Text("A model made for few steps (Lightning, schnell) leaves little to skip. Use more steps with other models."),
    Reason.EMPTY_WINDOW: Text("Let the start lie before the end: start_step and end_step, or start_percent and end_percent."),
    Reason.NO_STEP_ALLOWED: Text("Lower retention_ratio or the start, or raise the end."),
    Reason.CHANGES_FAST: Text("Use more steps."),
    Reason.ERROR_TOO_LARGE: Text("For more speed raise magcache_thresh, or use more steps."),
    Reason.NOT_COVERED: Text("Calibrate with the scheduler, shift and denoise of this run."),
    Reason.FEWER_STEPS: Text("Sample with fewer steps instead, or skip from a run of more steps."),
    Reason.LIMITED: Text("Use more steps for more speed."),
    Reason.LIMITED_BY_WINDOW: Text("Lower start_percent or raise end_percent for more speed."),
}
_REMOVE_CACHE = Text("Remove one of the two.")
_REMOVE_OTHERS = Text("Remove other nodes from the model. If that does not help, this model cannot be skipped.")
_CHANGING = Text("Prompt schedules, moving context windows and LoRAs whose strength changes do this.")


def advice(report: RunReport) -> Text | None:
    """What to tell the user about a run that did not skip as asked, and what to do; None if it went as asked."""
    if report.label.kind == "calibrating" or not report.events or report.plan.reason is Reason.OFF:
        return None
    if (text := interference(report)) is not None:
        return joined([text, _against(report)])
    if report.reused:
        return _advice_on_skipping(report)
    reason, text = report.plan.reason, why(report)
    if text is None and not report.label.note:
        return None
    return joined([Text("Nothing was skipped."), text or "", report.label.note, _ADVICE.get(reason, "") if reason else ""])


def _against(report: RunReport) -> Text:
    """What to do about what kept a run from skipping."""
    if Disturbance.OTHER_CACHE in report.disturbances:
        return _REMOVE_CACHE
    if Disturbance.NOT_REPRODUCED in report.disturbances:
        return _REMOVE_OTHERS
    return joined(["" if any(event.withheld for event in report.events) else _CHANGING])


def _advice_on_skipping(report: RunReport) -> Text | None:
    """What to tell the user about a run that skipped less than asked, or that may change the picture a lot; None if it went as asked."""
    notes = [report.label.note] if report.label.note else []
    if report.plan.reason is not None and (text := why(report)) is not None:
        notes += [text, _ADVICE.get(report.plan.reason, "")]
    if Disturbance.EXTRA_EVALUATIONS in report.disturbances:
        notes.append(Text("Another node calls the model more often than once a step, so errors of skipped steps were not corrected."))
    if report.steps < FEW_STEPS:
        skipped = sum(step.reused for step in report.outcomes())
        notes.append(
            counted(
                report.steps,
                "It skipped {skipped} of only {count} step, which can change the picture a lot.",
                "It skipped {skipped} of only {count} steps, which can change the picture a lot.",
                skipped=skipped,
            )
        )
    return joined([Text("{text}.", text=summary(report)), *notes]) if notes else None


def node_id(node_class: Any) -> str | None:
    """The id of the node that is executing; None where nodes are called from a script, without ComfyUI's executor."""
    hidden = getattr(node_class, "hidden", None)
    return hidden.unique_id if hidden else None


def tells_errors(execute: Callable[..., Any]) -> Callable[..., Any]:
    """A node's `execute` whose errors also stand on the node, in place of what it showed before, and are in the user's language."""

    @wraps(execute)
    def told(cls: Any, *args: Any, **kwargs: Any) -> Any:
        with errors_in_users_language(lambda text: show(text, node_id(cls))):
            return execute(cls, *args, **kwargs)

    return told


def show(text: str, node: str | None) -> None:
    """Show `text` on the node of that id, whether it is running or has finished long ago, in the user's language.

    It takes the place of what was shown before. Nothing can take it away: the frontend ignores an empty text.
    """
    server = getattr(PromptServer, "instance", None)
    if server is not None and node is not None:
        lines = [part for line in in_users_language(text).splitlines() for part in wrapped(line, _COLUMNS)]
        server.send_progress_text("\n".join(lines), node)


@dataclass(frozen=True, slots=True)
class Notifier:
    """Tells the user about the runs of one node."""

    node: str | None
    """Id of the node; None outside of a server."""

    def progress(self, text: str) -> None:
        """Show the progress of a run."""
        show(text, self.node)

    def finished(self, report: RunReport, text: str) -> None:
        """Show and log the result of a run, and send its report to programs that listen. `text` says how the run went."""
        text = text if isinstance(text, Text) else text.removeprefix("MagCache: ")
        log.info("%s", report.line(text))
        if (found := advice(report)) is not None:
            log.warning("MagCache: %s", joined([found, report.label.detail]))
        show(found or text, self.node)
        self._send(REPORT_EVENT, report=report.to_json())

    def calibrated(self, curve: MagnitudeCurve, saved: Saved) -> None:
        """Send a new curve to programs that listen."""
        self._send(CALIBRATION_EVENT, path=str(saved.path), problem=saved.problem, curve=curve.to_json())

    def _send(self, event: str, **data: Any) -> None:
        """Send an event to programs that listen on the websocket."""
        server = getattr(PromptServer, "instance", None)
        if server is not None and self.node is not None:
            server.send_sync(event, {"node": self.node, **data})
