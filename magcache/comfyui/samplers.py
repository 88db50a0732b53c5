"""What a sampler does with the model's answers, found out by running it on a few numbers before the run."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from inspect import isfunction, signature, unwrap
from itertools import islice
from types import SimpleNamespace
from typing import Any

import torch

from ..curves.curve import same_sigma
from ..planning.plan import Reason, compute_all, falling_stretches

_TOLERANCE = 1e-4
"""Relative difference up to which two results of fp32 arithmetic are taken for equal."""
_START = 0.5
"""The number that a dry run starts from."""
_MOST_EVALUATIONS = 20
"""A sampler that evaluates a model more often than this for each step does not end by itself."""

log = logging.getLogger("magcache")


@dataclass(frozen=True, slots=True)
class SamplerTraits:
    """How a sampler works, as far as a dry run could tell."""

    one_a_step: bool = False
    """Whether it evaluates the model once a step, at the step's own sigma, and reports each step afterwards."""
    adds_noise: bool = True
    """Whether its result depends on random numbers. True if that is not known."""
    influence: tuple[float, ...] | None = None
    """How much the model's output at each step moves the end of the run (sigma units; Δσ for Euler): the sum over the evaluations
    that belong to the step. None if it cannot be told, because the sampler decides by what it sees or looks at the negative's answer."""


def traits_of(sampler: Any, guider: Any, sigmas: torch.Tensor) -> SamplerTraits:
    """Run the sampler's function on one number and on a batch of them, with a stand-in for the model.

    A sampler for which that does not work has none of the traits that allow something. Nor has one that may keep a state of its own,
    in a closure or in an object such as a noise generator, which would not be the same after a dry run.
    """
    function = getattr(sampler, "sampler_function", None)
    options: Mapping[str, Any] = getattr(sampler, "extra_options", {})
    if not isfunction(function) or unwrap(function).__closure__ or not all(_is_plain(value) for value in options.values()):
        return SamplerTraits()
    schedule = sigmas.detach().float().cpu()
    attempt = partial(_dry_run, function, options, guider, schedule)
    try:
        run = attempt(_answers())
        moves, again = _moves(attempt, run)
    except Exception as error:  # noqa: BLE001 - a sampler of any pack may raise anything
        log.debug("MagCache could not try the sampler %s: %s", function.__name__, error)
        return SamplerTraits()
    steps = schedule.tolist()
    one_a_step = _same(run.evaluated, [mark for begin in steps[:-1] for mark in (begin, -1.0)])
    adds_noise = not _close(run.ends[0], again)
    influence = None if moves is None or run.guided else _by_step(run.sigmas, moves, steps)
    return SamplerTraits(one_a_step, adds_noise, influence)


def _moves(attempt: Callable[..., _DryRun], run: _DryRun) -> tuple[list[float] | None, float]:
    """How much the answer of each evaluation of `run` moves the end, and where the run ends with other random numbers.

    A batch has one row for each evaluation, in which only that one answers 1; then one with the answers of `run`, one without any, and
    one with the answers of `run` and other noise. None if the moves of several answers do not add up, or if the sampler does otherwise
    with a batch than with a single number.
    """
    count = len(run.sigmas)
    answers = list(islice(_answers(), count))
    table = torch.cat([torch.eye(count), torch.tensor([answers, [0.0] * count, answers]).T], dim=1)
    try:
        batch = attempt(iter(table.reshape(count, count + 3, 1, 1, 1)), seeds=[0] * (count + 2) + [1])
    except Exception as error:  # noqa: BLE001 - even if it takes a single number
        log.debug("MagCache could not try a sampler on a batch: %s", error)
        batch = None
    if batch and _same(batch.evaluated, run.evaluated):
        *ends, together, still, again = batch.ends
        moves = [end - still for end in ends]
        parts = [move * answer for move, answer in zip(moves, answers, strict=True)]
        size = max(sum(map(abs, parts)), abs(together), abs(still))
        adds_up = math.isfinite(size) and abs(together - still - sum(parts)) <= _TOLERANCE * size
        if adds_up and _close(together, run.ends[0]):
            return moves, again
    return None, attempt(_answers(), seeds=[1]).ends[0]


def _by_step(evaluated: Sequence[float], moves: Sequence[float], schedule: Sequence[float]) -> tuple[float, ...] | None:
    """The sum of `moves` over the evaluations of each step, which belong to it as in a run (`Plan.step_at`).

    One above all sigmas of its stretch, which a run computes whatever the plan says, counts for the first step, which is computed too.
    """
    kept = [step for stretch in falling_stretches(schedule[:-1]) for step in stretch.steps]
    if not kept:
        return None
    plan = compute_all([schedule[step] for step in kept], Reason.OFF)
    influence, present = [0.0] * (len(schedule) - 1), 0
    for sigma, move in zip(evaluated, moves, strict=True):
        step = plan.step_at(sigma, present)
        present = present if step is None else step
        influence[kept[plan.stretch_of(present).start if step is None else step]] += move
    return tuple(influence)


