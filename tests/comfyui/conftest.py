"""Tests inside a real ComfyUI. One process can hold one version: `--comfyui-version` chooses it, the newest by default."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from magcache.server.launch import ComfyUIError, fetch_comfyui

if TYPE_CHECKING:
    from .tiny import Tiny


def pytest_configure(config: pytest.Config) -> None:
    version = config.getoption("--comfyui-version")
    try:
        folder = fetch_comfyui(version)
    except (ComfyUIError, OSError) as error:
        pytest.exit(f"tests/comfyui need ComfyUI {version}, which could not be obtained: {error}", returncode=1)
    sys.path.insert(0, str(folder))
    import comfy.cli_args

    comfy.cli_args.args.cpu = True
    comfy.cli_args.args.use_pytorch_cross_attention = True  # As on a GPU. What the CPU has instead cannot be traced in one piece.
    import utils.install_util  # noqa: F401  ComfyUI's own `utils`, before its comfy/utils.py can take the name.

    torch.set_num_threads(1)  # Threads only get in each other's way on tensors this small.


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for `tiny` runs on every model there is."""
    if "tiny" in metafunc.fixturenames:
        from .zoo import EVERY

        metafunc.parametrize("tiny", EVERY, indirect=True)


@pytest.fixture
def tiny(request: pytest.FixtureRequest) -> Iterator[Tiny]:
    """A tiny model. Whatever a test does with it, its modules must be back in their places afterwards."""
    from .runs import structure
    from .zoo import EVERY

    found = EVERY[request.param]()
    before = structure(found.dit)
    yield found
    assert structure(found.dit) == before


@pytest.fixture
def flux() -> Iterator[Tiny]:
    """The tiny Flux, for tests of what is the same for every family."""
    from .runs import structure
    from .tiny import flux_dev

    found = flux_dev()
    before = structure(found.dit)
    yield found
    assert structure(found.dit) == before


@pytest.fixture(autouse=True)
def curves_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty models/magcache."""
    import folder_paths

    folder = tmp_path / "magcache"
    folder.mkdir()
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "magcache", ([str(folder)], set()))
    return folder
