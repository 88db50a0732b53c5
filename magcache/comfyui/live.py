"""How a run stands while it goes on."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ..session import Session

_SECONDS_APART = 0.25
"""So seldom that it costs nothing, so often that it looks alive."""

SamplerCallback = Callable[[int, Any, Any, int], None]
"""What ComfyUI calls after each step, with its index (0-based), two latents and the number of steps."""


class LiveStatus:
    """Follows a run by the sampler's own callback and says how it stands, the first step at once, then now and then."""

    def __init__(self, session: Session, say: Callable[[str], None]) -> None:
        self._session = session
        self._say = say
        self._done, self._steps = 0, session.plan.steps
        self._next = 0.0

    def following(self, callback: SamplerCallback | None) -> SamplerCallback:
        """`callback`, followed."""

        def stepped(step: int, denoised: Any, x: Any, steps: int) -> None:
            self._done, self._steps = step + 1, steps
            if time.monotonic() >= self._next:
                self._next = time.monotonic() + _SECONDS_APART
                self._say(self._session.so_far().status(self._done, self._steps))
            if callback is not None:
                callback(step, denoised, x, steps)

        return stepped

    def stopped(self) -> None:
        """The run was interrupted or failed."""
        self._say(f"stopped after {self._done} of {self._steps} steps")
