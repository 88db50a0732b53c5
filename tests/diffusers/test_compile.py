"""torch.compile makes two graphs of a model, one that runs its blocks and one that skips them, and none in later runs.

Executed with diffusers 0.42.1: its MagCache makes 4 graphs of Flux with 4 breaks, and cannot be compiled with `fullgraph=True`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DiffusionPipeline

from benchmarks import graphs
from benchmarks.graphs import Counting
from magcache.diffusers import apply, remove, report

from .pipelines import PIPES
from .tiny_parts import same
from .watching import RULE, plan_by_rule


@pytest.fixture(autouse=True)
def _no_graphs_of_other_tests() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def _whole(pipe: DiffusionPipeline, backend: Counting) -> None:
    pipe.transformer.compile(backend=backend, fullgraph=True)


def _repeated(pipe: DiffusionPipeline, backend: Counting) -> None:
    pipe.transformer.compile_repeated_blocks(backend=backend, fullgraph=True)


def _wrapped(pipe: DiffusionPipeline, backend: Counting) -> None:
    pipe.transformer = torch.compile(pipe.transformer, backend=backend, fullgraph=True)


def _expected(name: str, folder: Path) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """What an uncompiled pipeline gives in full and with the cache."""
    pipe = PIPES[name].build()
    apply(pipe, folder=folder, **RULE)
    cached = PIPES[name].run(pipe)
    remove(pipe)
    return PIPES[name].run(pipe), cached


@pytest.mark.parametrize(("name", "compiles", "compiled_first", "most"), [
    ("flux", _whole, False, 2), ("wan21_t2v", _whole, True, 2), ("wan21_t2v", _wrapped, True, 2),
    ("flux", _repeated, True, 3), ("flux", _repeated, False, 3),
])  # fmt: skip
def test_as_few_graphs_as_there_are_forms(name: str, compiles: Callable[..., None], compiled_first: bool, most: int, tmp_path: Path):
    kind = PIPES[name]
    full, cached = _expected(name, tmp_path)
    backend, pipe = Counting(), kind.build()
    if compiled_first:
        compiles(pipe, backend)
    cache = apply(pipe, folder=tmp_path, **RULE)
    if not compiled_first:
        compiles(pipe, backend)
    first = kind.run(pipe)
    assert torch.allclose(first[0], cached[0], atol=1e-3)
    assert "".join("r" if event.reused else "c" for event in cache.report().events) == plan_by_rule()
    made = backend.graphs
    assert 1 <= made <= most
    assert same(kind.run(pipe), first)
    kind.run(pipe, steps=20, seed=3, prompt=3)
    apply(pipe, folder=tmp_path, **(RULE | {"max_skip": 1}))
    kind.run(pipe)
    assert backend.graphs == made
    remove(pipe)
    assert torch.allclose(kind.run(pipe)[0], full[0], atol=1e-3)
    assert backend.graphs <= made + 1


def test_a_model_wrapped_after_apply_still_skips(tmp_path: Path):
    """Whoever wants compiled steps compiles first, or by `transformer.compile()`; this way they are not compiled, or with many graphs."""
    kind = PIPES["flux"]
    full, cached = _expected("flux", tmp_path)
    pipe = kind.build()
    apply(pipe, folder=tmp_path, **RULE)
    pipe.transformer = torch.compile(pipe.transformer, backend=Counting())
    assert torch.allclose(kind.run(pipe)[0], cached[0], atol=1e-3)
    assert report(pipe).reused == plan_by_rule().count("r")
    remove(pipe)
    assert torch.allclose(kind.run(pipe)[0], full[0], atol=1e-3)


def test_a_calibration_and_the_runs_after_it_need_no_further_graph(tmp_path: Path):
    kind, backend = PIPES["flux"], Counting()
    pipe = kind.build()
    _whole(pipe, backend)
    cache = apply(pipe, 2.0, folder=tmp_path)
    kind.run(pipe, steps=16)
    assert cache.report().label.kind == "calibrating"
    assert backend.graphs == 2
    kind.run(pipe, steps=16)
    kind.run(pipe, steps=28)
    assert cache.report().reused
    assert backend.graphs == 2


def test_another_size_costs_two_graphs_and_a_third_none(tmp_path: Path):
    kind, backend = PIPES["flux"], Counting()
    pipe = kind.build()
    apply(pipe, folder=tmp_path, **RULE)
    _whole(pipe, backend)
    made = []
    for size in (16, 24, 40, 32, 16):
        kind.run(pipe, height=size, width=size)
        made.append(backend.graphs)
    assert made == [2, 4, 4, 4, 4]


def test_an_exception_in_a_compiled_run_leaves_the_next_one_right(tmp_path: Path):
    kind, backend = PIPES["flux"], Counting()
    pipe = kind.build()
    apply(pipe, folder=tmp_path, **RULE)
    _whole(pipe, backend)
    expected = kind.run(pipe)

    def stop(_: Any, step: int, *__: Any) -> dict[str, Any]:
        if step == 4:
            raise KeyboardInterrupt
        return {}

    with pytest.raises(KeyboardInterrupt):
        kind.run(pipe, callback_on_step_end=stop)
    assert same(kind.run(pipe), expected)
    assert backend.graphs == 2


def test_fewer_graphs_than_diffusers_own_mag_cache():
    ours, theirs = (graphs.count(graphs.flux, graphs.METHODS[name]) for name in ("MagCache", "diffusers' MagCache"))
    table = f"ours {ours}, diffusers' {theirs}"
    assert (ours.graphs, ours.breaks, ours.fullgraph) == ([2, 0, 0], 0, "works"), table
    assert sum(theirs.graphs) > 2 and theirs.breaks and theirs.fullgraph == "Unsupported", table
