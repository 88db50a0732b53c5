"""What a sampler does with the model's answers, found out by running it on single numbers before the run."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import isfunction, unwrap
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import torch

from ..curves.curve import same_sigma

_TOLERANCE = 1e-4
"""Relative difference up to which two results of fp32 arithmetic are taken for equal."""
_MOST_EVALUATIONS = 20
"""A sampler that evaluates a model more often than this for each step does not end by itself."""

log = logging.getLogger("magcache")


@dataclass(frozen=True, slots=True)
class SamplerTraits:
    """How a sampler works, as far as a dry run could tell."""

    one_a_step: bool = False
    """Whether it evaluates the model once a step, at the step's own sigma, and reports each step afterwards."""
    is_euler: bool = False
    """Whether each step moves the latent by Δσ times the model's output and by nothing else."""
    adds_noise: bool = True
    """Whether its result depends on random numbers. True if that is not known."""


def traits_of(sampler: Any, guider: Any, sigmas: torch.Tensor) -> SamplerTraits:
    """Run the sampler's function on one number, with a stand-in for the model that answers at random.

    A sampler for which that does not work has none of the traits that allow something. Nor has one that may keep a state of its own,
    in a closure or in an object such as a noise generator, which would not be the same after a dry run.
    """
    function = getattr(sampler, "sampler_function", None)
    options: Mapping[str, Any] = getattr(sampler, "extra_options", {})
    if not isfunction(function) or unwrap(function).__closure__ or not all(_is_plain(value) for value in options.values()):
        return SamplerTraits()
    schedule = sigmas.detach().float().cpu()
    try:
        runs = [_dry_run(function, options, guider, schedule, seed) for seed in (0, 1)]
    except Exception as error:  # noqa: BLE001 - a sampler of any pack may raise anything
        log.debug("MagCache could not try the sampler %s: %s", function.__name__, error)
        return SamplerTraits()
    steps = schedule.tolist()
    one_a_step = _is_one_a_step(runs[0], steps[:-1])
    adds_noise = not _close(runs[0].end, runs[1].end)
    straight = runs[0].start + sum((after - now) * answer for (now, after), answer in zip(pairwise(steps), _answers(), strict=False))
    return SamplerTraits(one_a_step, one_a_step and not adds_noise and _close(runs[0].end, straight), adds_noise)


@dataclass(slots=True)
class _DryRun:
    """What a sampler did on one number."""

    start: float
    end: float
    evaluated: list[float]
    """Sigma of each evaluation; −1 stands for a report of a step."""


class _StandIn:
    """Answers x − σ·v, with another v at every evaluation. Samplers look at its attributes as at those of ComfyUI's model wrapper."""

    def __init__(self, guider: Any, sigmas: torch.Tensor) -> None:
        self.inner_model = SimpleNamespace(
            inner_model=guider.inner_model, model_patcher=guider.model_patcher, cfg=1.0, conds=guider.conds, model_options={}
        )
        self.sigmas = sigmas
        self.evaluated: list[float] = []
        self._answers = _answers()

    def __call__(self, x: torch.Tensor, sigma: torch.Tensor, model_options: Mapping[str, Any], **_: Any) -> torch.Tensor:
        if sum(each >= 0 for each in self.evaluated) > _MOST_EVALUATIONS * len(self.sigmas):
            raise RuntimeError("it does not end")
        self.evaluated.append(float(sigma.flatten()[0]))
        change = sigma.reshape(-1, 1, 1, 1) * next(self._answers)
        answer, other = x - change, x + change
        for function in model_options.get("sampler_post_cfg_function", ()):  # Samplers of the CFG++ kind look at the negative's answer.
            given = {"denoised": answer, "cond_denoised": answer, "uncond_denoised": other, "sigma": sigma, "input": x}
            answer = function({**given, "model": None, "cond_scale": 1.0, "model_options": model_options})
        return answer

    def stepped(self, *_: Any) -> None:
        self.evaluated.append(-1.0)


def _dry_run(function: Callable[..., torch.Tensor], options: Mapping[str, Any], guider: Any, sigmas: torch.Tensor, seed: int) -> _DryRun:
    model, start = _StandIn(guider, sigmas), torch.full((1, 1, 1, 1), 0.5)
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):  # A run's own random numbers stay as they are.
        torch.manual_seed(seed)
        extra = {"model_options": {"transformer_options": {}}, "seed": seed, "denoise_mask": None}
        end = function(model, start.clone(), sigmas, extra_args=extra, callback=model.stepped, disable=True, **options)
    return _DryRun(float(start), float(end.flatten()[0]), model.evaluated)


def _answers() -> Any:
    """The same random numbers for every dry run."""
    numbers = random.Random(0)
    while True:
        yield numbers.uniform(-1, 1)


def _is_one_a_step(run: _DryRun, begins: list[float]) -> bool:
    """Whether each step is evaluated once at its own sigma and then reported."""
    wanted = [mark for begin in begins for mark in (begin, -1.0)]
    return len(run.evaluated) == len(wanted) and all(
        (got < 0) == (want < 0) and (want < 0 or same_sigma(got, want)) for got, want in zip(run.evaluated, wanted, strict=True)
    )


def _close(one: float, other: float) -> bool:
    return abs(one - other) <= _TOLERANCE * max(1.0, abs(one), abs(other))


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float | str)
