"""The node that measures the curve of a model."""

from __future__ import annotations

from comfy_api.latest import io

from ...runtime.calibration_mode import ALIASES, CalibrationMode
from ...runtime.run_setup import AUTO
from ..attach import attached
from ..curve_folders import offered_curves
from ..inputs import name_problem
from ..notify import Notifier, node_id, tells_errors


class MagCacheCalibration(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MagCacheCalibration",
            display_name="MagCache Calibration",
            category="MagCache",
            description="Measures the magnitude curve of a model in one run that skips nothing, and saves it for the other MagCache nodes.",
            search_aliases=[
                "magnitude cache calibration",
                "magcache measure curve",
                "キャリブレーション",
                "カーブを計測",
                "校准",
                "测量曲线",
            ],
            inputs=[
                io.Model.Input("model", tooltip="The model to measure, with the LoRAs that you use."),
                io.Combo.Input(
                    "model_type",
                    options=[AUTO, *ALIASES, *offered_curves()],
                    default=AUTO,
                    tooltip="What the model is. A curve without a name of your own is named after it; 'auto' recognises the model.",
                ),
                io.String.Input(
                    "name",
                    default="",
                    optional=True,
                    tooltip="Name of the curve, in any script. The other nodes use it where it is chosen. Empty: a name that is made from "
                    "the model, whose curve they use on 'auto'.",
                ),
                io.Boolean.Input(
                    "average",
                    default=False,
                    optional=True,
                    advanced=True,
                    tooltip="Average the new measurement with the saved curve of this name, so that several prompts count. Steps, "
                    "sampler, scheduler, CFG and shift (the noise shift that ModelSampling nodes set) must be the same.",
                ),
                io.Boolean.Input(
                    "thorough",
                    default=False,
                    optional=True,
                    advanced=True,
                    tooltip="After the run, sample again from the same noise with a few trial plans, to measure whether early errors grow "
                    "or shrink in this model. Takes about as long as one run more. Without it MagCache assumes that they grow.",
                ),
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="The same model. Sample with it once: nothing is skipped, a curve is saved.")
            ],
            hidden=[io.Hidden.unique_id],
            not_idempotent=True,  # What ComfyUI kept of another node would show its texts there.
        )

    @classmethod
    def validate_inputs(cls, name="") -> bool | str:
        return name_problem(name) or True

    @classmethod
    @tells_errors
    def execute(cls, model, model_type, name="", average=False, thorough=False) -> io.NodeOutput:
        mode = CalibrationMode(model_type, name.strip(), average, thorough, Notifier(node_id(cls)).calibrated)
        return io.NodeOutput(attached(model, mode, node_id(cls)))

    @classmethod
    def apply_magcache(cls, model, model_type):
        """The method of the published pack, for packs and exported scripts that call it."""
        return cls.execute(model, model_type).result
