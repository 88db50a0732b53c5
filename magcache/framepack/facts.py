"""What is known about a finished video: how long it took, how close it is, and what MagCache did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..documents import mapping, number, text, whole
from ..errors import SettingsError
from ..reports.reasons import why
from ..reports.run_report import RunReport
from .compare import Closeness
from .generation import Clip
from .settings import truth


@dataclass(frozen=True, slots=True)
class Skipped:
    """What MagCache did."""

    line: str
    table: str
    note: str
    """A sentence on how the run differs from what was asked for; empty if it does not."""
    measured_first: bool
    """Whether the first section was computed in full to measure the model."""
    evaluations: int
    nfe: int
    """Evaluations that ran the model's blocks."""
    measured: float | None
    """Speed-up of the sampling, as the times of the steps show it."""

    @classmethod
    def of(cls, report: RunReport, steps: int) -> Skipped:
        """`steps` is the number of steps of a section."""
        measured_first = any(report.plan.reused) and not any(report.plan.reused[:steps])
        note = " ".join(filter(None, (report.label.note, why(report) or "")))
        return cls(report.line(), report.table(), note, measured_first, report.evaluations, report.nfe, report.measured)


@dataclass(frozen=True, slots=True)
class Quality:
    """How close the video is to the same one without MagCache: PSNR in dB."""

    psnr: float
    psnr_worst: float
    worst_frame: int
    """From 0 on."""


@dataclass(frozen=True, slots=True)
class Facts:
    """All of it."""

    model: str
    frames: int
    width: int
    height: int
    seconds: float
    """From the call of the pipeline to its end."""
    plain_seconds: float | None = None
    """The same without MagCache; None if it was not made."""
    quality: Quality | None = None
    """None if there is nothing to compare with."""
    skipped: Skipped | None = None
    """None if MagCache was off."""

    @classmethod
    def of(cls, model: str, steps: int, clip: Clip, plain: Clip | None, closeness: Closeness | None) -> Facts:
        """`steps` is the number of steps of a section."""
        frames, height, width = clip.frames.shape[:3]
        quality = closeness and Quality(closeness.whole, min(closeness.psnr), closeness.worst)
        skipped = clip.report and Skipped.of(clip.report, steps)
        return cls(model, frames, width, height, clip.seconds, plain and plain.seconds, quality, skipped)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Facts:
        """Facts that `to_json` gave. Raises `SettingsError` if one is missing or not what it should be."""
        try:
            return cls(
                text(values["model"]), whole(values["frames"]), whole(values["width"]), whole(values["height"]), number(values["seconds"]),
                _optional(number, values["plain_seconds"]), _optional(_quality, values["quality"]), _optional(_skipped, values["skipped"]),
            )  # fmt: skip
        except KeyError as error:
            raise SettingsError(f"{error} is missing.") from None
        except TypeError as error:
            raise SettingsError(f"A fact is not what it should be: {error}.") from None


def _optional(kind: Any, value: object) -> Any:
    return None if value is None else kind(value)


def _quality(value: object) -> Quality:
    values = mapping(value)
    return Quality(number(values["psnr"]), number(values["psnr_worst"]), whole(values["worst_frame"]))


def _skipped(value: object) -> Skipped:
    values = mapping(value)
    return Skipped(
        text(values["line"]), text(values["table"]), text(values["note"]), truth(values["measured_first"]),
        whole(values["evaluations"]), whole(values["nfe"]), _optional(number, values["measured"]),
    )  # fmt: skip
