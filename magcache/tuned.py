"""Settings of MagCache Auto that were tuned for a model, and the small file that keeps them."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import get_args

from .errors import SettingsError
from .files import read_text, write_text
from .json_values import mapping, number, text
from .planner import Reuse

FORMAT = "magcache.preset"
_MAX_BYTES = 2**16


@dataclass(frozen=True, slots=True)
class Tuned:
    """What MagCache Auto shall do where it is left to decide. Raises `SettingsError` when a value is out of range."""

    speedup: float
    reuse: Reuse
    start_percent: float = 0.0
    """Steps before this part of the schedule are computed."""
    end_percent: float = 1.0
    """Steps after this part of the schedule are computed."""

    def __post_init__(self) -> None:
        if not 1 <= self.speedup <= 100:
            raise SettingsError(f"The tuned speed-up is {self.speedup}; it must be from 1 to 100, usually 1.5 to 3.")
        if self.reuse not in get_args(Reuse):
            raise SettingsError(f"The tuned way to reuse is {self.reuse!r:.60}; expected one of {', '.join(get_args(Reuse))}.")
        if not 0 <= self.start_percent <= self.end_percent <= 1:
            raise SettingsError(
                f"The tuned part of the schedule is {self.start_percent} to {self.end_percent}; it must lie in 0 to 1, start before end."
            )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Tuned:
        """Read a file of `save`. Raises `SettingsError` when it cannot be read or understood."""
        try:
            fields = mapping(json.loads(read_text(path, _MAX_BYTES)))
            if fields.get("format") != FORMAT:
                raise ValueError(f'expected a JSON object with "format": "{FORMAT}"')
            reuse: Reuse = text(fields["reuse"])  # pyright: ignore[reportAssignmentType] - checked above
            return cls(number(fields["speedup"]), reuse, number(fields["start_percent"]), number(fields["end_percent"]))
        except (OSError, ValueError, RecursionError, KeyError, TypeError) as error:
            raise SettingsError(f"{path} cannot be read as a preset: {error}. Tune again, or delete it.") from None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it in one piece. Raises `OSError`."""
        write_text(path, json.dumps({"format": FORMAT, **asdict(self)}, indent=1) + "\n")
