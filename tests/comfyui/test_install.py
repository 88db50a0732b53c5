"""How MagCache gets into a ComfyUI by itself, for the demo."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path

import nodes
import pytest

import magcache
from magcache.server.launch import install_node

INSTALL = "import pathlib, sys; from magcache.server.launch import install_node; install_node(pathlib.Path(sys.argv[1]))"


def load(pack: Path, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The nodes that ComfyUI finds in a folder of custom_nodes."""
    monkeypatch.setattr(nodes, "NODE_CLASS_MAPPINGS", {})
    assert asyncio.run(nodes.load_custom_node(str(pack)))
    return set(nodes.NODE_CLASS_MAPPINGS)


def test_from_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    install_node(tmp_path)
    pack = tmp_path / "custom_nodes" / "MagCache"
    assert {"MagCacheAuto", "MagCacheDemoText"} <= load(pack, monkeypatch)
    assert (pack / "web" / "docs" / "MagCacheAuto.md").exists() and (pack / "locales" / "ja").is_dir()


def test_from_a_wheel_which_has_the_package_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    packages = tmp_path / "site-packages"
    shutil.copytree(Path(magcache.__file__).parent, packages / "magcache", ignore=shutil.ignore_patterns("__pycache__"))
    (packages / "web").mkdir()  # Somebody else's.
    subprocess.run([sys.executable, "-c", INSTALL, tmp_path], cwd=packages, check=True)
    pack = tmp_path / "custom_nodes" / "MagCache"
    assert {"MagCacheAuto", "MagCacheDemoText"} <= load(pack, monkeypatch)
    assert {path.name for path in pack.iterdir()} == {"__init__.py", "magcache"}
