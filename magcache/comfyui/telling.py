"""How users learn of runs: on the node, in the log, and over the websocket."""

from __future__ import annotations

import logging
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server import PromptServer

from ..curve import MagnitudeCurve
from ..report import RunReport

log = logging.getLogger("magcache")
_COLUMNS = 40
"""As many characters fit into a line of a new node. The frontend would break words."""
_BETWEEN, _GLUE = " · ", "\N{NO-BREAK SPACE}"


def show(text: str, node: str | None) -> None:
    """Show `text` on the node of that id, whether it is running or has finished long ago."""
    server = getattr(PromptServer, "instance", None)
    if server is not None and node is not None:
        server.send_progress_text("\n".join(map(_wrapped, text.splitlines())), node)


def _wrapped(line: str) -> str:
    """Broken between the parts of a status where that is enough, else between words."""
    glued = _BETWEEN.join(part.replace(" ", _GLUE) if len(part) < _COLUMNS else part for part in line.split(_BETWEEN))
    return textwrap.fill(glued, _COLUMNS, break_long_words=False, break_on_hyphens=False).replace(_GLUE, " ")


@dataclass(frozen=True, slots=True)
class Teller:
    """Tells of the runs of one node."""

    node: str | None

    def progress(self, text: str) -> None:
        show(text, self.node)

    def finished(self, report: RunReport, text: str) -> None:
        log.info(text)
        warning = report.warning()
        if warning:
            log.warning(warning)
        show((warning or text).removeprefix("MagCache: "), self.node)
        self._tell("magcache.report", report=report.to_json())

    def calibrated(self, curve: MagnitudeCurve, path: Path) -> None:
        self._tell("magcache.calibration", path=str(path), curve=curve.to_json())

    def _tell(self, event: str, **data: Any) -> None:
        """Programs that listen on the websocket."""
        server = getattr(PromptServer, "instance", None)
        if server is not None and self.node is not None:
            server.send_sync(event, {"node": self.node, **data})
