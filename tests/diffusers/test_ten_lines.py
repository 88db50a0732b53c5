"""The lines in the README and in docs/python.md, run on a tiny pipeline of each of the models they are for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from .pipelines import PIPES
from .watching import watched

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```py(?:thon)?\n(import torch\nfrom diffusers import .*?)^```$", re.MULTILINE | re.DOTALL)
STEPS = 16
MISSION = (
    "flux", "flux_kontext", "chroma", "hunyuan_video", "framepack", "framepack_f1", "hunyuan_video_15", "wan21_t2v", "wan21_i2v",
    "wan21_vace", "wan22_unipc", "wan22_euler", "wan22_ti2v", "qwen_image", "qwen_image_edit", "qwen_image_edit_plus",
)  # fmt: skip


def lines(document: str) -> str:
    """The block, without the lines that load the model and choose the prompt."""
    (block,) = BLOCK.findall((ROOT / document).read_text(encoding="utf-8"))
    kept = [line for line in block.splitlines() if not line.startswith(("pipe = ", "call = "))]
    assert len(kept) <= 10 + 2 and len(block.splitlines()) - len(kept) == 2
    return "\n".join(kept)


def test_both_documents_show_the_same_lines():
    assert lines("README.md") == lines("docs/python.md")


@pytest.mark.parametrize("name", MISSION)
def test_the_lines_run_and_as_many_steps_are_computed_as_were_planned(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("MAGCACHE_CURVES", str(tmp_path))
    kind = PIPES[name]
    pipe, call = kind.build(), kind.call(0, STEPS)
    counted: list[int] = []

    class Counting:
        """Looks like the pipeline, and counts the forwards of each call that ran the blocks."""

        def __getattr__(self, name: str) -> Any:
            return getattr(pipe, name)

        def __call__(self, **arguments: Any) -> Any:
            with watched(pipe) as seen:
                output = pipe(**arguments)
            counted.append(seen.blocks)
            return output

    names: dict[str, Any] = {"pipe": Counting(), "call": call}
    with torch.no_grad():
        exec(lines("README.md"), names)  # noqa: S102 - our own document
    report = names["cache"].report()
    assert capsys.readouterr().out.strip() == report.line()
    assert report.reused and not any(event.planned != event.reused for event in report.events)
    assert counted[1] == report.plan.nfe * kind.branches < counted[0]
