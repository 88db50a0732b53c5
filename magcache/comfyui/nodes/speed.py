"""The nodes that speed a model up, calibrate it or compile it. Each only gathers its inputs and hands them on."""

from __future__ import annotations

from typing import get_args

from comfy_api.latest import io
from comfy_api.torch_helpers import set_torch_compile_wrapper

from ...curves.curve import check_name
from ...planning.budget import evaluations_for
from ...runtime.calibration_mode import ALIASES, CalibrationMode
from ...runtime.modes import SpeedupMode, ThresholdMode
from ...runtime.run_setup import AUTO, Mode
from ...settings import CacheDevice, Reuse, ThresholdSettings
from ..base_model import known_family
from ..curve_folders import curve_store
from ..modes import check_architecture
from ..notify import Notifier, log, node_id
from ..patch import MagCachePatch, detached, patch_of

_PUBLISHED = ThresholdSettings()


def _cache_device() -> io.Combo.Input:
    return io.Combo.Input(
        "cache_device",
        options=list(get_args(CacheDevice)),
        default="auto",
        optional=True,
        advanced=True,
        tooltip="Where residuals are kept: 'device' is the GPU, 'cpu' is main memory. 'auto' is the GPU, unless one residual takes more "
        "than a quarter of its free memory.",
    )


class MagCache(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MagCache",
            display_name="MagCache",
            category="MagCache",
            description="Makes a diffusion transformer 2 to 3 times faster by the published rule: the blocks of a step are skipped, and "
            "the last residual is reused, while the accumulated magnitude error is within a threshold.",
            search_aliases=["magnitude cache", "step cache", "speed up", "teacache", "easycache", "faster sampling"],
            inputs=[
                io.Model.Input("model", tooltip="The model to speed up, from Load Diffusion Model or a LoRA loader."),
                io.Combo.Input(
                    "model_type",
                    options=[AUTO, *curve_store().names()],
                    default=AUTO,
                    tooltip="The magnitude curve to plan with. 'auto' takes your own calibration of this model, else the published curve "
                    "of a model that it recognises.",
                ),
                io.Float.Input(
                    "magcache_thresh",
                    default=_PUBLISHED.threshold,
                    min=0.0,
                    max=10.0,
                    step=0.01,
                    tooltip="Largest accumulated magnitude error at which a step is skipped. Higher is faster; 0 switches MagCache off.",
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
        )

    @classmethod
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
            return io.NodeOutput(_switched_off(model, node_id(cls)))
        check_architecture(model, model_type)
        return io.NodeOutput(_attached(model, ThresholdMode(model_type, settings), node_id(cls), cache_device))

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
            search_aliases=["magcache", "magnitude cache", "step cache", "speed up", "teacache", "easycache", "faster sampling"],
            inputs=[
                io.Model.Input("model", tooltip="The model to speed up, from Load Diffusion Model or a LoRA loader."),
                io.Float.Input(
                    "speedup",
                    default=2.0,
                    min=0.0,
                    max=4.0,
                    step=0.1,
                    display_mode=io.NumberDisplay.slider,
                    tooltip="How many times faster sampling should be: steps per computed step. 1 switches MagCache off; 2 is a good "
                    "start; 0 takes the settings that 'magcache tune' found for this model.",
                ),
                io.Combo.Input(
                    "curve",
                    options=[AUTO, *curve_store().names()],
                    default=AUTO,
                    optional=True,
                    advanced=True,
                    tooltip="The curve to plan with. 'auto' takes the calibration of this model; if there is none, the run makes one.",
                ),
                io.Combo.Input(
                    "reuse",
                    options=[AUTO, *get_args(Reuse)],
                    default=AUTO,
                    optional=True,
                    advanced=True,
                    tooltip="How a residual is reused: 'hold' adds it unchanged, 'scale' scales it, 'extrapolate' continues from the last "
                    "two computed steps. 'auto' extrapolates with a calibration and holds with a published curve.",
                ),
                _cache_device(),
                io.Float.Input(
                    "start_percent", default=0.0, min=0.0, max=1.0, step=0.01, optional=True, advanced=True,
                    tooltip="Fraction of the schedule, 0 to 1. Steps before it are computed.",
                ),
                io.Float.Input(
                    "end_percent", default=1.0, min=0.0, max=1.0, step=0.01, optional=True, advanced=True,
                    tooltip="Fraction of the schedule, 0 to 1. Steps after it are computed.",
                ),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="The same model, with MagCache on it.")],
            hidden=[io.Hidden.unique_id],
        )  # fmt: skip

    @classmethod
    def execute(cls, model, speedup, curve=AUTO, reuse=AUTO, cache_device="auto", start_percent=0.0, end_percent=1.0) -> io.NodeOutput:
        if speedup != 0:
            evaluations_for(1, speedup)  # Complains about an impossible speed-up.
        if speedup == 1:
            return io.NodeOutput(_switched_off(model, node_id(cls)))
        check_architecture(model, curve)
        mode = SpeedupMode(speedup, curve, reuse, start_percent, end_percent)
        return io.NodeOutput(_attached(model, mode, node_id(cls), cache_device))


