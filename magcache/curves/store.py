"""Where a user's own curves and tuned settings are kept, beside the curves that come with MagCache."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import CurveError, MagCacheError, SettingsError, UnknownCurveError
from ..settings import SpeedupSettings
from ..texts import Text
from .codec import head_of
from .curve import MagnitudeCurve
from .names import file_stem, is_automatic, marked_stem, may_be_made, name_of
from .shipped import known_curves, load_curve
from .unsaved import UnsavedCurves

PRESETS = "presets"
"""The subfolder for tuned settings: one file a curve, named after it."""
_HEAD_BYTES = 4096

log = logging.getLogger("magcache")


@dataclass(frozen=True, slots=True)
class Saved:
    """Where a curve was saved."""

    path: Path
    problem: str = ""
    """Why it could not be written there and is kept in memory instead; empty if it was written."""


@dataclass(frozen=True, slots=True)
class CurveStore:
    """Curve files in `folders`. All are read, the first one wins and is written to; what it cannot take is kept in `unsaved`."""

    folders: tuple[Path, ...]
    unsaved: UnsavedCurves = field(default_factory=UnsavedCurves, compare=False)

    def own_files(self) -> dict[str, Path]:
        """The user's curve files by the names of their curves."""
        found: dict[str, Path] = {}
        for folder in self.folders:
            for path in sorted(folder.glob("*.json")):
                found.setdefault(_name_in(path), path)
        return found

    def own_names(self) -> list[str]:
        """The names of the user's own curves."""
        return list(self.own_files() | self._kept)

    def names(self) -> list[str]:
        """Every name that `load` knows: shipped curves first, then the user's own."""
        shipped = known_curves()
        return shipped + [name for name in self.own_names() if name not in shipped]

    def hidden(self) -> list[Path]:
        """The user's files that are used in place of a shipped curve of the same name."""
        shipped = known_curves()
        return [path for name, path in self.own_files().items() if name in shipped]

    def family_of(self, name: str) -> str | None:
        """The architecture of the curve `name`; None if its file cannot be read."""
        try:
            path = None if name in self._kept else self.own_files().get(name)
            head = path and _head(path)
            return head[1] if head else self.load(name, 0).family
        except MagCacheError:
            return None

    def load(self, name: str, steps: int) -> MagnitudeCurve:
        """The curve `name` for a run of `steps` steps; the user's own goes before a shipped one.

        Raises `CurveError` and `UnknownCurveError`.
        """
        own = self.own(name)
        if own is not None:
            return own
        try:
            return load_curve(name, steps)
        except UnknownCurveError:
            raise UnknownCurveError(
                Text(
                    "There is no curve named {name!r}: neither shipped nor in {place}. Known: {names}.",
                    name=name,
                    place=self._place,
                    names=", ".join(self.names()),
                )
            ) from None

    def own(self, name: str) -> MagnitudeCurve | None:
        """The user's own curve `name`; None if there is none. Raises `CurveError` if its file cannot be read."""
        if name in self._kept:
            return self._kept[name]
        path = self.own_files().get(name)
        return None if path is None else MagnitudeCurve.load(path)

    def own_curve_of(self, fingerprint: str, kind: str, sigmas: Sequence[float]) -> MagnitudeCurve | None:
        """The automatic calibration of the model with this `fingerprint` that covers most of `sigmas`.

        Of several that cover as much: one for this `kind` of model, then the newest. Curves that the user has named are for whoever
        chooses them. Files that cannot be read are ignored with a warning.
        """
        found = [curve for curve in self._calibrations(fingerprint).values() if is_automatic(curve.name, curve.provenance)]
        return max(found, key=lambda curve: (round(curve.coverage(sigmas), 1), curve.provenance.get("model") == kind), default=None)

    def named_curves_of(self, fingerprint: str) -> list[str]:
        """The names that the user has given to calibrations of the model with this `fingerprint`, the newest first."""
        found = self._calibrations(fingerprint)
        return [name for name, curve in found.items() if not is_automatic(curve.name, curve.provenance)]

    def save(self, curve: MagnitudeCurve) -> Saved:
        """Write a calibration where `names` and `own_curve_of` find it. What cannot be written is kept in memory, with a warning."""
        path = self._path_for(curve.name)
        try:
            curve.save(path)
        except (OSError, ValueError) as error:
            problem = Text("it could not be saved to {path}: {error}", path=path, error=error)
            if curve.name not in self._kept:
                log.warning("MagCache keeps the curve %s in memory until the program ends, because %s", curve.name, problem)
            self._kept[curve.name] = curve
            return Saved(path, problem)
        self._kept.pop(curve.name, None)
        return Saved(path)

    def state(self) -> str:
        """A text that changes whenever a curve or a preset is added, replaced or removed."""
        files = sorted(path for folder in self.folders for pattern in ("*.json", f"{PRESETS}/*.json") for path in folder.glob(pattern))
        kept = [f"{name} {id(curve)}" for name, curve in self._kept.items()]
        return "\n".join([*(f"{path} {_modified(path)}" for path in files), *kept])

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
            raise MagCacheError(
                Text("The preset could not be saved to {path}: {error}. Make the folder writable and run again.", path=path, error=error)
            ) from error
        return path

    @property
    def _place(self) -> str:
        return " or ".join(str(folder) for folder in self.folders)

    @property
    def _kept(self) -> dict[str, MagnitudeCurve]:
        return self.unsaved.of(self.folders)

    def _calibrations(self, fingerprint: str) -> dict[str, MagnitudeCurve]:
        """The user's curves of a model by name, the newest first."""
        found = dict(reversed(self._kept.items()))
        for name, path in sorted(self.own_files().items(), key=lambda item: _modified(item[1]), reverse=True):
            try:
                found.setdefault(name, MagnitudeCurve.load(path))
            except CurveError as error:
                log.warning("MagCache ignores a curve file: %s", error)
        return {name: curve for name, curve in found.items() if curve.provenance.get("fingerprint") == fingerprint}

    def _path_for(self, name: str) -> Path:
        """The file of a curve in the first folder. Names that differ only by case get two files also where case does not count."""
        folder = self.folders[0]
        files = {_name_in(path): path for path in folder.glob("*.json")}
        if name in files:
            return files[name]
        stem = file_stem(name)
        taken = stem.casefold() in {path.stem.casefold() for path in files.values()}
        return folder / f"{marked_stem(name) if taken else stem}.json"

    def _preset_files(self, curve: str) -> list[Path]:
        own = self.own_files().get(curve)
        stem = file_stem(curve) if own is None else own.stem
        return [folder / PRESETS / f"{stem}.json" for folder in self.folders]


def _name_in(path: Path) -> str:
    """The name of the curve in a file."""
    head = _head(path) if may_be_made(path.stem) else None
    return name_of(path.stem, head and head[0])


def _head(path: Path) -> tuple[str, str] | None:
    """Name and family of a curve without reading all of its file; None if it does not begin with them."""
    try:
        with path.open("rb") as file:
            return head_of(file.read(_HEAD_BYTES).decode(errors="ignore"))
    except OSError:
        return None


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
