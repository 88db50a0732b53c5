"""Tests inside a real ComfyUI. One process can hold one version: `--comfyui-version` chooses it, the newest by default."""

from __future__ import annotations

import sys

import pytest

from magcache.demo.comfyui import fetch_comfyui


def pytest_configure(config: pytest.Config) -> None:
    folder = fetch_comfyui(config.getoption("--comfyui-version"))
    sys.path.insert(0, str(folder))
    import comfy.cli_args

    comfy.cli_args.args.cpu = True
    import utils.install_util  # noqa: F401  ComfyUI's own `utils`, before its comfy/utils.py can take the name.
