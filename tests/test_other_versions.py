"""Older ComfyUIs pass the same tests."""

from __future__ import annotations

import pytest

from magcache.server.launch import NEWEST, VERSIONS

from .older_versions import OlderVersions


@pytest.mark.parametrize("version", [version for version in VERSIONS if version != NEWEST])
def test_an_older_comfyui_passes_the_same_tests(version: str, older_versions: OlderVersions):
    code, said = older_versions.result(version)
    assert code == 0, f"on ComfyUI {version}:\n{said}"