class MagCacheCalibration(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MagCacheCalibration",
            display_name="MagCache Calibration",
            category="MagCache",
            description="Measures the magnitude curve of a model in one run that skips nothing, and saves it for the other MagCache nodes.",
            search_aliases=["magnitude cache calibration", "magcache measure curve"],
            inputs=[
                io.Model.Input("model", tooltip="The model to measure, with the LoRAs that you use."),
                io.Combo.Input(
                    "model_type",
                    options=[AUTO, *ALIASES, *curve_store().names()],
                    default=AUTO,
                    tooltip="What the model is. A curve without a name of your own is named after it; 'auto' recognises the model.",
                ),
                io.String.Input(
                    "name",
                    default="",
                    optional=True,
                    tooltip="Name of the curve in models/magcache. Empty: a name that is made from the model.",
                ),
                io.Boolean.Input(
                    "average",
                    default=False,
                    optional=True,
                    advanced=True,
                    tooltip="Average the new measurement with the saved curve of this name, so that several prompts count. Steps, sampler, "
                    "scheduler, shift and CFG must be the same.",
                ),
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="The same model. Sample with it once: nothing is skipped, a curve is saved.")
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, model, model_type, name="", average=False) -> io.NodeOutput:
        name = check_name(name.strip()) if name.strip() else ""
        known_family(model)
        mode = CalibrationMode(model_type, name, average, Notifier(node_id(cls)).calibrated)
        return io.NodeOutput(_attached(model, mode, node_id(cls)))

    @classmethod
    def apply_magcache(cls, model, model_type):
        """The method of the published pack, for packs and exported scripts that call it."""
        return cls.execute(model, model_type).result


class CompileModel(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="CompileModel",
            display_name="Compile Model",
            category="MagCache",
            description="Compiles the model with torch.compile. Works before and after MagCache and LoRA loaders.",
            search_aliases=["torch compile", "inductor"],
            inputs=[
                io.Model.Input("model", tooltip="The model to compile."),
                io.Combo.Input(
                    "mode",
                    options=["default", "max-autotune", "max-autotune-no-cudagraphs", "reduce-overhead"],
                    default="default",
                    tooltip="How much the compiler optimises. Only the backend 'inductor' has modes.",
                ),
                io.Combo.Input(
                    "backend",
                    options=["inductor", "cudagraphs", "eager", "aot_eager"],
                    default="inductor",
                    tooltip="The compiler that turns the traced model into code. 'inductor' makes fast code.",
                ),
                io.Boolean.Input("fullgraph", default=False, tooltip="Raise an error instead of splitting the model where tracing fails."),
                io.Boolean.Input("dynamic", default=False, tooltip="Compile once for all picture sizes instead of once for each size."),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="The model, compiled when it first runs.")],
        )

    @classmethod
    def execute(cls, model, mode, backend, fullgraph, dynamic) -> io.NodeOutput:
        model = model.clone()
        set_torch_compile_wrapper(
            model, backend=backend, mode=mode if backend == "inductor" else None, fullgraph=fullgraph, dynamic=dynamic
        )
        return io.NodeOutput(model)

    @classmethod
    def apply_compile(cls, model, mode, backend, fullgraph, dynamic):
        """The method of the published pack, for packs and exported scripts that call it."""
        return cls.execute(model, mode, backend, fullgraph, dynamic).result


def _attached(model, mode: Mode, node: str | None, cache_device: CacheDevice = "auto"):
    """A clone of `model` with MagCache in this mode, in place of an earlier MagCache node."""
    earlier, notifier = patch_of(model), Notifier(node)
    if earlier is not None and isinstance(earlier.mode, CalibrationMode):
        _tell_replaced(notifier)
    return MagCachePatch(mode, notifier.finished, cache_device, notifier.progress).attach(model)


def _switched_off(model, node: str | None):
    """`model` without MagCache: the model itself if there was none on it."""
    earlier = patch_of(model)
    if earlier is None:
        return model
    if isinstance(earlier.mode, CalibrationMode):
        _tell_replaced(Notifier(node))
    return detached(model)


def _tell_replaced(notifier: Notifier) -> None:
    text = "this node replaces the MagCache Calibration before it, so nothing is calibrated. Remove one of the two."
    log.warning("MagCache: %s", text)
    notifier.progress(text)
