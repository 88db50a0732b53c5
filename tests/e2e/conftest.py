"""A real ComfyUI server with MagCache installed as a custom node."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from magcache.server.client import Client
from magcache.server.launch import FLOOR, NEWEST, Server, fetch_comfyui, install_node, serve

from .browser import browser_needed
from .frontend import Frontend, open_frontend
from .pages import NEWEST_PAGE, PAGE_OF_FLOOR, fetch_page

_SCREENSHOTS = Path(__file__).parents[2] / "assets" / "screenshots"
_PAGES = {FLOOR: PAGE_OF_FLOOR, "newest page": NEWEST_PAGE}
"""What `server` may be -> its web page, where that is not the one of this environment."""


@pytest.fixture(scope="session", params=[NEWEST, FLOOR])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    base = tmp_path_factory.mktemp("comfyui")
    install_node(base)
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            if request.param in _PAGES:
                patch.setenv("PYTHONPATH", str(fetch_page(_PAGES[request.param])), prepend=os.pathsep)
            version = FLOOR if request.param == FLOOR else NEWEST
            server = stack.enter_context(serve(fetch_comfyui(version), base, ["--cpu"]))
        yield server


@pytest.fixture
def models(server: Server) -> Path:
    return server.log.parent / "models"


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.address) as client:
        yield client


@pytest.fixture(scope="module")
def opened(server: Server) -> Iterator[Frontend]:
    with browser_needed(), open_frontend(server.address) as frontend:
        yield frontend


@pytest.fixture
def frontend(opened: Frontend) -> Frontend:
    """ComfyUI in a browser, with an empty canvas."""
    opened.start_over()
    return opened


@pytest.fixture
def pictures(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Where screenshots go: the docs' folder if pytest is called with --screenshots and the page is that of the pinned ComfyUI."""
    wanted = request.config.getoption("--screenshots") and request.node.callspec.params["server"] == NEWEST
    return _SCREENSHOTS if wanted else tmp_path
