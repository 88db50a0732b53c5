"""One model for all tests of the FramePack page that leave it as it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from magcache.framepack.model import Model

from .studio import small_model


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Measured by its first video with MagCache."""
    return small_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """So small a model is faster so, and other tests run at the same time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def fresh_model(tmp_path: Path) -> Model:
    """Of unknown curve, and free to be changed."""
    return small_model(tmp_path)
