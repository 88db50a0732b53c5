"""Public plans of real models: the file that holds them, and how our plans and predicted errors compare."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest

pytest.importorskip("scipy")

from benchmarks import plans
from benchmarks.plans import EARLIER, NOW, Planner, PublicPlan, public_plans

PUBLIC = public_plans()


@pytest.fixture(scope="module")
def ranked() -> dict[str, float]:
    return plans.ranking(PUBLIC, NOW)


# The file


def test_every_public_plan_is_a_plan():
    assert len(PUBLIC) > 100
    for plan in PUBLIC:
        assert plan.computed == tuple(sorted(set(plan.computed))) and plan.computed[0] == 0 and plan.computed[-1] < plan.steps
        assert plan.nfe == len(plan.computed) and plan.model and plan.how and plan.group
        assert plan.psnr is None or 5 < plan.psnr < 60


def test_the_file_says_where_each_plan_is_from():
    document = json.loads(plans.FILE.read_text(encoding="utf-8"))
    assert all(len(text) > 10 for text in document["sources"])
    assert {row["source"] for row in document["plans"]} == set(range(len(document["sources"])))


def test_no_public_plan_is_listed_twice():
    rows = json.loads(plans.FILE.read_text(encoding="utf-8"))["plans"]
    counts = Counter((row["model"], row["group"], row["name"], tuple(row["computed"])) for row in rows)
    assert [key for key, count in counts.items() if count > 1] == []


def test_the_groups_that_are_ranked_are_there():
    best = [plan for plan in PUBLIC if plan.group == plans.EXHAUSTIVE and "mean_top64" in plan.labels]
    random = [plan for plan in PUBLIC if plan.group == plans.EXHAUSTIVE and "random" in plan.labels]
    assert len(best) == 37 and len(random) == 64 and not {plan.computed for plan in best} & {plan.computed for plan in random}
    assert all(plan.model == "FLUX.1-dev" and plan.nfe == 9 and plan.computed[:3] == (0, 1, 2) for plan in best)
    ablation = [plan for plan in PUBLIC if plan.group == plans.ABLATION]
    assert len(ablation) == 8 and all(plan.psnr for plan in ablation)
    assert {plan.model for plan in PUBLIC} >= set(plans.CURVES)
    assert all(any(plan.how.startswith(kind) for plan in PUBLIC) for kind in plans.SETS)


# Distances


def public(computed: tuple[int, ...], how: str = "uniform") -> PublicPlan:
    return PublicPlan("FLUX.1-dev", plans.STEPS, computed, how, "test", (), None)


@pytest.mark.parametrize("nfe", [9, 21])
def test_a_plan_is_at_no_distance_from_itself(nfe: int):
    own = NOW.plan("FLUX.1-dev", nfe)
    assert own and len(own) == nfe
    assert plans.distances([public(own)], NOW) == {("FLUX.1-dev", nfe, "uniform"): 0}


def test_a_distance_is_the_mean_over_steps_and_plans():
    own = np.array(NOW.plan("FLUX.1-dev", 9))
    shifted = own.copy()
    shifted[4] += 1
    shifted[5] -= 2
    found = plans.distances([public(tuple(own.tolist())), public(tuple(shifted.tolist()))], NOW)
    assert found == {("FLUX.1-dev", 9, "uniform"): pytest.approx(3 / 9 / 2)}


def test_plans_of_other_runs_and_models_are_left_out():
    computed = NOW.plan("FLUX.1-dev", 9) or ()
    strangers = [
        PublicPlan("FLUX.1-dev", 28, computed, "uniform", "", (), None),
        PublicPlan("Other", 50, computed, "uniform", "", (), None),
    ]
    assert plans.distances([*strangers, public(computed, "guessed")], NOW) == {}


def test_the_planner_of_before_could_not_plan_long_gaps():
    assert EARLIER.plan("FLUX.1-dev", 7) is None and EARLIER.plan("FLUX.1-dev", 25) != NOW.plan("FLUX.1-dev", 25)
    assert plans.distances([public((0, 1, 2, 10, 20, 30, 49))], EARLIER) == {("FLUX.1-dev", 7, "uniform"): None}
    assert Planner(None).plan("FLUX.1-dev", 7)


@pytest.mark.parametrize("kind", ["searched on final PSNR", "searched on final LPIPS"])
def test_plans_lie_nearer_to_searched_ones_than_before(kind: str):
    some = [plan for plan in PUBLIC if plan.how.startswith(kind)]
    now, before = plans.distances(some, NOW), plans.distances(some, EARLIER)
    pairs = [(now[key], before[key]) for key in now if before[key] is not None]
    assert pairs and np.mean([one for one, _ in pairs]) < 2.5 < np.mean([other for _, other in pairs])


# Ranking


def test_public_plans_are_ranked_rightly(ranked: dict[str, float]):
    assert ranked["auc"] >= 0.99 and ranked["place"] <= 2500
    assert ranked["wan_spearman"] >= 0.95 and ranked["winners"] >= 0.9


def test_the_place_counts_from_1_among_all_plans():
    planner = Planner(NOW.curve("FLUX.1-dev").propagation)  # It computes no step because of a veto.
    assert plans.place_among_all(planner, [public(planner.plan("FLUX.1-dev", 9) or ())]) in (1, pytest.approx(2))
    assert plans.place_among_all(NOW, [public((0, 1, 2, 44, 45, 46, 47, 48, 49))]) > 1.3e6


def test_values_are_shown_short():
    assert [plans._shown(value) for value in (None, 0.123, 99.994, 1234.5)] == ["no plan", "0.12", "99.99", "1,234"]


def test_the_page_has_a_row_for_each_result():
    now = {"auc": 1.0, "place": 1234.0, "wan_spearman": 0.95, "winners": 0.9}
    row = {"model": "FLUX.1-dev", "nfe": 9, "kind": "uniform", "now": 0.5, "before": None}
    page = "\n".join(
        plans.lines({"distances": [row], "ranking": {"now": now, "before": now}, "plans": [{"model": "m", "nfe": 2, "computed": (0, 9)}]})
    )
    assert "| FLUX.1-dev | 9 | uniform | 0.50 | no plan |" in page and "| m | 2 | 0 9 |" in page and page.count("1,234") == 2
