"""The nodes that show results: what MagCache did in a run, and how much pictures differ from a reference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import comfy.model_management
import comfy.utils
import numpy as np
import numpy.typing as npt
import torch
from comfy_api.latest import io, ui

from ...errors import PictureError
from ...reports.comparison import Comparison, side_by_side
from ...reports.figure import figure, message
from ...reports.metrics import Picture, lpips_here
from ...texts import Text, counted, joined
from ..language import in_users_language, users_language
from ..notify import advice, node_id, show, tells_errors
from ..patch import patch_of

_ANYTHING = io.MatchType.Template("after")


class MagCacheReport(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MagCacheReport",
            display_name="MagCache Report",
            category="MagCache",
            description="Shows what MagCache did in the last run of a model: which steps were computed and which reused, the magnitude "
            "curve, the time of each step, and the predicted and the measured speed-up.",
            search_aliases=[
                "magcache statistics",
                "magnitude curve",
                "speed-up",
                "skipped steps",
                "benchmark",
                "レポート",
                "スキップしたステップ",
                "报告",
                "统计",
            ],
            inputs=[
                io.Model.Input("model", tooltip="The model that was sampled, from a MagCache node or any node after it."),
                io.MatchType.Input(
                    "after",
                    template=_ANYTHING,
                    tooltip="What comes out of the sampler: its latent, or pictures made from it. It makes the report wait for the run.",
                ),
                io.Model.Input("model_2", optional=True, tooltip="A second model of the workflow, such as Wan 2.2's low noise expert."),
            ],
            outputs=[
                io.Image.Output(display_name="figure", tooltip="The report as a picture."),
                io.String.Output(display_name="text", tooltip="The report as text, with a line for each step."),
                io.MatchType.Output(template=_ANYTHING, display_name="after", tooltip="The input 'after', unchanged."),
            ],
            hidden=[io.Hidden.unique_id],
            not_idempotent=True,  # What ComfyUI kept of another node would show its texts there.
            is_output_node=True,
        )

    @classmethod
    @tells_errors
    def execute(cls, model, after, model_2=None) -> io.NodeOutput:
        models = [("", model)] if model_2 is None else [("model", model), ("model_2", model_2)]
        sections = [section for title, each in models for section in _sections(title, each)]
        said = joined((section.line for section in sections), "\n")
        picture = _as_images(np.concatenate([section.picture for section in sections])[None])
        show(said, node_id(cls))
        text = "\n\n".join(section.text for section in sections)
        return io.NodeOutput(picture, text, after, ui=_previews(picture, in_users_language(said), cls))


class MagCacheCompare(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="MagCacheCompare",
            display_name="MagCache Compare",
            category="MagCache",
            description="Measures how much pictures or a video differ from a reference: PSNR (in dB, higher is closer), SSIM "
            "(structure, 1 is the same), LPIPS (as people see it, 0 is the same) if its weights are installed, and a picture of the "
            "difference.",
            search_aliases=[
                "psnr",
                "ssim",
                "lpips",
                "image difference",
                "compare images",
                "compare videos",
                "quality",
                "画像を比較",
                "画質",
                "对比图像",
                "画质",
            ],
            inputs=[
                io.Image.Input("reference", tooltip="The pictures to compare with, such as those of the same run without MagCache."),
                io.Image.Input(
                    "images",
                    tooltip="The pictures, or the frames of a video, to compare. Number and size must be those of the reference.",
                ),
                io.Int.Input("gain", default=8, min=1, max=255, tooltip="Factor by which the difference is amplified in the picture."),
            ],
            outputs=[
                io.Image.Output(display_name="comparison", tooltip="Reference, image and difference side by side, for each picture."),
                io.String.Output(display_name="text", tooltip="PSNR, SSIM and LPIPS as text."),
                io.Float.Output(display_name="psnr", tooltip="Mean PSNR in dB; higher is closer. 100 stands for equal pictures."),
                io.Float.Output(display_name="ssim", tooltip="Mean SSIM; 1 is the same."),
            ],
            hidden=[io.Hidden.unique_id],
            not_idempotent=True,  # What ComfyUI kept of another node would show its texts there.
            is_output_node=True,
        )

    @classmethod
    @tells_errors
    def execute(cls, reference, images, gain) -> io.NodeOutput:
        _check_alike(reference, images)
        compared = Comparison.of(_pairs(reference, images), lpips_here(min(images.shape[1:3])))
        pictures = _as_images(np.stack([side_by_side(*pair, gain, users_language()) for pair in _pairs(reference, images)]))
        text = compared.text()
        show(compared.headline(), node_id(cls))
        worst = pictures[compared.worst : compared.worst + 1]
        return io.NodeOutput(pictures, text, fmean(compared.psnr), fmean(compared.ssim), ui=_previews(worst, in_users_language(text), cls))


@dataclass(frozen=True, slots=True)
class _Section:
    """The report of one run."""

    line: str
    text: str
    picture: Picture


def _sections(title: str, model: Any) -> list[_Section]:
    """One for each run of `model`, or one that says why there is none."""
    runs = list(patch.history) if (patch := patch_of(model)) else []
    if not runs:
        why = _titled(title, _why_no_run(model))
        return [_Section(why, why, message(why, users_language()))]
    sections: list[_Section] = []
    for number, (report, said) in enumerate(runs, start=1):
        name = joined((title, Text("run {number}", number=number) if len(runs) > 1 else ""), ", ")
        line = _titled(name, advice(report) or said)
        sections.append(_Section(line, f"{line}\n{report.table()}", figure(report, name, users_language())))
    return sections


def _titled(title: str, text: str) -> Text:
    return Text("{title}: {text}", title=title, text=text) if title else Text("{text}", text=text)


def _why_no_run(model: Any) -> Text:
    if patch_of(model) is None:
        return Text(
            "There is no MagCache on this model. Connect the model that comes out of a MagCache node. "
            "A MagCache node that is switched off (speedup 1, magcache_thresh 0 or magcache_K 0) takes MagCache off the model."
        )
    return Text(
        "No sampling with this model has ended yet. Connect 'after' to an output of the sampler that uses the model, and run the workflow."
    )


def _previews(pictures: torch.Tensor, text: str, cls: type[io.ComfyNode]) -> dict[str, Any]:
    return {**ui.PreviewImage(pictures, cls=cls).as_dict(), **ui.PreviewText(text).as_dict()}


def _as_images(pictures: npt.NDArray[np.uint8]) -> torch.Tensor:
    """Pictures (count, height, width, 3), 0 to 255, as ComfyUI's image tensor, 0 to 1."""
    return torch.from_numpy(pictures).float().div_(255)


