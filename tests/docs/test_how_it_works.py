"""docs/how_it_works.md: its example is what the library gives, its formulas are what brute force gives, its constants are the code's."""

from __future__ import annotations

import importlib
import itertools
import re
from dataclasses import replace
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from magcache import MagnitudeCurve, ThresholdSettings, plan_budget, plan_by_threshold, predicted_error, published_rule
from magcache.curves.products import compose, expected_products, resample
from magcache.curves.propagation import CONTRACTING, GROWING, Propagation
from magcache.curves.ratio_lists import flow_sigmas
from magcache.curves.shipped import known_curves, load_curve
from magcache.planning.fewer_steps import CLEARLY_BETTER, SHORT_RUN
from magcache.planning.reuse_errors import Gaps, Reuses, gaps, reuses
from magcache.planning.search import best_steps

from .snippets import DOCS, run

TEXT = (DOCS / "how_it_works.md").read_text(encoding="utf-8")
SIGMAS = np.array([1.0, 0.93, 0.85, 0.74, 0.6, 0.47, 0.31, 0.2, 0.08])
STRIDES = np.diff([*SIGMAS, 0.0])
RNG = np.random.default_rng(0)
ROUGH = np.cumsum(RNG.normal(size=(len(SIGMAS), 30)), axis=0) + 4
"""Residuals that wander, one row a step."""
G = ROUGH @ ROUGH.T
PAIRS = [(p, q) for p, q in itertools.combinations(range(len(SIGMAS)), 2) if q - p <= 7]
TRIPLES = [(p, q, t) for p, q in PAIRS for t in range(q + 1, len(SIGMAS)) if t - q <= 7]
INFLUENCE = STRIDES * RNG.uniform(0.5, 1.5, len(SIGMAS))
"""That of some other sampler than Euler."""


def at(p: int, q: int, t: int) -> tuple[int, int]:
    """Place in `options_of` of the reuse at step t after the pair p, q."""
    return PAIRS.index((p, q)), t - q - 1


def options_of(way: Any) -> Reuses:
    before, last = np.array(PAIRS).T
    return reuses(G, SIGMAS, before, last, 6, way)


def gaps_of(propagation: Propagation, correct: bool = False, influence: np.ndarray = STRIDES) -> Gaps:
    return gaps(G, SIGMAS, options_of("extrapolate"), influence, propagation, np.full(len(SIGMAS), correct))


@pytest.fixture(scope="module")
def example() -> dict[str, Any]:
    """What is defined at the end of the document, after all that it prints was compared."""
    return run("how_it_works.md")


@cache
def reuse_by_hand(way: str, p: int, q: int, t: int) -> np.ndarray:
    """r̂_t, from the residuals themselves."""
    newest, older, wanted = ROUGH[q], ROUGH[p], ROUGH[t]
    if way == "hold":
        return newest
    if way == "scale":
        return newest * np.clip(newest @ wanted / (newest @ newest), 0.5, 2)
    rho = (SIGMAS[t] - SIGMAS[q]) / (SIGMAS[q] - SIGMAS[p])
    tried = newest + np.linspace(0, 1, 4_001)[:, None] * rho * (newest - older)
    return tried[((tried - wanted) ** 2).sum(axis=1).argmin()]


# The example


def test_the_example_is_what_the_library_gives(example: dict[str, Any]):
    assert example["plan"].nfe == 5


def test_the_plan_of_the_example_is_the_best_of_all(example: dict[str, Any]):
    residuals, sigmas, strides = example["residuals"], example["sigmas"], np.diff((*example["sigmas"], 0.0))

    def drift_left(plan: Any) -> float:
        """Weighted squared drift, from the residuals themselves."""
        cost, drift, last = 0.0, np.zeros(3), 0
        for step in range(8):
            if plan.reused[step]:
                drift = drift + strides[step] * (sum(w * residuals[s] for s, w in plan.recipe(step)) - residuals[step])
                continue
            if correction := plan.correction(step):
                expected = sum(w * residuals[s] for s, w in correction.expected)
                drift = drift + strides[step] * correction.gain * (residuals[step] - expected)
            cost, drift, last = cost + 4 ** (1 - last / 7) * drift @ drift, np.zeros(3), step
        return cost

    plan = example["plan"]
    assert 1000 * drift_left(plan) == pytest.approx(0.137, abs=5e-4)
    assert 1000 * drift_left(plan_budget(example["curve"], sigmas, nfe=5)) == pytest.approx(1.848, abs=5e-4)
    others = [
        plan_budget(replace(example["curve"], vetoes=tuple(sigmas[step] for step in kept)), sigmas, nfe=5, influence=example["M"])
        for kept in ((3,), (4,), (6,))
    ]
    assert all(drift_left(other) > drift_left(plan) for other in others)


