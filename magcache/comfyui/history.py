"""The reports of runs that are over. They are plain values."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from comfy_execution.utils import get_executing_context

from ..reports.run_report import RunReport

_MOST = 4


class RunHistory:
    """The runs of one model in the last prompt that sampled with it, each with the text shown for it; at most the last four."""

    def __init__(self) -> None:
        self._prompt: str | None = None
        self._runs: deque[tuple[RunReport, str]] = deque(maxlen=_MOST)

    def add(self, report: RunReport, text: str) -> None:
        context = get_executing_context()
        prompt = context.prompt_id if context else None
        if prompt is None or prompt != self._prompt:  # Without a server every run is a prompt of its own.
            self._runs.clear()
        self._prompt = prompt
        self._runs.append((report, text))

    def __iter__(self) -> Iterator[tuple[RunReport, str]]:
        return iter(tuple(self._runs))
