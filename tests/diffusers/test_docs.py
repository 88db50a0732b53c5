"""docs/diffusers.md runs as it stands, with a tiny pipeline, and prints what it says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.docs.snippets import run

from .pipelines import PIPES


def test_the_page_runs_and_prints_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MAGCACHE_CURVES", str(tmp_path))
    pipe = PIPES["flux"].build()

    call = PIPES["flux"].call(0, 28)
    del call["generator"]
    with torch.no_grad():
        call["latents"] = torch.randn_like(pipe(**call).images)  # The same noise in every call.
        names = run("diffusers.md", pipe=pipe, call=call)
    assert names["curve"].steps == 28
