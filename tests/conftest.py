from __future__ import annotations

import pytest

from magcache.server.launch import FLOOR, NEWEST


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--comfyui-version", default=NEWEST, choices=[NEWEST, FLOOR], help="The pinned ComfyUI that tests/comfyui run in.")
    parser.addoption("--screenshots", action="store_true", help="Renew the screenshots of the docs in assets/screenshots.")
