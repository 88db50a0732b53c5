"""What MagCache is tried beside: another node's work on a model, and what must hold of the two together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import comfy.samplers
import pytest
import torch
from comfy.patcher_extension import WrappersMP

from .runs import CountingPlan, Log, WatchingPlan, cached, steps, structure
from .tiny import Tiny

Put = Callable[[Any], Any]
"""Another node: gets a model and returns a clone of it with its own work on it."""
MOVING = "moving"
"""What is looked at moves on from step to step, so that some planned steps are reused and some are not."""


def as_it_is(model: Any) -> Any:
    return model


def node(module: str, name: str) -> Any:
    """A node of ComfyUI's own; the test is left out where this version has none."""
    found = getattr(pytest.importorskip(f"comfy_extras.{module}"), name, None)
    if found is None:
        pytest.skip(f"this ComfyUI has no {name}")
    return found


def guided(tiny: Tiny, model: Any, cfg: float, **conds: Any) -> Any:
    """As the KSampler nodes guide."""
    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(conds.get("positive", tiny.positive), conds.get("negative", tiny.negative))
    guider.set_cfg(cfg)
    return guider


@dataclass(frozen=True, slots=True)
class Item:
    """What MagCache is tried beside."""

    build: Callable[[], Tiny]
    put: Put = as_it_is
    cfg: float = 3.0
    count: int = 5
    """Steps of a run."""
    conds: Callable[[Tiny], dict[str, Any]] = lambda tiny: {}
    """The conditionings, made anew for each run."""
    guider: Callable[..., Any] = guided
    mask: torch.Tensor | None = None
    """What is denoised of the latent."""
    size: tuple[int, ...] | None = None
    """Shape of the latent if it is not that of the model."""
    batch: int = 1
    plan: str = "crrrr"
    decisions: str = ""
    """What comes of the plan; as planned if nothing is said, and another thing at other times if it is `MOVING`."""
    without: Put | None = None
    """What it would be without the neighbour, which must be another picture."""
    varies: bool = False
    """Whether the latent that the model sees depends on the sigma, so that it is one only at one sigma."""

    def assert_decided(self, log: Log) -> None:
        """The run of which a log tells last was decided as it should be."""
        if self.decisions == MOVING:
            assert log.reports[-1].reused > 0 and log.reports[-1].refused > 0
        else:
            assert (found := log.decisions[-1]) == (self.decisions or self.plan), found

    def noise(self, tiny: Tiny, seed: int = 5) -> Any:
        return Tiny(tiny.model, self.size or tiny.latent, tiny.width, sound=tiny.sound).noise(self.batch, seed)


def sigmas_of(item: Item, model: Any) -> torch.Tensor:
    return comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "simple", item.count)


@torch.inference_mode()
def draw(item: Item, tiny: Tiny, model: Any, sampler: Any = None) -> torch.Tensor:
    """A picture."""
    guider = item.guider(tiny, model, item.cfg, **item.conds(tiny))
    sigmas = sigmas_of(item, model)
    noise, latent = item.noise(tiny), item.noise(tiny, 6)
    sampler = sampler or comfy.samplers.sampler_object("euler")
    return guider.sample(noise, latent, sampler, sigmas, denoise_mask=item.mask, disable_pbar=True, seed=1)


def still(item: Item, tiny: Tiny, model: Any) -> list[torch.Tensor]:
    """What is made at each step of a run in which the model sees one latent and is told one time; only what others do may change.

    A reused step then gives what a computed one gives, if what it reuses was recorded under the same circumstances.
    """
    model, first = model.clone(), sigmas_of(item, model)[0]

    def one_time(executor: Any, x: torch.Tensor, t: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        return executor(x, torch.full_like(t, float(first)), *args, **kwargs)

    model.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "still", one_time)
    seen: list[torch.Tensor] = []

    def ask(denoise: Any, x: torch.Tensor, sigmas: torch.Tensor, extra_args: Any = None, callback: Any = None, **_: Any) -> torch.Tensor:
        for step, sigma in enumerate(sigmas[:-1]):
            sigma = sigmas[0] if item.varies else sigma
            seen.append(denoise(x.clone(), sigma.expand(x.shape[0]), **extra_args).clone())
            if callback is not None:
                callback({"i": step, "denoised": seen[-1], "x": x})
        return seen[-1]

    draw(item, tiny, model, comfy.samplers.KSAMPLER(ask))
    return seen


def assert_computes_alike(item: Item) -> None:
    """Where everything is computed the picture is that of the neighbour alone, whichever of the two was put on first."""
    tiny = item.build()
    alone = draw(item, tiny, item.put(tiny.model))
    if item.without is not None:
        other = draw(item, tiny, item.without(tiny.model))
        assert not torch.equal(alone, other), "the neighbour must matter for this test to mean anything"
    everything = steps("c" * item.count, WatchingPlan)
    with unharmed(tiny):
        behind, log = cached(item.put(tiny.model), everything)
        assert torch.equal(draw(item, tiny, behind), alone)
        if item.put is not as_it_is:
            assert torch.equal(draw(item, tiny, item.put(cached(tiny.model, everything)[0])), alone)
    assert set(log.decisions[0]) == {"c"}


def assert_reuses_rightly(item: Item) -> None:
    """Steps are reused as is safe, and give what computed ones give if the model sees one and the same."""
    tiny = item.build()
    with unharmed(tiny):
        model, log = cached(item.put(tiny.model), item.plan)
        draw(item, tiny, model)
        item.assert_decided(log)
        if item.varies:
            model, log = cached(item.put(tiny.model), steps(item.plan, CountingPlan))
        reused = still(item, tiny, model)
        item.assert_decided(log)
    for step, (one, other) in enumerate(zip(reused, still(item, tiny, item.put(tiny.model)), strict=True)):
        assert alike(one, other), f"at step {step} the latent is off by {float((one - other).abs().max())}"


def alike(one: torch.Tensor, other: torch.Tensor, tolerance: float = 1e-4) -> bool:
    return one.shape == other.shape and bool((one - other).abs().max() <= tolerance * other.abs().max().clamp_min(1.0))


@contextmanager
def unharmed(tiny: Tiny) -> Iterator[None]:
    """Within: whatever is done with a model, its modules are back in their places afterwards."""
    before = structure(tiny.dit)
    yield
    assert structure(tiny.dit) == before
