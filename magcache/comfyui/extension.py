"""What ComfyUI loads: the nodes, and the folders they use."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from .curve_folders import register_folder
from .nodes.calibration import MagCacheCalibration
from .nodes.compile import CompileModel
from .nodes.demo import DEMO_NODES, register_checkpoints
from .nodes.preset import MagCachePreset
from .nodes.results import MagCacheCompare, MagCacheReport
from .nodes.speed import MagCache, MagCacheAuto


class MagCacheExtension(ComfyExtension):
    async def on_load(self) -> None:
        register_folder()
        register_checkpoints()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [
            MagCacheAuto, MagCache, MagCacheCalibration, MagCacheReport, MagCacheCompare, MagCachePreset, CompileModel, *DEMO_NODES
        ]  # fmt: skip
