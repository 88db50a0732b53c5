"""Plans that are searched on the true error of the finished picture: the strongest published kind of plan, and the dearest to make.

As in BudCache (M. Lei et al., ICML 2026, arXiv 2606.13496; github.com/Westlake-AGI-Lab/BudCache at 14ba4c5, stage 1) the number of computed
steps is fixed, the last residual is held between them, both branches follow one plan, and what is made small is the squared error of the
final latents of one prompt. BudCache anneals from a random plan, then descends to the best neighbour, and spends a quarter of the
evaluations on the first steps. Here the best of some simple plans descends to the first better neighbour, no plan is tried twice, and only
the first step must be computed. Annealing in half of the trials was tried on the image: it found no better plan.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from benchmarks.small.cases import Case
from benchmarks.small.loop import CacheRun, CacheSetting, PlannedStack, copy_modules, encode_branches, euler_step
from benchmarks.small.models import SmallModel

Plan = tuple[int, ...]
"""The computed steps, ascending. The first is 0."""

TRIALS = 200
"""Plans that a search tries."""
REACH = 3
"""Moves of a computed step by this distance or less are tried before longer ones."""
STARTS = (1.0, 1.5, 2.0, 3.0)
"""The i-th evaluation of a start is at a step that grows with one of these powers of i: from even steps to dense first ones."""
REMEMBERED = 12
"""Trials whose states are kept."""


@dataclass(frozen=True, slots=True)
class Found:
    """The result of a search."""

    plan: Plan
    error: float
    start_error: float
    """The error of the best start."""
    trials: int


def search_plan(error: Callable[[Plan], float], steps: int, nfe: int, trials: int = TRIALS, seed: int = 0) -> Found:
    """A plan of `steps` steps with `nfe` evaluations and a small `error`. Asks for the error of `trials` plans at most."""
    random = np.random.default_rng(seed)
    tried = {plan: error(plan) for plan in dict.fromkeys(start_plan(steps, nfe, power) for power in STARTS)}
    best = min(tried, key=tried.__getitem__)
    start_error = tried[best]

    def neighbours() -> list[Plan]:
        """Untried plans, near ones first."""
        plans = [plan for plan in _moves(best, steps) if plan not in tried]
        random.shuffle(plans)
        return sorted(plans, key=lambda plan: _distance(plan, best) > REACH)

    plans = neighbours()
    while plans and len(tried) < trials:
        plan = plans.pop(0)
        tried[plan] = error(plan)
        if tried[plan] < tried[best]:
            best = plan
            plans = neighbours()
    return Found(best, tried[best], start_error, len(tried))


def start_plan(steps: int, nfe: int, power: float) -> Plan:
    """`nfe` steps from the first to the last, as `STARTS` says. No step is named twice."""
    plan = [0]
    for index in range(1, nfe):
        spread = math.floor((steps - 1) * (index / (nfe - 1)) ** power + 0.5)
        plan.append(min(max(spread, plan[-1] + 1), steps - nfe + index))
    return tuple(plan)


def _moves(plan: Plan, steps: int) -> list[Plan]:
    """The plans that compute one other step in place of one of these. The first step stays."""
    free = sorted(set(range(steps)) - set(plan))
    return [tuple(sorted({*plan, new} - {old})) for old in plan[1:] for new in free]


def _distance(plan: Plan, other: Plan) -> int:
    """How far the step has moved in which the plans differ."""
    return abs(sum(plan) - sum(other))


class Hold:
    """Plain reuse: what the blocks added at the last computed step is added again."""

    def __init__(self) -> None:
        self.residual: torch.Tensor | None = None

    def learn(self, step: int, before: torch.Tensor, after: torch.Tensor) -> None:
        self.residual = after - before

    def replace(self, step: int, before: torch.Tensor) -> torch.Tensor:
        assert self.residual is not None, "A plan computes its first step."
        return before + self.residual


def held(plan: Plan, label: str) -> CacheSetting:
    """The plan with plain reuse."""

    def attach(model: nn.Module, run: CacheRun) -> None:
        PlannedStack(model, frozenset(plan), [Hold() for _ in range(run.branches)])

    return CacheSetting(label, attach)


_State = tuple[torch.Tensor, list[torch.Tensor | None]]
"""The latents before a step, and the residual that each branch holds."""


class Trials:
    """Runs of one case by plans. A run that begins like one of the last is continued from the step at which they part."""

    def __init__(self, small: SmallModel, model: nn.Module, sigmas: torch.Tensor, case: Case, guidance: float) -> None:
        self.steps = len(sigmas) - 1
        self.evaluations = 0
        """Steps that were computed so far, those of the run in full among them."""
        self._small, self._sigmas, self._guidance = small, sigmas, guidance
        self._branches = encode_branches(small, case.prompt, guidance)
        self._model = copy_modules(model)
        self._holds = [Hold() for _ in self._branches]
        self._stack = PlannedStack(self._model, (), self._holds)
        everything = tuple(range(self.steps))
        self._states: OrderedDict[Plan, list[_State]] = OrderedDict({everything: [(case.noise, [None for _ in self._branches])]})
        """The states before each step of the last runs."""
        self._reference = self.run(everything)

    def error(self, plan: Plan) -> float:
        """The mean squared error of the final latents to those of the run in full."""
        return float((self.run(plan) - self._reference).square().mean())

    @torch.no_grad()
    def run(self, plan: Plan) -> torch.Tensor:
        """The final latents of a run by the plan."""
        like = max(self._states, key=lambda other: self._shared_steps(plan, other))
        self._states.move_to_end(like)
        *states, (latents, residuals) = self._states[like][: self._shared_steps(plan, like) + 1]
        for hold, residual in zip(self._holds, residuals, strict=True):
            hold.residual = residual
        self._stack.computed = frozenset(plan)
        for step in range(len(states), self.steps):
            states.append((latents, [hold.residual for hold in self._holds]))
            self._stack.forwards = step * len(self._holds)
            latents = euler_step(self._small, self._model, self._branches, latents, self._sigmas, step, self._guidance)
            self.evaluations += step in self._stack.computed
        self._states[plan] = states
        if len(self._states) > REMEMBERED:
            self._states.popitem(last=False)
        return latents

    def _shared_steps(self, plan: Plan, other: Plan) -> int:
        """The number of first steps that are the same in both plans."""
        return min(set(plan) ^ set(other), default=self.steps)


def searched(small: SmallModel, model: nn.Module, sigmas: torch.Tensor, case: Case, guidance: float, nfe: int) -> CacheSetting:
    """Plain reuse by the plan that was searched for this number of evaluations on `case`. The label says what the search has cost."""
    trials = Trials(small, model, sigmas, case, guidance)
    found = search_plan(trials.error, trials.steps, nfe)
    return held(found.plan, f"{nfe} evaluations, {found.trials} trials of {trials.evaluations} evaluations together")
