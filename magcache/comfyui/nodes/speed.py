"""The nodes that speed a model up: by the published rule, or to a speed-up."""

from __future__ import annotations

from typing import get_args

from comfy_api.latest import io

from ...runtime.modes import SpeedupMode, ThresholdMode
from ...runtime.run_setup import AUTO
from ...settings import CacheDevice, Reuse, ThresholdSettings
from ..attach import attached, switched_off
from ..curve_folders import curve_store, offered_curves
from ..inputs import MOST_SPEEDUP, speedup_problem
from ..modes import FullMode, check_architecture
from ..notify import node_id, tells_errors

_PUBLISHED = ThresholdSettings()
_SPEED = ("高速化", "サンプリングを速く", "ステップキャッシュ", "加速", "加快采样", "步缓存")
"""Words for speed in other languages: ComfyUI's search finds them whatever language it is in."""


def _cache_device() -> io.Combo.Input:
    return io.Combo.Input(
        "cache_device",
        options=list(get_args(CacheDevice)),
        default="auto",
        optional=True,
        advanced=True,
        tooltip="Where the results that skipped steps take over (residuals) are kept: 'device' is the GPU, 'cpu' is main memory. 'auto' "
        "is the GPU, unless one residual takes more than a quarter of its free memory.",
    )


class MagCache(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MagCache",
            display_name="MagCache",
            category="MagCache",
            description="Makes a diffusion transformer 2 to 3 times faster by the published rule: a step is skipped, and takes over "
            "what the model's blocks added at the last computed step, while the expected error stays within a threshold.",
            search_aliases=["magnitude cache", "step cache", "speed up", "teacache", "easycache", "faster sampling", *_SPEED],
            inputs=[
                io.Model.Input("model", tooltip="The model to speed up, from Load Diffusion Model or a LoRA loader."),
                io.Combo.Input(
                    "model_type",
                    options=[AUTO, *offered_curves()],
                    default=AUTO,
                    tooltip="The magnitude curve (how strongly the model acts at each step) to plan with. 'auto' takes your own unnamed "
                    "calibration of this model, else the published curve of a model that it recognises.",
                ),
                io.Float.Input(
                    "magcache_thresh",
                    default=_PUBLISHED.threshold,
                    min=0.0,
                    max=10.0,
                    step=0.01,
                    tooltip="How much error the skipped steps in a row may add up to: 0.06 stands for a change of 6 % in the size of "
                    "what the model's blocks add. Higher is faster; 0 switches MagCache off.",
                ),
                io.Float.Input(
                    "retention_ratio",
                    default=_PUBLISHED.retention,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Fraction of the steps, from the first, that is always computed. These steps decide the composition.",
                ),
                io.Int.Input(
                    "magcache_K",
                    default=_PUBLISHED.max_skip,
                    min=0,
                    max=100,
                    tooltip="The most steps in a row that are skipped. Higher is faster; 0 switches MagCache off.",
                ),
                io.Int.Input(
                    "start_step",
                    default=_PUBLISHED.start_step,
                    min=0,
                    max=10000,
                    optional=True,
                    tooltip="The first step that may be skipped, counted from 0.",
                ),
                io.Int.Input(
                    "end_step",
                    default=_PUBLISHED.end_step,
                    min=-10000,
                    max=10000,
                    optional=True,
                    tooltip="The last step that may be skipped. Negative values count from the end: -1 is the last step.",
                ),
                _cache_device(),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="The same model, with MagCache on it.")],
            hidden=[io.Hidden.unique_id],
            not_idempotent=True,  # What ComfyUI kept of another node would show its texts there.
        )

    @classmethod
    def fingerprint_inputs(cls, **inputs: object) -> str:
        """Let ComfyUI sample anew after a calibration, though the workflow is the same: the run that it kept was slower."""
        return curve_store().state()

    @classmethod
    @tells_errors
    def execute(
        cls,
        model,
        model_type,
        magcache_thresh,
        retention_ratio,
        magcache_K,
        start_step=_PUBLISHED.start_step,
        end_step=_PUBLISHED.end_step,
        cache_device="auto",
    ) -> io.NodeOutput:
        settings = ThresholdSettings(
            threshold=magcache_thresh, max_skip=magcache_K, retention=retention_ratio, start_step=start_step, end_step=end_step
        )
        if settings.off:
            return io.NodeOutput(switched_off(model, node_id(cls)))
        check_architecture(model, model_type)
        return io.NodeOutput(attached(model, ThresholdMode(model_type, settings), node_id(cls), cache_device))

    @classmethod
    def apply_magcache(
        cls, model, model_type, magcache_thresh, retention_ratio, magcache_K, start_step=_PUBLISHED.start_step, end_step=_PUBLISHED.end_step
    ):
        """The method of the published pack, for packs and exported scripts that call it."""
        return cls.execute(model, model_type, magcache_thresh, retention_ratio, magcache_K, start_step, end_step).result


