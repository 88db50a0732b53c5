"""All example workflows."""

from __future__ import annotations

from collections.abc import Callable

from tools.workflows import calibrating, general, image, video, wan22
from tools.workflows.catalogue import NOTE
from tools.workflows.graph import Group, Workflow
from tools.workflows.notes import note
from tools.workflows.plans import runs

_DESCRIPTIONS: tuple[Callable[[], Workflow], ...] = (
    general.any_model,
    general.bundled_model,
    general.calibrate_any_model,
    general.compare,
    image.flux,
    image.flux_kontext,
    image.chroma,
    image.chroma_calibration,
    image.qwen_image,
    image.qwen_image_edit,
    calibrating.flux2,
    calibrating.z_image,
    calibrating.qwen_image_edit_2511,
    video.hunyuan_video,
    video.hunyuan_video_15,
    video.wan21_t2v,
    video.wan21_i2v,
    video.wan21_vace,
    wan22.wan22_t2v,
    wan22.wan22_i2v,
    calibrating.ltx2,
)


def workflows() -> list[Workflow]:
    """Every workflow with its note."""
    return [_with_note(describe()) for describe in _DESCRIPTIONS]


def _with_note(workflow: Workflow) -> Workflow:
    """The workflow with a note as its first group."""
    group = Group("Read me", below=False)
    group.add(NOTE, title=workflow.title, text=note(workflow, runs(workflow)))
    workflow.groups.insert(0, group)
    return workflow
