"""A tiny FLUX, and what it makes without and with a cache."""

from __future__ import annotations

import pytest
import torch
from diffusers import DiffusionPipeline

from magcache.diffusers import apply

from .pipelines import PIPES
from .watching import RULE

FLUX = PIPES["flux"]


@pytest.fixture
def pipe() -> DiffusionPipeline:
    return FLUX.build()


@pytest.fixture(scope="module")
def plain() -> list[torch.Tensor]:
    return FLUX.run(FLUX.build())


@pytest.fixture(scope="module")
def cached(tmp_path_factory: pytest.TempPathFactory) -> list[torch.Tensor]:
    pipe = FLUX.build()
    apply(pipe, folder=tmp_path_factory.mktemp("curves"), **RULE)
    return FLUX.run(pipe)