def test_what_is_worked_out_by_hand(example: dict[str, Any]):
    r, sigmas = example["residuals"], example["sigmas"]
    kappa = (r[3] - r[2]) @ (r[2] - r[1]) / ((r[2] - r[1]) @ (r[2] - r[1]))
    reused = (1 + kappa) * r[2] - kappa * r[1]
    drift = (sigmas[7] - sigmas[6]) * (r[5] - r[6])
    error, stride = r[5] - r[7], -sigmas[7]
    gain = drift @ error / (stride * error @ error)
    left = drift - 0.75 * gain * stride * error
    for said in (
        f"= {kappa:.4f}",
        f"r̂_3 = {1 + kappa:.4f} r_2 − {kappa:.4f} r_1 = (2, {reused[1]:.4f}, {reused[2]:.4f}) where "
        f"r_3 = (2, {r[3][1]:.2f}, {r[3][2]:.3f})",
        f"⟨E, e_7⟩ / (M_7 |e_7|²) = −{-drift @ error:.5f} / (−0.1 · {error @ error:.4f}) = {gain:.4f}",
        f"three quarters of that are {0.75 * gain:.3f}",
        f"E = (0, −{-drift[1]:.4f}, −{-drift[2]:.4f})",
        f"(0, −{-left[1]:.4f}, −{-left[2]:.4f}), has the length {np.linalg.norm(left):.4f} instead of {np.linalg.norm(drift):.4f}",
    ):
        assert said in re.sub(r"\s+", " ", TEXT), said


# Section 2


def test_the_published_rule_is_the_one_that_is_described():
    ratios = (1.0, *RNG.uniform(0.9, 1.1, 29))
    for threshold, max_skip, start in ((0.06, 2, 6), (0.12, 4, 3), (0.24, 6, 1)):
        reused, product, total, m = [], 1.0, 0.0, 0
        for step, ratio in enumerate(ratios):
            product, m = product * ratio, m + 1
            total += abs(1 - product)
            if step >= start and m <= max_skip and total <= threshold:
                reused.append(step)
            else:
                product, total, m = 1.0, 0.0, 0
        assert published_rule(ratios, threshold=threshold, max_skip=max_skip, start=start) == tuple(reused) != ()


def test_a_ratio_between_any_two_sigmas_follows_from_the_cumulative_logarithm():
    measured = (1.0, *RNG.uniform(0.9, 1.1, len(SIGMAS) - 1))
    curve = MagnitudeCurve(name="mine", family="mine", sigmas=tuple(SIGMAS), ratios={"cond": measured})
    wanted = [1.2, 0.9, 0.66, 0.3, 0.15, 0.08, 0.05]
    levels, log = np.cumsum(np.log(measured)), []
    for sigma in wanted:
        below = levels[-1] + (levels[-1] - levels[-2]) / (SIGMAS[-2] - SIGMAS[-1]) * (SIGMAS[-1] - sigma)
        log.append(below if sigma < SIGMAS[-1] else np.interp(-sigma, -SIGMAS, levels))
    np.testing.assert_allclose(curve.ratios_at(wanted, "cond")[1:], np.exp(np.diff(log)), rtol=1e-9)
    assert curve.ratios_at(tuple(SIGMAS), "cond") == measured


def test_every_branch_has_its_own_sum_and_all_must_allow_a_skip():
    steady, jumpy = (1.0,) * 9, (1.0, 1.0, 1.0, 1.2, 1.0, 1.0, 1.0, 1.0, 1.0)
    curve = MagnitudeCurve(name="mine", family="mine", sigmas=tuple(SIGMAS), ratios={"cond": steady, "uncond": jumpy})
    plan = plan_by_threshold(curve, SIGMAS, ThresholdSettings(threshold=0.1, max_skip=9, retention=0.0))
    assert plan.computed == (0, 3)


def test_the_flow_schedule():
    np.testing.assert_allclose(flow_sigmas(4, 3.0), [3 * t / (1 + 2 * t) for t in (1, 0.75, 0.5, 0.25)])


# Sections 3 and 4


