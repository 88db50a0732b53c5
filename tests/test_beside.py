"""The tests that run beside the others pass too."""

from __future__ import annotations

import pytest

from magcache.server.launch import NEWEST, VERSIONS

from .beside import Beside

OLDER = [version for version in VERSIONS if version != NEWEST]


@pytest.mark.parametrize("version", OLDER)
def test_an_older_comfyui_passes_the_same_tests(version: str, beside: Beside):
    code, said = beside.result(version)
    assert code == 0, f"on ComfyUI {version}:\n{said}"


def test_diffusers_passes_its_tests(beside: Beside):
    if "diffusers" not in beside.parts:
        pytest.skip("they are asked for in this process, or not at all")
    code, said = beside.result("diffusers")
    assert code == 0, said
