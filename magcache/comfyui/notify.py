"""What users are told about runs: on the node, in the log, and, for programs, over the websocket."""

from __future__ import annotations

import logging
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server import PromptServer

from ..curves.curve import MagnitudeCurve
from ..planning.plan import Reason
from ..reports.run_report import CALIBRATION_EVENT, REPORT_EVENT, Disturbance, RunReport
from ..settings import FEW_STEPS

log = logging.getLogger("magcache")
_COLUMNS = 40
"""Characters that fit into a line of a node of the default width. The frontend would break words."""
_BETWEEN, _GLUE = " · ", "\N{NO-BREAK SPACE}"

_ADVICE = {
    Reason.NO_CURVE: "Run it once with MagCache Calibration, or use MagCache Auto, which calibrates a model by itself.",
    Reason.NOT_FALLING: "Use a schedule whose sigmas fall.",
    Reason.TOO_SHORT: "Few-step (distilled) models already leave out the steps that a cache would skip. Use more steps with other models.",
    Reason.NO_STEP_ALLOWED: "Lower retention_ratio or start_step, or raise end_step (MagCache); "
    "lower start_percent or raise end_percent (MagCache Auto).",
    Reason.ERROR_TOO_LARGE: "For more speed raise magcache_thresh or magcache_K, or lower retention_ratio.",
    Reason.NOT_COVERED: "Calibrate with the scheduler, shift and denoise of this run.",
    Reason.FEWER_STEPS: "Sample with fewer steps instead.",
    Reason.LIMITED: "Use more steps, or a lower speed-up.",
}


def advice(report: RunReport) -> str | None:
    """What to tell the user about a run that did not skip as asked, and what to do; None if it went as asked."""
    if report.label.kind == "calibrating" or not report.events or report.plan.reason is Reason.OFF:
        return None
    if Disturbance.OTHER_CACHE in report.disturbances:
        return (
            "MagCache: another step cache (such as EasyCache) is on this model. From the step at which MagCache noticed it, every step "
            "was computed. Remove one of the two."
        )
    if Disturbance.NOT_REPRODUCED in report.disturbances:
        return (
            "MagCache: every step was computed, because a skipped step would not give what its blocks give. Remove other nodes from "
            "the model. If that does not help, this model cannot be skipped."
        )
    if report.reused:
        return _advice_on_skipping(report)
    if report.refused:
        return (
            "MagCache: nothing was skipped, because the conditioning, the size or the patches changed between steps and no "
            "residual was safe to reuse. Prompt schedules, moving context windows and LoRAs whose strength changes do this."
        )
    reason = report.plan.reason
    if report.label.note:
        return f"MagCache: nothing was skipped. {report.label.note}"
    if report.steps < FEW_STEPS and reason not in (Reason.NO_CURVE, Reason.NO_STEP_ALLOWED, Reason.NOT_FALLING):
        return f"MagCache: nothing was skipped. With {_steps(report.steps)} there is little to skip. {_ADVICE[Reason.TOO_SHORT]}"
    if reason is not None and reason in _ADVICE:
        return f"MagCache: nothing was skipped, because {reason.value}. {_ADVICE[reason]}"
    return None


def _advice_on_skipping(report: RunReport) -> str | None:
    """What to tell the user about a run that skipped less than asked, or that may change the picture a lot; None if it went as asked."""
    notes = [report.label.note] if report.label.note else []
    if report.plan.reason is Reason.LIMITED:
        notes.append(f"With {_steps(report.steps)} no more than {report.plan.speedup:.1f}× can be planned.")
    if Disturbance.EXTRA_EVALUATIONS in report.disturbances:
        notes.append("Another node evaluates the model more often than once a step, so errors of skipped steps were not corrected.")
    if report.steps < FEW_STEPS:
        skipped = sum(step.reused for step in report.outcomes())
        notes.append(f"It skipped {skipped} of only {_steps(report.steps)}, which can change the picture a lot.")
    return f"{report.line()}. {' '.join(notes)}" if notes else None


def _steps(count: int) -> str:
    return f"{count} step" + "s" * (count != 1)


def node_id(node_class: Any) -> str | None:
    """The id of the node that is executing; None where nodes are called from a script, without ComfyUI's executor."""
    hidden = getattr(node_class, "hidden", None)
    return hidden.unique_id if hidden else None


def show(text: str, node: str | None) -> None:
    """Show `text` on the node of that id, whether it is running or has finished long ago."""
    server = getattr(PromptServer, "instance", None)
    if server is not None and node is not None:
        server.send_progress_text("\n".join(map(_wrapped, text.splitlines())), node)


def _wrapped(line: str) -> str:
    """`line` in lines of at most 40 characters: broken between the parts of a status, within a long part between words."""
    glued = _BETWEEN.join(part.replace(" ", _GLUE) if len(part) < _COLUMNS else part for part in line.split(_BETWEEN))
    return textwrap.fill(glued, _COLUMNS, break_long_words=False, break_on_hyphens=False).replace(_GLUE, " ")


@dataclass(frozen=True, slots=True)
class Notifier:
    """Tells the user about the runs of one node."""

    node: str | None
    """Id of the node; None outside of a server."""

    def progress(self, text: str) -> None:
        """Show the progress of a run."""
        show(text, self.node)

    def finished(self, report: RunReport, text: str) -> None:
        """Show and log the result of a run, and send its report to programs that listen."""
        log.info(text)
        found = advice(report)
        if found:
            log.warning(found)
        show((found or text).removeprefix("MagCache: "), self.node)
        self._send(REPORT_EVENT, report=report.to_json())

    def calibrated(self, curve: MagnitudeCurve, path: Path) -> None:
        """Send a new curve to programs that listen."""
        self._send(CALIBRATION_EVENT, path=str(path), curve=curve.to_json())

    def _send(self, event: str, **data: Any) -> None:
        """Send an event to programs that listen on the websocket."""
        server = getattr(PromptServer, "instance", None)
        if server is not None and self.node is not None:
            server.send_sync(event, {"node": self.node, **data})