@pytest.mark.parametrize("way", ["hold", "scale", "extrapolate"])
def test_errors_of_reuse_follow_from_inner_products(way: Any):
    options = options_of(way)
    for p, q, t in TRIPLES:
        place, reused = at(p, q, t), reuse_by_hand(way, p, q, t)
        b, a = options.newest[place], options.older[place]
        np.testing.assert_allclose(b * ROUGH[q] + a * ROUGH[p], reused, atol=1e-2)
        by_formula = a**2 * G[p, p] + b**2 * G[q, q] + G[t, t] + 2 * (a * b * G[p, q] - a * G[p, t] - b * G[q, t])
        assert options.error[place] == pytest.approx(by_formula / G[t, t])
        assert options.error[place] == pytest.approx(((reused - ROUGH[t]) ** 2).sum() / G[t, t], rel=1e-4)


def test_the_damping_is_the_projection_of_the_true_change_on_the_extrapolated_one():
    options, seen = options_of("extrapolate"), set()
    for p, q, t in TRIPLES:
        rho = (SIGMAS[t] - SIGMAS[q]) / (SIGMAS[q] - SIGMAS[p])
        free = (G[t, q] - G[t, p] - G[q, q] + G[q, p]) / (rho * (G[q, q] - 2 * G[q, p] + G[p, p]))
        kappa = -options.older[at(p, q, t)] / rho
        assert kappa == pytest.approx(min(max(free, 0.0), 1.0), abs=1e-9)
        seen.add(0 if free < 0 else 1 if free <= 1 else 2)
    assert {0, 1} <= seen


def test_guidance_composes_residuals():
    cond, uncond = RNG.normal(size=(2, 5, 20))
    s, guided = 3.5, uncond + 3.5 * (cond - uncond)
    cc, cu, uu = cond @ cond.T, cond @ uncond.T, uncond @ uncond.T
    by_formula = s**2 * cc + (1 - s) ** 2 * uu + s * (1 - s) * (cu + cu.T)
    np.testing.assert_allclose(by_formula, guided @ guided.T)
    np.testing.assert_allclose(compose({("cond", "cond"): cc, ("cond", "uncond"): cu, ("uncond", "uncond"): uu}, s), by_formula)


def lagrange(sigma: float, nodes: list[int]) -> np.ndarray:
    row = np.zeros(len(SIGMAS))
    for n in nodes:
        row[n] = np.prod([(sigma - SIGMAS[m]) / (SIGMAS[n] - SIGMAS[m]) for m in nodes if m != n])
    return row


def test_other_sigmas_get_a_cubic_through_four_neighbours_and_a_variance():
    wanted, nodes = [0.8, 0.5, 0.4], [[1, 2, 3, 4], [3, 4, 5, 6], [4, 5, 6, 7]]
    cubics = np.array([lagrange(sigma, group) for sigma, group in zip(wanted, nodes, strict=True)])
    plain = (cubics @ ROUGH) @ (cubics @ ROUGH).T
    found = resample(G, list(SIGMAS), wanted)
    np.testing.assert_allclose(found - np.diag(np.diag(found)), plain - np.diag(np.diag(plain)), atol=1e-9)

    def roughness(n: int) -> float:
        """ε_n: the squared distance of a residual from the cubic through the others."""
        others = sorted([m for m in range(len(SIGMAS)) if m != n], key=lambda m: (abs(m - n), m))[:4]
        return float(((lagrange(SIGMAS[n], sorted(others)) @ ROUGH - ROUGH[n]) ** 2).sum())

    for place, (sigma, before) in enumerate(zip(wanted, (2, 4, 5), strict=True)):
        w = (SIGMAS[before] - sigma) / (SIGMAS[before] - SIGMAS[before + 1])
        variance = 0.5 * max(roughness(before), roughness(before + 1)) * 4 * w * (1 - w)
        assert found[place, place] - plain[place, place] == pytest.approx(variance)


def test_magnitudes_alone_get_assumed_directions():
    sizes = RNG.uniform(0.5, 2, len(SIGMAS))
    position = 0.75 * np.arcsin(2 * SIGMAS - 1)
    by_formula = 0.995 * np.outer(sizes, sizes) * np.exp(-0.5 * (position[:, None] - position) ** 2)
    np.fill_diagonal(by_formula, sizes**2)
    np.testing.assert_allclose(expected_products(list(sizes), list(SIGMAS)), by_formula)


# Sections 5 and 6


