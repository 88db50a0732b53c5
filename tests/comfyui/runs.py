"""Sampling as ComfyUI's nodes do it, and MagCache with a plan of the test's own choosing."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import comfy.sample
import comfy.samplers
import torch
from comfy.nested_tensor import NestedTensor
from torch import nn

from magcache.comfyui.base_model import family_of
from magcache.comfyui.patch import MagCachePatch
from magcache.curves.store import CurveStore
from magcache.planning.plan import Plan
from magcache.reports.run_report import RunLabel, RunReport
from magcache.runtime.family import children, submodule
from magcache.runtime.modes import ThresholdMode
from magcache.runtime.run_setup import RunFacts, RunSetup
from magcache.settings import ThresholdSettings

from .tiny import Tiny

PlanOf = Callable[[list[float]], Plan]


@dataclass(slots=True)
class Log:
    """How the runs went, one report each."""

    reports: list[RunReport] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def add(self, report: RunReport, text: str) -> None:
        self.reports.append(report)
        self.texts.append(text)

    @property
    def decisions(self) -> list[str]:
        """A word for each run with a letter for each evaluation: c computed, r reused."""
        return ["".join("r" if event.reused else "c" for event in report.events) for report in self.reports]


class WatchingPlan(Plan):
    """Skips nothing, yet wants the residual of every step."""

    def last_uses(self) -> list[int]:
        return [self.steps] * self.steps


class CountingPlan(Plan):
    """Goes by the count of evaluations, so that one can be repeated at the very same sigma."""

    calls = 1
    """Calls that belong to one step."""

    @cached_property
    def _count(self) -> Iterator[int]:
        return itertools.count()

    def step_at(self, sigma: float, present: int = 0) -> int:
        return next(self._count) // self.calls


class PairCountingPlan(CountingPlan):
    calls = 2


def steps(pattern: str, kind: type[Plan] = Plan) -> PlanOf:
    """A plan out of a letter a step: c computes, r reuses. Steps beyond the pattern are computed."""

    def plan(sigmas: list[float]) -> Plan:
        count = len(pattern) if issubclass(kind, CountingPlan) else len(sigmas)
        reused = tuple(letter == "r" for letter in pattern[:count].ljust(count, "c"))
        falling = tuple(sigmas[0] * (1 - step / 1000) for step in range(count)) if issubclass(kind, CountingPlan) else tuple(sigmas)
        return kind(falling, reused, (0.0,) * count)

    return plan


@dataclass(frozen=True, slots=True)
class FixedMode:
    """Runs by a plan of the test's own choosing."""

    plan_of: PlanOf
    more: dict[str, Any] = field(default_factory=dict)

    def setup(self, run: RunFacts, store: CurveStore) -> RunSetup:
        return RunSetup(self.plan_of(list(run.sigmas)), RunLabel("skipping", "test"), **self.more)


def cached(model: Any, plan: str | PlanOf, **more: Any) -> tuple[Any, Log]:
    """A clone of `model` that skips by `plan`, and the log of its runs."""
    log, plan_of = Log(), steps(plan) if isinstance(plan, str) else plan
    return MagCachePatch(FixedMode(plan_of, more), log.add).attach(model), log


def by_rule(model: Any, curve: str, *, threshold: float = 0.24, max_skip: int = 4, retention: float = 0.2) -> tuple[Any, Log]:
    """A clone of `model` that skips by the published rule, and the log of its runs."""
    log = Log()
    settings = ThresholdSettings(threshold=threshold, max_skip=max_skip, retention=retention)
    return MagCachePatch(ThresholdMode(curve, settings), log.add).attach(model), log


@torch.inference_mode()
def sample(
    tiny: Tiny,
    model: Any = None,
    *,
    count: int = 4,
    cfg: float = 1.0,
    sampler: str = "euler",
    batch: int = 1,
    positive: Any = None,
    negative: Any = None,
    size: tuple[int, int] | None = None,
    latent: torch.Tensor | None = None,
    add_noise: bool = True,
    **more: Any,
) -> torch.Tensor:
    """What the KSampler nodes do with `count` steps. A picture with sound comes as one row of numbers."""
    latent = tiny.empty(batch, size) if latent is None else latent
    result = comfy.sample.sample(
        tiny.model if model is None else model,
        comfy.sample.prepare_noise(latent, 1) if add_noise else latent * 0,
        count,
        cfg,
        sampler,
        "simple",
        tiny.positive if positive is None else positive,
        tiny.negative if negative is None else negative,
        latent,
        disable_pbar=True,
        seed=1,
        **more,
    )
    return torch.cat([part.flatten(1) for part in result.unbind()], dim=1) if isinstance(result, NestedTensor) else result


@torch.inference_mode()
def evaluate(tiny: Tiny, model: Any = None, times: int = 1, *, cfg: float = 1.0, batch: int = 1, **conds: Any) -> list[torch.Tensor]:
    """What the model makes, `times` over, of one and the same input at one and the same sigma."""
    seen: list[torch.Tensor] = []

    def same_again(denoise: Any, x: torch.Tensor, sigmas: torch.Tensor, extra_args: Any = None, **_: Any) -> torch.Tensor:
        seen.extend(denoise(x, sigmas[0].expand(x.shape[0]), **extra_args) for _ in range(times))
        return seen[-1]

    comfy.sample.sample_custom(
        tiny.model if model is None else model,
        tiny.noise(batch, 5),
        cfg,
        comfy.samplers.KSAMPLER(same_again),
        torch.tensor([0.7, 0.0]),
        conds.get("positive", tiny.positive),
        conds.get("negative", tiny.negative),
        tiny.noise(batch, 6),
        disable_pbar=True,
        seed=1,
    )
    return seen


def blocks(tiny: Tiny) -> list[nn.Module]:
    """Every block of the stack, in the order they run; the model itself if it is skipped as a whole."""
    lists = [submodule(tiny.dit, name) for name in family_of(tiny.model).blocks]
    return [block for found in lists for block in children(found).values()] or [tiny.dit]


@contextmanager
def counted(module: nn.Module) -> Iterator[list[int]]:
    """The number of calls of `module` so far, in a list of one."""
    calls = [0]

    def count(*_: Any) -> None:
        calls[0] += 1

    handle = module.register_forward_hook(count)
    try:
        yield calls
    finally:
        handle.remove()


def structure(model: nn.Module) -> dict[int, list[tuple[str, int]]]:
    """Which module stands where, by identity."""
    return {id(module): [(name, id(child)) for name, child in module._modules.items()] for module in model.modules()}


def close(one: torch.Tensor, other: torch.Tensor, tolerance: float = 1e-5) -> bool:
    return one.shape == other.shape and bool((one - other).abs().max() <= tolerance)
