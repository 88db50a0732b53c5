"""Where ComfyUI keeps the user's curves: the model folder `magcache`."""

from __future__ import annotations

import logging
from pathlib import Path

import folder_paths

from ..curves.family_names import FAMILY_NAMES
from ..curves.store import CurveStore
from ..curves.unsaved import UnsavedCurves
from .families import FAMILIES

FOLDER = "magcache"
"""ComfyUI's model folder for curves: models/magcache."""
_ELSEWHERE = frozenset({"framepack", "framepack_f1"})
"""Curves that come with MagCache for a model that ComfyUI cannot load."""
_UNSAVED = UnsavedCurves()
"""Stands in for models/magcache while it cannot be written to, until ComfyUI stops. Nothing that ComfyUI keeps for a node or a model
lives as long, so this is the one object of MagCache that does."""

log = logging.getLogger("magcache")


def register_folder() -> None:
    """Make models/magcache known to ComfyUI, and to `extra_model_paths.yaml`. Tells which of its curves hide shipped ones."""
    folder_paths.add_model_folder_path(FOLDER, str(Path(folder_paths.models_dir) / FOLDER), is_default=True)
    for path in curve_store().hidden():
        log.warning("MagCache uses %s in place of the curve of this name that comes with it. Rename the file to have both.", path)


def curve_store() -> CurveStore:
    """The curves in ComfyUI's folders, as they are now."""
    return CurveStore(tuple(Path(folder) for folder in folder_paths.get_folder_paths(FOLDER)), _UNSAVED)


def offered_curves() -> list[str]:
    """The names of the curves that a model in ComfyUI can have."""
    store = curve_store()
    return [name for name in store.names() if fits_comfyui(store, name)]


def fits_comfyui(store: CurveStore, name: str) -> bool:
    """Whether the curve `name` belongs to an architecture that ComfyUI loads, or may load, as far as its file can be read."""
    if name in _ELSEWHERE and name not in store.own_names():
        return False
    family = store.family_of(name)
    return family not in FAMILY_NAMES or family in {known.name for known in FAMILIES}