def gap_by_hand(p: int, q: int, n: int, influence: np.ndarray = STRIDES) -> tuple[np.ndarray, np.ndarray]:
    """E after the reused steps between q and n, and e_n."""
    drift = np.zeros(ROUGH.shape[1])
    for step in range(q + 1, n):
        drift = drift + influence[step] * (reuse_by_hand("extrapolate", p, q, step) - ROUGH[step])
    return drift, reuse_by_hand("extrapolate", p, q, n) - ROUGH[n]


EVERY_GAP = [(p, q, n) for p, q, n in TRIPLES if n - q > 1]


def test_the_drift_grows_by_the_recursion():
    for p, q, n in EVERY_GAP:
        square = 0.0
        for m in range(q + 1, n):
            before, e = gap_by_hand(p, q, m, INFLUENCE)
            square = square + 2 * INFLUENCE[m] * (before @ e) + INFLUENCE[m] ** 2 * (e @ e)
        drift, _ = gap_by_hand(p, q, n, INFLUENCE)
        assert square == pytest.approx(drift @ drift)


@pytest.mark.parametrize(
    "propagation",
    [CONTRACTING, GROWING, Propagation(growth=2.0, shape=1.5, stride=0.5, coherence=0.3)],
    ids=lambda each: f"c{each.coherence}",
)
def test_the_cost_of_a_gap_is_what_the_formula_says(propagation: Propagation):
    steps, c = len(SIGMAS), propagation.coherence
    weight = 10 ** (propagation.growth * (1 - np.arange(steps) / (steps - 1)) ** propagation.shape)
    costs = gaps_of(propagation, influence=INFLUENCE).costs
    for p, q, n in EVERY_GAP:
        drift, _ = gap_by_hand(p, q, n, INFLUENCE)
        apart = 0.0
        for t in range(q + 1, n):
            e = reuse_by_hand("extrapolate", p, q, t) - ROUGH[t]
            apart += weight[t] * (INFLUENCE[t] * abs(STRIDES[t]) ** (propagation.stride - 1)) ** 2 * (e @ e)
        assert costs[at(p, q, n)] == pytest.approx(c * weight[q] * drift @ drift + (1 - c) * apart, rel=1e-3)


def test_the_two_propagations_are_those_of_the_table():
    assert replace(CONTRACTING, growth=round(CONTRACTING.growth, 3)) == Propagation(growth=0.602, shape=1, stride=1, coherence=1)
    assert Propagation(growth=3.75, shape=3, stride=0, coherence=0) == GROWING
    assert round(10**3.75) == 5623
    curves = {name: load_curve(name).propagation for name in known_curves()}
    row = next(line for line in TEXT.splitlines() if line.startswith("| `published plans` |"))
    assert {name for name, each in curves.items() if each.source == "published plans"} <= set(re.findall(r"`([\w.]+)`", row))
    assert {each.source for each in curves.values()} == {"published plans", "assumed"}
    assert (curves["flux"].growth, curves["flux"].shape) == (3, 2.25)
    assert all(replace(each, source="assumed") == GROWING for name, each in curves.items() if name != "flux")


def test_the_predicted_error_is_the_root_of_the_cost_over_that_of_dropping_every_residual(example: dict[str, Any]):
    residuals, curve, sigmas = example["residuals"], example["growing"], example["sigmas"]
    plan, weights = plan_budget(curve, sigmas, nfe=5, influence=example["M"]), 10 ** (3.75 * (1 - np.arange(8) / 7) ** 3)
    missed = [sum(w * residuals[s] for s, w in plan.recipe(t)) - residuals[t] if plan.reused[t] else np.zeros(3) for t in range(8)]
    cost, dropped = (sum(w * e @ e for w, e in zip(weights, rows, strict=True)) for rows in (missed, residuals))
    assert predicted_error(curve, sigmas, plan.computed, influence=example["M"]) == pytest.approx((cost / dropped) ** 0.5)


