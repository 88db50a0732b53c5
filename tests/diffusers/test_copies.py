"""What leaves a pipeline under MagCache does so without it: saved, copied and pickled models, and one that takes the model's place."""

from __future__ import annotations

import copy
import pickle
import sys
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DiffusionPipeline, FluxTransformer2DModel
from diffusers.modular_pipelines.flux.modular_blocks_flux import FluxCoreDenoiseStep
from torch import nn

from magcache.diffusers import StepCache, apply, remove, report
from magcache.errors import MagCacheError

from .pipelines import PIPES
from .pipelines_images import flux_transformer
from .tiny_parts import noise, randomised, same
from .watching import RULE, plan_by_rule, watched

FLUX = PIPES["flux"]
PLAN = plan_by_rule()


def test_a_saved_model_is_plain(pipe: DiffusionPipeline, plain: list[torch.Tensor], tmp_path: Path):
    names = list(pipe.transformer.state_dict())
    apply(pipe, folder=tmp_path, **RULE)
    assert list(pipe.transformer.state_dict()) == names
    FLUX.run(pipe)
    pipe.transformer.save_pretrained(tmp_path / "model")
    pipe.register_modules(transformer=FluxTransformer2DModel.from_pretrained(tmp_path / "model"))
    with watched(pipe) as seen:
        assert torch.allclose(FLUX.run(pipe)[0], plain[0], atol=1e-4)
    assert seen.steps() == "c" * 12


@pytest.mark.parametrize("compiled", [False, True])
def test_a_copy_is_plain_and_has_its_own_weights(
    compiled: bool, pipe: DiffusionPipeline, plain: list[torch.Tensor], cached: list[torch.Tensor], tmp_path: Path
):
    apply(pipe, folder=tmp_path, **RULE)
    FLUX.run(pipe)
    if compiled:
        pipe.transformer.compile(backend="eager")
    for twin in (
        copy.deepcopy(pipe),
        _with_transformer(pipe, copy.deepcopy(pipe.transformer)),
        _with_transformer(pipe, copy.copy(pipe.transformer)),
    ):
        with pytest.raises(MagCacheError):
            report(twin)
        assert same(FLUX.run(twin), plain)
    twin = copy.deepcopy(pipe)
    randomised(twin.transformer, seed=8)
    assert not same(FLUX.run(twin), plain)
    apply(twin, folder=tmp_path, **RULE)
    remove(twin)
    assert same(FLUX.run(pipe), cached)


def _with_transformer(pipe: DiffusionPipeline, transformer: nn.Module) -> DiffusionPipeline:
    other = FLUX.build()
    other.register_modules(transformer=transformer)
    return other


class _Without(MetaPathFinder):
    """magcache is not installed."""

    def find_spec(self, name: str, *_: Any) -> None:
        if name.split(".")[0] == "magcache":
            raise ModuleNotFoundError(name)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_pickle_is_plain_and_needs_no_magcache(
    compiled: bool, pipe: DiffusionPipeline, plain: list[torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    apply(pipe, folder=tmp_path, **RULE)
    FLUX.run(pipe)
    if compiled:
        pipe.transformer.compile(backend="eager")
    data = pickle.dumps(pipe.transformer)
    for name in [name for name in sys.modules if name.split(".")[0] == "magcache"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [_Without(), *sys.meta_path])
    twin = _with_transformer(pipe, pickle.loads(data))
    assert same(FLUX.run(twin), plain)
    with pytest.raises(ModuleNotFoundError):
        __import__("magcache.diffusers")


@pytest.mark.parametrize("how", ["register_modules", "attribute"])
def test_an_exchanged_transformer_runs_without_the_cache_and_the_report_says_so(how: str, pipe: DiffusionPipeline, tmp_path: Path):
    other = flux_transformer(seed=5)
    expected = FLUX.run(_with_transformer(pipe, flux_transformer(seed=5)))
    cache = apply(pipe, folder=tmp_path, **RULE)
    FLUX.run(pipe)
    if how == "register_modules":
        pipe.register_modules(transformer=other)
    else:
        pipe.transformer = other
    assert same(FLUX.run(pipe), expected)
    for ask in (cache.report, lambda: report(pipe)):
        with pytest.raises(MagCacheError, match="exchanged"):
            ask()
    assert isinstance(apply(pipe, folder=tmp_path, **RULE), StepCache)
    FLUX.run(pipe)
    assert report(pipe).reused == PLAN.count("r")


def test_a_modular_pipeline(pipe: DiffusionPipeline, tmp_path: Path):
    modular = FluxCoreDenoiseStep().init_pipeline()
    modular.update_components(transformer=pipe.transformer, scheduler=pipe.scheduler)
    modular.set_progress_bar_config(disable=True)

    def latents() -> list[torch.Tensor]:
        text = {"prompt_embeds": noise(1, 7, 32, seed=1), "pooled_prompt_embeds": noise(1, 32, seed=1)}
        size = {"height": 64, "width": 64, "num_inference_steps": 12}
        return [modular(**text, **size, generator=torch.Generator().manual_seed(0), output="latents")]

    expected = latents()
    cache = apply(modular, folder=tmp_path, **RULE)
    with watched(modular) as seen:
        once = latents()
    assert seen.steps() == PLAN
    assert not same(once, expected)
    assert same(latents(), once)
    assert cache.report().reused == PLAN.count("r")
    cache.remove()
    assert same(latents(), expected)