@dataclass(slots=True)
class _DryRun:
    """What a sampler did on a few numbers."""

    ends: list[float]
    """One for each row of the batch."""
    evaluated: list[float]
    """Sigma of each evaluation; −1 stands for a report of a step."""
    guided: bool
    """Whether it looked at the negative's answer."""

    @property
    def sigmas(self) -> list[float]:
        """Sigma of each evaluation."""
        return [mark for mark in self.evaluated if mark >= 0]


class _StandIn:
    """Answers x − σ·v, with the next v of `answers` at every evaluation; each is for all rows or has one for each.

    Samplers look at its attributes as at those of ComfyUI's model wrapper.
    """

    def __init__(self, guider: Any, sigmas: torch.Tensor, answers: Iterator[float | torch.Tensor]) -> None:
        self.inner_model = SimpleNamespace(
            inner_model=guider.inner_model, model_patcher=guider.model_patcher, cfg=1.0, conds=guider.conds, model_options={}
        )
        self.sigmas = sigmas
        self.evaluated: list[float] = []
        self.guided = False
        self._answers = answers

    def __call__(self, x: torch.Tensor, sigma: torch.Tensor, model_options: Mapping[str, Any], **_: Any) -> torch.Tensor:
        if len(self.evaluated) > _MOST_EVALUATIONS * len(self.sigmas):
            raise RuntimeError("it does not end")
        self.evaluated.append(float(sigma.flatten()[0]))
        answer = x - sigma.reshape(-1, 1, 1, 1) * next(self._answers)
        for function in model_options.get("sampler_post_cfg_function", ()):  # Samplers of the CFG++ kind look at the negative's answer.
            self.guided = True
            given = {"denoised": answer, "cond_denoised": answer, "uncond_denoised": answer, "sigma": sigma, "input": x}
            answer = function({**given, "model": None, "cond_scale": 1.0, "model_options": model_options})
        return answer

    def stepped(self, *_: Any) -> None:
        self.evaluated.append(-1.0)


def _dry_run(
    function: Callable[..., torch.Tensor],
    options: Mapping[str, Any],
    guider: Any,
    sigmas: torch.Tensor,
    answers: Iterator[float | torch.Tensor],
    seeds: Sequence[int] = (0,),
) -> _DryRun:
    """Run a sampler on a batch with one number, and noise of its own seed, for each of `seeds`; other random numbers have the last seed.

    Raises what the sampler raises, and ValueError if it does not return its batch.
    """
    model, start = _StandIn(guider, sigmas, answers), torch.full((len(seeds), 1, 1, 1), _START)
    numbers = {seed: random.Random(seed) for seed in seeds}

    def noise(*_: Any, **__: Any) -> torch.Tensor:
        drawn = {seed: each.gauss(0, 1) for seed, each in numbers.items()}
        return torch.tensor([drawn[seed] for seed in seeds]).reshape(-1, 1, 1, 1)

    parameter = signature(function).parameters.get("noise_sampler")
    if parameter and parameter.default is None:
        options = {"noise_sampler": noise, **options}  # Also quicker than Brownian noise.
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):  # A run's own random numbers stay as they are.
        torch.manual_seed(seeds[-1])
        extra = {"model_options": {"transformer_options": {}}, "seed": seeds[-1], "denoise_mask": None}
        own = sigmas.clone()  # UniPC writes into its sigmas.
        end = function(model, start, own, extra_args=extra, callback=model.stepped, disable=True, **options)
    if end.numel() != len(seeds):
        raise ValueError(f"it returned a batch of shape {tuple(end.shape)} for one of {len(seeds)} numbers")
    return _DryRun(end.flatten().tolist(), model.evaluated, model.guided)


def _answers() -> Iterator[float]:
    """The same random numbers for every dry run."""
    numbers = random.Random(0)
    while True:
        yield numbers.uniform(-1, 1)


def _same(evaluated: Sequence[float], wanted: Sequence[float]) -> bool:
    """Whether a dry run evaluated at these sigmas and reported in between."""
    return len(evaluated) == len(wanted) and all(map(same_sigma, evaluated, wanted))


def _close(one: float, other: float) -> bool:
    return abs(one - other) <= _TOLERANCE * max(1.0, abs(one), abs(other))


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float | str)