@pytest.mark.parametrize("influence", [STRIDES, INFLUENCE], ids=["euler", "other"])
def test_the_gain_has_the_sign_and_the_size_that_leave_the_least_drift(influence: np.ndarray):
    """The best gain is looked for among many, by where the run ends after the computed step."""
    unlimited = 0
    found = gaps_of(Propagation(growth=0, shape=1, stride=1, coherence=1), correct=True, influence=influence)
    tried = np.linspace(-3, 3, 12_001)
    for p, q, n in EVERY_GAP:
        drift, e = gap_by_hand(p, q, n, influence)
        # The step uses r + gain · (r − r̂) instead of r, and so leaves E + M · gain · (r − r̂).
        left = (drift @ drift) + 2 * tried * influence[n] * (drift @ -e) + (tried * influence[n]) ** 2 * (e @ e)
        best = drift @ e / (influence[n] * (e @ e))
        if abs(best) < 3:
            assert tried[left.argmin()] == pytest.approx(best, abs=1e-3)
            cosine = (drift @ e) ** 2 / ((drift @ drift) * (e @ e))
            assert left.min() == pytest.approx((drift @ drift) * (1 - cosine), rel=1e-4, abs=1e-9)
        gain = 0.75 * min(max(best, 0.0), 2.0)
        assert found.gains[at(p, q, n)] == pytest.approx(gain, rel=5e-3, abs=1e-4)
        remaining = drift - gain * influence[n] * e
        assert found.costs[at(p, q, n)] == pytest.approx(remaining @ remaining, rel=5e-3)
        if 0 < best < 2:
            unlimited += 1
            assert remaining @ remaining == pytest.approx((drift @ drift) * (1 - 0.9375 * cosine), rel=1e-6)
    assert unlimited, "a gap whose best gain is neither 0 nor cut off"
    growing = gaps_of(GROWING, correct=True, influence=influence)
    np.testing.assert_array_equal(growing.gains, found.gains)
    np.testing.assert_array_equal(growing.costs, gaps_of(GROWING, influence=influence).costs)


def test_an_extrapolation_is_never_predicted_to_be_worse_than_holding():
    held, carried = (options_of(way).error for way in ("hold", "extrapolate"))
    assert (carried <= held + 1e-12).all()


# Section 7


@pytest.mark.parametrize("count", range(4, 10))
def test_no_plan_within_the_rules_costs_less(count: int):
    steps, table = len(SIGMAS), gaps_of(CONTRACTING).costs
    costs = {}
    for middle in itertools.combinations(range(3, steps - 1), count - 4):
        computed = (0, 1, 2, *middle, steps - 1)
        if all(n - q <= 7 for q, n in itertools.pairwise(computed)):
            costs[computed] = sum(table[at(p, q, n)] for p, q, n in zip(computed, computed[1:], computed[2:], strict=False))
    given = np.full((7, steps, 7), np.inf)  # [distance − 1, last, reused steps]
    for p, q in PAIRS:
        given[q - p - 1, q] = table[PAIRS.index((p, q))]
    cost, computed = best_steps(given, 3, np.ones(steps, bool), steps)[count]
    assert cost == pytest.approx(min(costs.values())) and costs[tuple(computed)] == pytest.approx(cost)


# The text


def test_the_constants_are_those_of_the_code():
    rows = re.findall(r"^\| `([\w.]+)` \| ([\d.]+) \| `magcache/([\w/]+)\.py` \|", TEXT, re.MULTILINE)
    assert len(rows) > 10
    for name, value, path in rows:
        assert attrgetter(name)(importlib.import_module(f"magcache.{path.replace('/', '.')}")) == float(value), name


def test_a_short_run_is_skipped_up_to_the_limit_that_is_said():
    assert f"≤ {CLEARLY_BETTER} · predicted error of plain sampling" in TEXT and f"runs of fewer than {SHORT_RUN} steps" in TEXT


def test_every_section_that_a_docstring_points_to_is_there():
    sections = {int(number) for number in re.findall(r"^## (\d+)\. ", TEXT, re.MULTILINE)}
    assert sections == set(range(1, 10))
    for path in (Path(__file__).parents[2] / "magcache").rglob("*.py"):
        for first, last in re.findall(r"how_it_works\.md, sections? (\d+)(?: (?:to|and) (\d+))?", path.read_text(encoding="utf-8")):
            assert {int(first), int(last or first)} <= sections, path


def test_the_figure_shows_the_example(example: dict[str, Any], tmp_path: Path):
    pytest.importorskip("matplotlib")
    from tools import draw_how_it_works as tool

    assert tool.example() == example["curve"]
    plain, corrected = (tool.drifts(example["plan"], kind) for kind in (False, True))
    assert [steps for steps, _ in plain] == [range(2, 6), range(5, 8)]
    assert [f"{sizes[-1]:.4f}" for _, sizes in (*plain, *corrected)] == ["0.0105", "0.0323", "0.0026", "0.0089"]
    tool.draw(tmp_path / "figure.svg")
    labels = [sorted(re.findall(r">([^<>]+)</text>", path.read_text(encoding="utf-8"))) for path in (tmp_path / "figure.svg", tool.FILE)]
    assert labels[0] == labels[1], "run `python -m tools.draw_how_it_works`"
