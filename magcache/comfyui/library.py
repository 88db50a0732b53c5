"""The curves a user can choose from: those that come with MagCache and those of the user's own calibrations."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import folder_paths

from ..curve import MagnitudeCurve
from ..curves import known_curves, load_curve
from ..errors import CurveError, MagCacheError, SettingsError, UnknownCurveError
from ..tuned import Tuned

FOLDER = "magcache"
"""ComfyUI's model folder for curves: models/magcache."""
PRESETS = "presets"
"""The folder in it for tuned settings, a file for each curve, of its name."""

log = logging.getLogger("magcache")


def register_folder() -> None:
    """Make models/magcache known to ComfyUI, and to `extra_model_paths.yaml`."""
    folder_paths.add_model_folder_path(FOLDER, str(Path(folder_paths.models_dir) / FOLDER), is_default=True)


def own_files() -> dict[str, Path]:
    """The user's curve files by name; the first folder wins."""
    found: dict[str, Path] = {}
    for folder in folder_paths.get_folder_paths(FOLDER):
        for path in sorted(Path(folder).glob("*.json")):
            found.setdefault(path.stem, path)
    return found


def names() -> list[str]:
    """Every name that can be chosen, the user's own last."""
    shipped = known_curves()
    return shipped + [name for name in own_files() if name not in shipped]


def load(name: str, steps: int) -> MagnitudeCurve:
    """The curve `name`, the user's own before a shipped one. Raises `CurveError`, `UnknownCurveError`."""
    own = own_files()
    if name in own:
        return MagnitudeCurve.load(own[name])
    try:
        return load_curve(name, steps)
    except UnknownCurveError:
        raise UnknownCurveError(
            f"There is no curve named {name!r}: neither shipped nor in models/{FOLDER}. Known: {', '.join(names())}."
        ) from None


def own_curve_of(fingerprint: str, kind: str, sigmas: Sequence[float]) -> MagnitudeCurve | None:
    """The user's calibration of exactly this model that covers most of `sigmas`; among equals one for this `kind`, then the newest.

    Files that cannot be read are passed over with a warning.
    """
    found: list[MagnitudeCurve] = []
    for path in sorted(own_files().values(), key=_modified, reverse=True):
        try:
            found.append(MagnitudeCurve.load(path))
        except CurveError as error:
            log.warning("MagCache passes over a curve file: %s", error)
    found = [curve for curve in found if curve.provenance.get("fingerprint") == fingerprint]
    return max(found, key=lambda curve: (round(curve.coverage(sigmas), 1), curve.provenance.get("model") == kind), default=None)


def save(curve: MagnitudeCurve) -> Path:
    """Keep a calibration where `names` and `own_curve_of` find it. Raises `MagCacheError` when it cannot be written."""
    folder = Path(folder_paths.get_folder_paths(FOLDER)[0])
    path = folder / f"{curve.name}.json"
    try:
        curve.save(path)
    except OSError as error:
        raise MagCacheError(f"The calibration could not be saved to {path}: {error}. Make the folder writable and run again.") from error
    return path


def preset_of(curve: str) -> Tuned | None:
    """The settings that were tuned with this curve. A file that cannot be read is passed over with a warning."""
    found = next((path for path in _preset_files(curve) if path.is_file()), None)
    try:
        return Tuned.load(found) if found else None
    except SettingsError as error:
        log.warning("MagCache passes over a preset: %s", error)
        return None


def save_preset(curve: str, tuned: Tuned) -> Path:
    """Keep settings where `preset_of` finds them. Raises `MagCacheError` when they cannot be written."""
    path = _preset_files(curve)[0]
    try:
        tuned.save(path)
    except OSError as error:
        raise MagCacheError(f"The preset could not be saved to {path}: {error}. Make the folder writable and run again.") from error
    return path


def fingerprint(model: Any) -> str:
    """Tells one model from another: its class, its dimensions and some of its weights, which LoRAs leave alone."""
    base = model.model
    digest = hashlib.sha256(type(base.diffusion_model).__name__.encode())
    digest.update(json.dumps(base.model_config.unet_config, sort_keys=True, default=str).encode())
    vectors = ((name, value) for name, value in base.diffusion_model.named_parameters() if value.ndim == 1)
    for name, value in sorted(vectors, key=lambda item: item[0])[:4]:
        # Two digits are the same in fp32, fp16 and bf16.
        digest.update(name.encode() + " ".join(f"{number:.1e}" for number in value.detach().flatten()[:16].float().tolist()).encode())
    return digest.hexdigest()[:16]


def _preset_files(curve: str) -> list[Path]:
    return [Path(folder) / PRESETS / f"{curve}.json" for folder in folder_paths.get_folder_paths(FOLDER)]


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
