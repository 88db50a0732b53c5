"""What a user can set: the published knobs, a target speed, and how residuals are reused and kept."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, dataclass
from typing import Literal, get_args

from .documents import mapping, number, read_text, text, write_text
from .errors import SettingsError
from .texts import Text

Reuse = Literal["hold", "scale", "extrapolate"]
"""How a residual is reused: as it was, scaled to the expected size, or extrapolated from the last two computed steps."""
CacheDevice = Literal["auto", "device", "cpu"]
"""Where residuals are kept. `auto`: on the device, unless they would take much of its free memory."""
FEW_STEPS = 10
"""A run with fewer steps has little to skip and shows too little of a schedule to calibrate on."""
PRESET_FORMAT = "magcache.preset"
_MAX_BYTES = 2**16


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdSettings:
    """The knobs of the published rule (Ma et al., 2025, arXiv:2506.09045, Sec. 3.2). Raises `SettingsError` if one is out of range."""

    threshold: float = 0.06
    """δ: a step is skipped while the accumulated magnitude error is at most this. 0 switches MagCache off."""
    max_skip: int = 2
    """K: at most this many consecutive steps are skipped. 0 switches MagCache off."""
    retention: float = 0.2
    """Fraction of the steps, from the first, that is always computed."""
    start_step: int = 0
    """First step (0-based) that may be skipped."""
    end_step: int = -1
    """Last step that may be skipped. A negative number counts from the end; −1 is the last step."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.threshold) and self.threshold >= 0):
            raise SettingsError(Text("The threshold is {given}; it must be 0 (off) or more, usually 0.02 to 0.3.", given=self.threshold))
        if self.max_skip < 0:
            raise SettingsError(Text("max_skip (K) is {given}; it must be 0 (off) or more, usually 2 to 6.", given=self.max_skip))
        if not 0 <= self.retention <= 1:
            raise SettingsError(Text("The retention is {given}; it must be from 0 to 1, usually 0.1 to 0.3.", given=self.retention))
        if self.start_step < 0:
            raise SettingsError(Text("The start step is {given}; it must be 0 or more.", given=self.start_step))

    @property
    def off(self) -> bool:
        """Whether these settings skip nothing, whatever the curve."""
        return self.threshold == 0 or self.max_skip == 0


@dataclass(frozen=True, slots=True)
class SpeedupSettings:
    """What MagCache Auto does for a curve where the user leaves it open, as found by tuning. Raises `SettingsError` if out of range."""

    speedup: float
    """Steps per computed step, 1 to 100."""
    reuse: Reuse
    """How residuals are reused."""
    start_percent: float = 0.0
    """Steps before this fraction of the schedule are computed."""
    end_percent: float = 1.0
    """Steps after this fraction of the schedule are computed."""

    def __post_init__(self) -> None:
        if not 1 <= self.speedup <= 100:
            raise SettingsError(Text("The tuned speed-up is {given}; it must be from 1 to 100, usually 1.5 to 3.", given=self.speedup))
        if self.reuse not in get_args(Reuse):
            raise SettingsError(f"The tuned way to reuse is {self.reuse!r:.60}; expected one of {', '.join(get_args(Reuse))}.")
        if not 0 <= self.start_percent <= self.end_percent <= 1:
            raise SettingsError(
                Text(
                    "The tuned part of the schedule is {start} to {end}; it must lie in 0 to 1, start before end.",
                    start=self.start_percent,
                    end=self.end_percent,
                )
            )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> SpeedupSettings:
        """Read the file at `path` that `save` wrote. Raises `SettingsError` if it cannot be read or understood."""
        try:
            fields = mapping(json.loads(read_text(path, _MAX_BYTES)))
            if fields.get("format") != PRESET_FORMAT:
                raise ValueError(f'expected a JSON object with "format": "{PRESET_FORMAT}"')
            reuse: Reuse = text(fields["reuse"])  # pyright: ignore[reportAssignmentType] - checked by __post_init__
            return cls(number(fields["speedup"]), reuse, number(fields["start_percent"]), number(fields["end_percent"]))
        except (OSError, ValueError, RecursionError, KeyError, TypeError) as error:
            raise SettingsError(f"{path} cannot be read as a preset: {error}. Tune again, or delete it.") from None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the JSON file at `path` in one piece. Raises `OSError`."""
        write_text(path, json.dumps({"format": PRESET_FORMAT, **asdict(self)}, indent=1) + "\n")
