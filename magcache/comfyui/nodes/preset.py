"""The node with which `magcache tune` saves its result on a server."""

from __future__ import annotations

import time
from typing import get_args

from comfy_api.latest import io

from ...settings import Reuse, SpeedupSettings
from ..curve_folders import curve_store, offered_curves
from ..notify import tells_errors


class MagCachePreset(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MagCachePreset",
            display_name="MagCache Preset",
            category="MagCache",
            description="Saves settings for a curve in models/magcache/presets. MagCache Auto uses them if its speedup is 0.",
            search_aliases=["magcache tune", "tuned settings", "プリセット", "预设"],
            is_output_node=True,
            is_dev_only=True,
            inputs=[
                io.Combo.Input("curve", options=offered_curves(), tooltip="The curve that MagCache Auto uses for the model."),
                io.Float.Input(
                    "speedup",
                    default=2.0,
                    min=1.0,
                    max=4.0,
                    step=0.1,
                    tooltip="How many times faster sampling should be: steps per computed step.",
                ),
                io.Combo.Input(
                    "reuse",
                    options=list(get_args(Reuse)),
                    default="extrapolate",
                    tooltip="How a residual is reused, as on MagCache Auto.",
                ),
                io.Float.Input(
                    "start_percent",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Fraction of the schedule (the way from noise to picture), 0 to 1. Steps before it are computed.",
                ),
                io.Float.Input(
                    "end_percent",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Fraction of the schedule (the way from noise to picture), 0 to 1. Steps after it are computed.",
                ),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, **_: object) -> float:
        """Another value each time, so that ComfyUI always runs the node: the file may have been deleted since."""
        return time.monotonic()

    @classmethod
    @tells_errors
    def execute(cls, curve, speedup, reuse, start_percent, end_percent) -> io.NodeOutput:
        curve_store().save_preset(curve, SpeedupSettings(speedup, reuse, start_percent, end_percent))
        return io.NodeOutput()
