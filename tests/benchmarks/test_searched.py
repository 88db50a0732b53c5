"""The search of plans: it keeps its budget, never loses, and its trials are real runs."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.small.cases import Case
from benchmarks.small.loop import sample
from benchmarks.small.models import IMAGE
from benchmarks.small.searched import REMEMBERED, STARTS, Hold, Plan, Trials, held, search_plan, searched, start_plan

STEPS, GUIDANCE = 7, 2.5
SIGMAS = torch.linspace(1, 0, STEPS + 1)


def arbitrary(plan: Plan) -> float:
    """An error without any order."""
    return float(np.random.default_rng(plan).uniform(0.1, 1))


def late(plan: Plan) -> float:
    """Gaps cost more the later they are."""
    return sum((after - before - 1) ** 2 * (1 + after / 5) for before, after in pairwise((*plan, 20))) + 0.1


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("trials", [2, 20, 120])
def test_never_worse_than_its_start_and_within_its_budget(seed: int, trials: int):
    asked: list[Plan] = []

    def error(plan: Plan) -> float:
        asked.append(plan)
        return arbitrary(plan)

    found = search_plan(error, 20, 8, trials, seed)
    assert found.error == min(map(arbitrary, asked)) == arbitrary(found.plan)
    assert found.error <= found.start_error == min(arbitrary(start_plan(20, 8, power)) for power in STARTS)
    assert found.trials == len(asked) == len(set(asked)) == max(trials, len(STARTS))
    for plan in asked:
        assert len(plan) == 8
        assert plan[0] == 0
        assert plan == tuple(sorted(set(plan)))
        assert plan[-1] < 20


def test_finds_a_plan_that_no_move_makes_better():
    found = search_plan(late, 20, 6, trials=2000)
    free = set(range(20)) - set(found.plan)
    moved = [tuple(sorted({*found.plan, new} - {old})) for old in found.plan[1:] for new in free]
    assert found.error < found.start_error
    assert found.error <= min(map(late, moved))


def test_the_seed_alone_decides_what_is_tried():
    asked: list[list[Plan]] = []
    for seed in (3, 3, 4):
        plans: list[Plan] = []

        def error(plan: Plan, plans: list[Plan] = plans) -> float:
            plans.append(plan)
            return arbitrary(plan)

        search_plan(error, 20, 8, 60, seed)
        asked.append(plans)
    assert asked[0] == asked[1]
    assert asked[0] != asked[2]


@pytest.mark.parametrize("power", STARTS)
@pytest.mark.parametrize(("steps", "nfe"), [(28, 14), (28, 11), (30, 10), (9, 8), (8, 8), (5, 2), (5, 1)])
def test_starts_are_plans(steps: int, nfe: int, power: float):
    plan = start_plan(steps, nfe, power)
    assert plan == tuple(sorted(set(plan)))
    assert len(plan) == nfe
    assert plan[0] == 0
    assert plan[-1] == (steps - 1 if nfe > 1 else 0)


def test_starts_are_even_and_dense_at_first():
    assert start_plan(28, 10, 1) == (0, 3, 6, 9, 12, 15, 18, 21, 24, 27)
    assert start_plan(28, 10, 3) == (0, 1, 2, 3, 4, 5, 8, 13, 19, 27)


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    return IMAGE.build(2)


@pytest.fixture(scope="module")
def case() -> Case:
    return Case(IMAGE.prompts()[0], torch.randn(1, 16, 8, 8, generator=torch.Generator().manual_seed(1)))


def run_held(model: nn.Module, case: Case, plan: Plan) -> torch.Tensor:
    outcome = sample(IMAGE, model, SIGMAS, case.noise, case.prompt, GUIDANCE, held(plan, ""))
    assert outcome.nfe == len(plan)
    return outcome.latents


def test_a_trial_is_a_run(model: nn.Module, case: Case):
    """Also if it goes on from another trial's state, of which some are forgotten here."""
    trials, full = Trials(IMAGE, model, SIGMAS, case, GUIDANCE), sample(IMAGE, model, SIGMAS, case.noise, case.prompt, GUIDANCE)
    assert torch.equal(trials.run(tuple(range(STEPS))), full.latents)
    random, naive = np.random.default_rng(0), 0
    for _ in range(REMEMBERED + 5):
        plan = (0, *sorted(random.choice(np.arange(1, STEPS), 3, replace=False).tolist()))
        latents = run_held(model, case, plan)
        assert torch.equal(trials.run(plan), latents)
        assert trials.error(plan) == float((latents - full.latents).square().mean())
        naive += 2 * len(plan)
    assert trials.evaluations < naive
    assert trials.error(tuple(range(STEPS))) == 0


def test_plain_reuse_holds_the_last_residual():
    hold, tokens = Hold(), torch.randn(3, 1, 6, 4, generator=torch.Generator().manual_seed(0))
    hold.learn(0, tokens[0], tokens[1])
    hold.learn(2, tokens[1], tokens[2])
    for step in (3, 4):
        assert torch.equal(hold.replace(step, tokens[0]), tokens[0] + (tokens[2] - tokens[1]))


def test_a_full_plan_is_sampling_in_full(model: nn.Module, case: Case):
    full = sample(IMAGE, model, SIGMAS, case.noise, case.prompt, GUIDANCE)
    assert torch.equal(run_held(model, case, tuple(range(STEPS))), full.latents)


def test_a_searched_setting_beats_the_even_plan_on_its_case(model: nn.Module, case: Case):
    setting = searched(IMAGE, model, SIGMAS, case, GUIDANCE, 3)
    outcome = sample(IMAGE, model, SIGMAS, case.noise, case.prompt, GUIDANCE, setting)
    full = sample(IMAGE, model, SIGMAS, case.noise, case.prompt, GUIDANCE).latents
    assert outcome.nfe == 3
    assert (outcome.latents - full).norm() <= (run_held(model, case, start_plan(STEPS, 3, 1)) - full).norm()
    assert setting.label.startswith("3 evaluations, ")