def _check_alike(reference: torch.Tensor, images: torch.Tensor) -> None:
    """Raise `PictureError` unless both have the same number of pictures of the same size."""
    if reference.shape != images.shape:
        raise PictureError(
            Text(
                "Given {given} in 'images', expected {expected}, as in 'reference'. Make both with the same size and length, or scale or "
                "crop one of them first.",
                given=_described(images),
                expected=_described(reference),
            )
        )


def _described(pictures: torch.Tensor) -> Text:
    count, height, width, channels = pictures.shape
    return counted(
        count,
        "{count} picture of {width} × {height} with {channels} channels",
        "{count} pictures of {width} × {height} with {channels} channels",
        width=width,
        height=height,
        channels=channels,
    )


def _pairs(reference: torch.Tensor, images: torch.Tensor) -> Iterator[tuple[Picture, Picture]]:
    """Each reference with its picture, in 8 bits per channel, as Save Image writes them. Moves the node's progress bar."""
    bar = comfy.utils.ProgressBar(len(images))
    for one, other in zip(reference, images, strict=True):
        comfy.model_management.throw_exception_if_processing_interrupted()
        yield _in_8_bits(one), _in_8_bits(other)
        bar.update(1)


def _in_8_bits(picture: torch.Tensor) -> Picture:
    return np.clip(255 * picture.cpu().numpy(), 0, 255).astype(np.uint8)
