"""Where a user's own curves and tuned settings are kept, beside the curves that come with MagCache."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import CurveError, MagCacheError, SettingsError, UnknownCurveError
from ..settings import SpeedupSettings
from .curve import MagnitudeCurve
from .shipped import known_curves, load_curve

PRESETS = "presets"
"""The subfolder for tuned settings: one file a curve, named after it."""

log = logging.getLogger("magcache")


@dataclass(frozen=True, slots=True)
class CurveStore:
    """Curve files in `folders`. All are read, the first one wins and is written to."""

    folders: tuple[Path, ...]

    def own_files(self) -> dict[str, Path]:
        """The user's curve files by name."""
        found: dict[str, Path] = {}
        for folder in self.folders:
            for path in sorted(folder.glob("*.json")):
                found.setdefault(path.stem, path)
        return found

    def names(self) -> list[str]:
        """Every name that `load` knows: shipped curves first, then the user's own."""
        shipped = known_curves()
        return shipped + [name for name in self.own_files() if name not in shipped]

    def load(self, name: str, steps: int) -> MagnitudeCurve:
        """The curve `name` for a run of `steps` steps; the user's own goes before a shipped one.

        Raises `CurveError` and `UnknownCurveError`.
        """
        own = self.own_files()
        if name in own:
            return MagnitudeCurve.load(own[name])
        try:
            return load_curve(name, steps)
        except UnknownCurveError:
            raise UnknownCurveError(
                f"There is no curve named {name!r}: neither shipped nor in {self._place}. Known: {', '.join(self.names())}."
            ) from None

    def own_curve_of(self, fingerprint: str, kind: str, sigmas: Sequence[float]) -> MagnitudeCurve | None:
        """The user's calibration of the model with this `fingerprint` that covers most of `sigmas`.

        Of several that cover as much: one for this `kind` of model, then the newest. Files that cannot be read are ignored with a
        warning.
        """
        found: list[MagnitudeCurve] = []
        for path in sorted(self.own_files().values(), key=_modified, reverse=True):
            try:
                found.append(MagnitudeCurve.load(path))
            except CurveError as error:
                log.warning("MagCache ignores a curve file: %s", error)
        found = [curve for curve in found if curve.provenance.get("fingerprint") == fingerprint]
        return max(found, key=lambda curve: (round(curve.coverage(sigmas), 1), curve.provenance.get("model") == kind), default=None)

    def save(self, curve: MagnitudeCurve) -> Path:
        """Write a calibration where `names` and `own_curve_of` find it. Raises `MagCacheError` if it cannot be written."""
        path = self.folders[0] / f"{curve.name}.json"
        try:
            curve.save(path)
        except OSError as error:
            raise MagCacheError(
                f"The calibration could not be saved to {path}: {error}. Make the folder writable and run again."
            ) from error
        return path

    def preset_of(self, curve: str) -> SpeedupSettings | None:
        """The settings that were tuned with this curve. A file that cannot be read is ignored with a warning."""
        found = next((path for path in self._preset_files(curve) if path.is_file()), None)
        try:
            return SpeedupSettings.load(found) if found else None
        except SettingsError as error:
            log.warning("MagCache ignores a preset: %s", error)
            return None

    def save_preset(self, curve: str, settings: SpeedupSettings) -> Path:
        """Write settings where `preset_of` finds them. Raises `MagCacheError` if they cannot be written."""
        path = self._preset_files(curve)[0]
        try:
            settings.save(path)
        except OSError as error:
            raise MagCacheError(f"The preset could not be saved to {path}: {error}. Make the folder writable and run again.") from error
        return path

    @property
    def _place(self) -> str:
        return " or ".join(str(folder) for folder in self.folders)

    def _preset_files(self, curve: str) -> list[Path]:
        return [folder / PRESETS / f"{curve}.json" for folder in self.folders]


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
