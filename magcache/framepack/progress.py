"""How far a job is, and how long it may still take."""

from __future__ import annotations

import time
from dataclasses import dataclass

FIRST_GUESS = 2
"""Steps after which the time left is guessed."""


@dataclass(slots=True)
class Progress:
    """Sections and steps of the videos of a job. Written by one thread, read by others."""

    sections: int
    steps: int
    """Of a section."""
    passes: tuple[float, ...]
    """How long a step of each video of the job takes, compared with each other."""
    current: int = 0
    """The video that is being made, from 0 on."""
    section: int = 0
    step: int = 0
    begun: float | None = None

    def begin(self, current: int) -> None:
        self.current, self.section, self.step = current, 0, 0
        self.begun = self.begun or time.perf_counter()

    @property
    def fraction(self) -> float:
        """0 to 1, by time."""
        whole = sum(self.passes) * self.sections * self.steps
        before = sum(self.passes[: self.current]) * self.sections * self.steps
        return (before + self.passes[self.current] * (self.section * self.steps + self.step)) / whole

    @property
    def seconds_left(self) -> float | None:
        """None until enough steps are done to tell."""
        done = self.fraction
        enough = self.current or self.section or self.step >= FIRST_GUESS
        if self.begun is None or not enough or done >= 1:
            return None
        return (time.perf_counter() - self.begun) * (1 - done) / done

    def text(self) -> str:
        if self.begun is None:
            return "Getting ready"
        if self.section == self.sections:
            return "Finishing"
        return f"Section {self.section + 1} of {self.sections} · step {self.step} of {self.steps}"


def clock(seconds: float) -> str:
    """A length of time for people."""
    if round(seconds, 1) < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(whole / 60)
    return f"{minutes // 60} h {minutes % 60} min"
