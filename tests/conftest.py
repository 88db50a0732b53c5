from __future__ import annotations

import pytest

from magcache.demo.comfyui import NEWEST


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--comfyui-version", default=NEWEST, help="The pinned ComfyUI that tests/comfyui run in.")
