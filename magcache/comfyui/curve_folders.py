"""Where ComfyUI keeps the user's curves: the model folder `magcache`."""

from __future__ import annotations

from pathlib import Path

import folder_paths

from ..curves.store import CurveStore

FOLDER = "magcache"
"""ComfyUI's model folder for curves: models/magcache."""


def register_folder() -> None:
    """Make models/magcache known to ComfyUI, and to `extra_model_paths.yaml`."""
    folder_paths.add_model_folder_path(FOLDER, str(Path(folder_paths.models_dir) / FOLDER), is_default=True)


def curve_store() -> CurveStore:
    """The curves in ComfyUI's folders, as they are now."""
    return CurveStore(tuple(Path(folder) for folder in folder_paths.get_folder_paths(FOLDER)))
