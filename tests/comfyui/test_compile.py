"""torch.compile before and after MagCache. The backend is "eager": tracing and guards are real, code generation is left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from comfy_api.torch_helpers import set_torch_compile_wrapper
from torch._dynamo.utils import counters

from magcache.comfyui.nodes.compile import CompileModel

from .runs import cached, close, sample
from .tiny import Tiny, flux_dev, wan_t2v


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


def _whole(model: Any) -> Any:
    return CompileModel.execute(model, "default", "eager", False, False).args[0]


def _blocks(model: Any) -> Any:
    """Each double block on its own, as other compile nodes do."""
    model = model.clone()
    keys = [f"diffusion_model.double_blocks.{index}" for index in range(2)]
    set_torch_compile_wrapper(model, backend="eager", keys=keys)
    return model


@pytest.mark.parametrize("order", ["compile first", "compile last"])
@pytest.mark.parametrize(("build", "compiled"), [(flux_dev, _whole), (wan_t2v, _whole), (flux_dev, _blocks)])
def test_a_compiled_model_skips_alike_and_is_not_compiled_anew_for_each_run(
    build: Callable[[], Tiny], compiled: Callable[[Any], Any], order: str
):
    """Two graphs do: of a whole model one to compute and one to skip, else one a block, or one for all that are alike."""
    tiny = build()
    expected = sample(tiny, cached(tiny.model, "crcr")[0], cfg=3.0)
    if order == "compile first":
        model, log = cached(compiled(tiny.model), "crcr")
    else:
        model, log = cached(tiny.model, "crcr")
        model = compiled(model)
    traced = []
    for _ in range(3):
        assert close(sample(tiny, model, cfg=3.0), expected, 1e-4)
        traced.append(counters["stats"]["unique_graphs"])
    assert log.decisions == ["crcr"] * 3
    assert 1 <= traced[0] <= 2
    assert traced == traced[:1] * 3


def test_steps_that_nobody_draws_on_need_no_graph_of_their_own():
    tiny = flux_dev()
    model, log = cached(_whole(tiny.model), "ccrc")
    sample(tiny, model, cfg=3.0)
    assert log.decisions == ["ccrc"]
    assert counters["stats"]["unique_graphs"] == 2


def test_the_model_sees_no_options_of_ours():
    """For torch.compile another number of options would be another model."""
    tiny, seen = wan_t2v(), []
    forward = tiny.dit.forward

    def watch(*args: Any, **kwargs: Any) -> Any:
        seen.append(frozenset(kwargs["transformer_options"]))
        return forward(*args, **kwargs)

    tiny.dit.forward = watch
    try:
        sample(tiny, cfg=3.0)
        sample(tiny, cached(tiny.model, "crcr")[0], cfg=3.0)
    finally:
        del tiny.dit.forward
    assert len(seen) >= 8 and len(set(seen)) == 1
