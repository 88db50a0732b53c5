"""`magcache bench` before it needs a server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .calls import refused


@pytest.mark.parametrize("node", ["MagCacheAuto", "MagCache"])
def test_a_speedup_contradicts_a_node_that_has_its_own_settings(node: str, tmp_path: Path):
    path = tmp_path / "flux.json"
    path.write_text(json.dumps({"1": {"class_type": node, "inputs": {}}}))
    message = refused("bench", str(path), "--speedup", "3", status=2)
    assert f"--speedup and the {node} node of {path} contradict each other" in message


@pytest.mark.parametrize("option", ["--base", "--vision"])
def test_parts_of_real_weights_contradict_the_small_model(option: str):
    """Of `magcache framepack`."""
    assert f"{option} (" in (message := refused("framepack", option, ".", status=2)) and "without --weights" in message
