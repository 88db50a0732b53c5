"""All example workflows."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tools.workflows import general, image, newer, video, wan22
from tools.workflows.catalogue import NOTE
from tools.workflows.graph import Group, Workflow
from tools.workflows.notes import note
from tools.workflows.plans import runs

_GENERAL: tuple[Callable[[], Workflow], ...] = (
    general.demo,
    general.demo_compare,
    general.any_model,
    general.compare,
    general.calibrate_any_model,
)
_WITH_PUBLISHED_SETTINGS: tuple[Callable[[bool], Workflow], ...] = (
    image.flux,
    image.flux_kontext,
    image.chroma,
    image.qwen_image,
    image.qwen_image_edit,
    video.hunyuan_video,
    video.hunyuan_video_15,
    video.wan21_t2v,
    video.wan21_i2v,
    video.wan21_vace,
    wan22.wan22_t2v,
    wan22.wan22_i2v,
)
"""Each makes two workflows: with MagCache Auto, and with the MagCache node as its authors set it."""
_NEWER: tuple[Callable[[], Workflow], ...] = (
    newer.flux2,
    newer.z_image,
    newer.qwen_image_edit_2511,
    newer.ltx2,
)


def workflows() -> list[Workflow]:
    """Every workflow with its note."""
    return [_with_note(workflow) for workflow in _described()]


def _described() -> Iterator[Workflow]:
    yield from (describe() for describe in (*_GENERAL, *_NEWER))
    yield from (describe(published) for describe in _WITH_PUBLISHED_SETTINGS for published in (False, True))


def _with_note(workflow: Workflow) -> Workflow:
    """The workflow with a note as its first group."""
    group = Group("Read me")
    group.add(NOTE, title=workflow.title, text=note(workflow, runs(workflow)))
    workflow.groups.insert(0, group)
    return workflow
