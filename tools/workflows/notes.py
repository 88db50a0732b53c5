"""The note of each workflow: the files it needs, what MagCache does in it, and what to change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from tools.workflows.graph import ModelFile, Workflow
from tools.workflows.plans import WorkflowRun


def note(workflow: Workflow, runs: Sequence[WorkflowRun]) -> str:
    """The note as Markdown."""
    return f"# {workflow.title}\n\n" + "\n\n".join((*_files(workflow), _plan(runs), workflow.hint)) + "\n"


def _files(workflow: Workflow) -> Iterator[str]:
    """A paragraph with the files and their folders."""
    files = list(dict.fromkeys(workflow.files()))
    if not files:
        yield "The model comes with MagCache: there is nothing to download, and a GPU is not needed."
        return
    folders = groupby(sorted(files, key=_folder), key=_folder)
    rows = [f"- `{folder}`: " + ", ".join(f"[{file.name}]({file.url})" for file in members) for folder, members in folders]
    yield "\n".join(("**Files**, in `ComfyUI/models`. ComfyUI offers to download those that are missing.", "", *rows))


def _plan(runs: Sequence[WorkflowRun]) -> str:
    """A paragraph about the steps that are computed, of all runs with a MagCache node."""
    guided = [run for run in runs if run.node]
    kinds = {run.node.kind for run in guided if run.node}
    steps, computed = sum(run.plan.steps for run in guided), sum(run.plan.nfe for run in guided)
    if "MagCacheCalibration" in kinds:
        return f"**MagCache Calibration** measures how the model's contribution changes over the {steps} steps. Nothing is skipped."
    name = "MagCache Auto" if "MagCacheAuto" in kinds else "MagCache"
    return (
        f"**{name}** lets the transformer run at {computed} of the {steps} steps; at the others it reuses what earlier steps "
        f"contributed. That is {steps / computed:.1f} times less work."
    )


def _folder(file: ModelFile) -> str:
    return file.folder