class MagCacheAuto(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MagCacheAuto",
            display_name="MagCache Auto",
            category="MagCache",
            description="Makes sampling as many times faster as you ask for, and changes the picture as little as it can. The first run "
            "of a model calibrates it: nothing is skipped, and the curve is saved for later runs.",
            search_aliases=["magcache", "magnitude cache", "step cache", "speed up", "teacache", "easycache", "faster sampling", *_SPEED],
            inputs=[
                io.Model.Input("model", tooltip="The model to speed up, from Load Diffusion Model or a LoRA loader."),
                io.Float.Input(
                    "speedup",
                    default=2.0,
                    min=0.0,
                    max=MOST_SPEEDUP,
                    step=0.1,
                    display_mode=io.NumberDisplay.slider,
                    tooltip="How many times faster sampling should be: steps per computed step. 1 switches MagCache off; 2 is a good "
                    "start; 0 takes the settings that 'magcache tune' found for this model.",
                ),
                io.Combo.Input(
                    "curve",
                    options=[AUTO, *offered_curves()],
                    default=AUTO,
                    optional=True,
                    advanced=True,
                    tooltip="The curve (how strongly the model acts at each step) to plan with. 'auto' takes the unnamed calibration of "
                    "this model; if there is none, the run makes one.",
                ),
                io.Combo.Input(
                    "reuse",
                    options=[AUTO, *get_args(Reuse)],
                    default=AUTO,
                    optional=True,
                    advanced=True,
                    tooltip="How a skipped step takes over what the model's blocks added at an earlier step (the residual): 'hold' adds "
                    "it unchanged, 'scale' scales it, 'extrapolate' continues from the last two computed steps. 'auto' extrapolates "
                    "with a calibration and holds with a published curve.",
                ),
                _cache_device(),
                io.Float.Input(
                    "start_percent", default=0.0, min=0.0, max=1.0, step=0.01, optional=True, advanced=True,
                    tooltip="Fraction of the schedule (the way from noise to picture), 0 to 1. Steps before it are computed.",
                ),
                io.Float.Input(
                    "end_percent", default=1.0, min=0.0, max=1.0, step=0.01, optional=True, advanced=True,
                    tooltip="Fraction of the schedule (the way from noise to picture), 0 to 1. Steps after it are computed.",
                ),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="The same model, with MagCache on it.")],
            hidden=[io.Hidden.unique_id],
            not_idempotent=True,  # What ComfyUI kept of another node would show its texts there.
        )  # fmt: skip

    @classmethod
    def validate_inputs(cls, speedup=None) -> bool | str:
        known = speedup is not None  # A value that another node gives is not.
        return (speedup_problem(speedup, MOST_SPEEDUP) if known else None) or True

    @classmethod
    def fingerprint_inputs(cls, **inputs: object) -> str:
        """Let ComfyUI sample anew after a calibration, though the workflow is the same: the run that it kept was slower."""
        return curve_store().state()

    @classmethod
    @tells_errors
    def execute(cls, model, speedup, curve=AUTO, reuse=AUTO, cache_device="auto", start_percent=0.0, end_percent=1.0) -> io.NodeOutput:
        problem = speedup_problem(speedup)
        if problem is not None:  # Another node gave it, so ComfyUI could not ask before.
            return io.NodeOutput(attached(model, FullMode(problem), node_id(cls), cache_device))
        if float(speedup) == 1:
            return io.NodeOutput(switched_off(model, node_id(cls)))
        check_architecture(model, curve)
        mode = SpeedupMode(float(speedup), curve, reuse, start_percent, end_percent)
        return io.NodeOutput(attached(model, mode, node_id(cls), cache_device))
