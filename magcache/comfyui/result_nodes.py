"""Two nodes that look back: what MagCache did in a run, and how far its pictures are from those of a full run."""

from __future__ import annotations

from comfy_api.latest import io

_ANYTHING = io.MatchType.Template("after")


class MagCacheReport(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MagCacheReport",
            display_name="MagCache Report",
            category="MagCache",
            description="Shows what MagCache did in the last run of a model: which steps were computed and which reused, the magnitude "
            "curve, the time of each step, and the speed-up predicted and measured.",
            search_aliases=["magcache statistics", "magnitude curve", "speed-up", "skipped steps", "benchmark"],
            inputs=[
                io.Model.Input("model", tooltip="The model that was sampled, from a MagCache node or any node after it."),
                io.MatchType.Input(
                    "after",
                    template=_ANYTHING,
                    tooltip="Anything that comes out of the sampler, such as its latent or the pictures, so that the report waits for the run.",
                ),
                io.Model.Input("model_2", optional=True, tooltip="A second model of the same run, such as Wan 2.2's low noise expert."),
            ],
            outputs=[
                io.Image.Output(display_name="figure", tooltip="The report as a picture."),
                io.String.Output(display_name="text", tooltip="The report as text, with a line for each evaluation of the model."),
                io.MatchType.Output(template=_ANYTHING, display_name="after", tooltip="What came in as 'after', unchanged."),
            ],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, model, after, model_2=None) -> io.NodeOutput:
        raise NotImplementedError


class MagCacheCompare(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MagCacheCompare",
            display_name="MagCache Compare",
            category="MagCache",
            description="Tells how far pictures or a video are from a reference: PSNR, SSIM, LPIPS where its weights are there, "
            "and a picture of the difference.",
            search_aliases=["psnr", "ssim", "lpips", "image difference", "compare images", "compare videos", "quality"],
            inputs=[
                io.Image.Input("reference", tooltip="What the pictures should look like, such as the same run without MagCache."),
                io.Image.Input("images", tooltip="The pictures, or the frames of a video, to compare with it: as many and as large."),
                io.Int.Input("gain", default=8, min=1, max=255, tooltip="How many times the difference is amplified, so that it can be seen."),
            ],
            outputs=[
                io.Image.Output(display_name="comparison", tooltip="Reference, image and difference side by side, for each picture."),
                io.String.Output(display_name="text", tooltip="The figures as text."),
                io.Float.Output(display_name="psnr", tooltip="Mean PSNR in dB; higher is closer. 100 stands for equal pictures."),
                io.Float.Output(display_name="ssim", tooltip="Mean SSIM; 1 is the same."),
            ],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, reference, images, gain) -> io.NodeOutput:
        raise NotImplementedError
