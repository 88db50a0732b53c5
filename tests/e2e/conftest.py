"""A real ComfyUI server with MagCache installed as a custom node."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from magcache.server.client import Client
from magcache.server.launch import FLOOR, NEWEST, Server, fetch_comfyui, install_node, serve


@pytest.fixture(scope="session", params=[NEWEST, FLOOR])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    base = tmp_path_factory.mktemp("comfyui")
    install_node(base)
    with serve(fetch_comfyui(request.param), base, ["--cpu"]) as server:
        yield server


@pytest.fixture
def models(server: Server) -> Path:
    return server.log.parent / "models"


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.address) as client:
        yield client
