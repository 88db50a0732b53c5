"""The progress of a run, as text."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ..reports.wording import status
from ..runtime.session import Session
from ..texts import counted

_SECONDS_APART = 0.25

SamplerCallback = Callable[[int, Any, Any, int], None]
"""What ComfyUI calls after each step, with its index (0-based), two latents and the number of steps."""


class ProgressText:
    """Shows progress after the first step, then at most every 0.25 s. It follows the run by the sampler's own callback."""

    def __init__(self, session: Session, show: Callable[[str], None]) -> None:
        self._session = session
        self._show = show
        self._done, self._steps = 0, session.plan.steps
        self._next = 0.0

    def following(self, callback: SamplerCallback) -> SamplerCallback:
        """`callback`, followed by this text."""

        def stepped(step: int, denoised: Any, x: Any, steps: int) -> None:
            self._done, self._steps = step + 1, steps
            if time.monotonic() >= self._next:
                self._next = time.monotonic() + _SECONDS_APART
                self._show(status(self._session.so_far(), self._done, self._steps))
            callback(step, denoised, x, steps)

        return stepped

    def stopped(self) -> None:
        """The run was interrupted or failed."""
        self._show(counted(self._steps, "stopped after {done} of {count} step", "stopped after {done} of {count} steps", done=self._done))
