"""Plans for a number of evaluations: what they protect, what they promise, and what they refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest

from magcache import MagnitudeCurve, known_curves, load_curve
from magcache.errors import InfeasibleError, SettingsError
from magcache.planning.budget import evaluations_for, plan_budget, plan_speedup
from magcache.planning.influence import euler_influence
from magcache.planning.prediction import best_reuse

SIGMAS = tuple(float(sigma) for sigma in np.linspace(1, 0.05, 20))
INFLUENCE = euler_influence(SIGMAS)


def measured(residuals: np.ndarray, sigmas: tuple[float, ...] = SIGMAS, **more: object) -> MagnitudeCurve:
    """A curve as a calibration makes it, of the given residuals."""
    products = tuple(tuple(row) for row in (residuals @ residuals.T).tolist())
    return MagnitudeCurve(
        name="mine", family="flux", sigmas=sigmas, ratios={"cond": (1.0,) * len(sigmas)}, products={("cond", "cond"): products}, **more
    )  # type: ignore[arg-type]


@pytest.fixture
def curve() -> MagnitudeCurve:
    return measured(np.cumsum(np.random.default_rng(0).normal(size=(20, 50)), axis=0) + 4)


@pytest.mark.parametrize("nfe", [8, 10, 14, 19])
def test_a_plan_has_as_many_evaluations_as_asked_for(curve: MagnitudeCurve, nfe: int):
    plan = plan_budget(curve, SIGMAS, nfe=nfe)
    assert plan.nfe == nfe and plan.decisions[:3] == ["compute"] * 3 and plan.decisions[-1] == "compute"
    assert all((error > 0) == reuse for error, reuse in zip(plan.errors, plan.reused, strict=True))
    for step, recipe in enumerate(plan.recipes):
        assert bool(recipe) == plan.reused[step]
        assert all(source < step and not plan.reused[source] for source, _ in recipe) and len(recipe) <= 2


def test_more_evaluations_never_have_more_error(curve: MagnitudeCurve):
    totals = [sum(error**2 for error in plan_budget(curve, SIGMAS, nfe=nfe).errors) for nfe in range(6, 20)]
    assert totals == sorted(totals, reverse=True)


def test_a_residual_on_a_line_in_sigma_costs_nothing_to_skip():
    start, slope = np.random.default_rng(1).normal(size=(2, 40))
    plan = plan_budget(measured(start + np.array(SIGMAS)[:, None] * slope), SIGMAS, nfe=6)
    assert max(plan.errors) < 1e-5


@pytest.mark.parametrize("nfe", [0, 1, 3])
def test_too_few_evaluations_are_refused_and_the_nearest_number_named(curve: MagnitudeCurve, nfe: int):
    with pytest.raises(InfeasibleError) as caught:
        plan_budget(curve, SIGMAS, nfe=nfe)
    assert f"nearest that can is {caught.value.nearest}" in str(caught.value)
    assert plan_budget(curve, SIGMAS, nfe=caught.value.nearest).nfe == caught.value.nearest


def test_a_speedup_beyond_reach_gets_the_nearest_plan(curve: MagnitudeCurve):
    assert plan_speedup(curve, SIGMAS[:6], 4.0).nfe == 4


@pytest.mark.parametrize("speedup", [0.5, 0.0, -2.0, math.nan, math.inf])
def test_an_impossible_speedup_is_refused(speedup: float):
    with pytest.raises(SettingsError, match=str(speedup)):
        evaluations_for(20, speedup)


@pytest.mark.parametrize(("steps", "speedup", "nfe"), [(28, 2.0, 14), (28, 2.7, 10), (20, 1.5, 13), (30, 3.0, 10), (4, 1.0, 4)])
def test_the_speedup_is_reached(steps: int, speedup: float, nfe: int):
    assert evaluations_for(steps, speedup) == nfe and steps / nfe >= speedup


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 4])
def test_runs_of_few_steps_are_computed_in_full(curve: MagnitudeCurve, steps: int):
    assert plan_speedup(curve, SIGMAS[:steps], 2.0).nfe == steps


@pytest.mark.parametrize("nfe", [-1, 0, 1])
def test_a_run_without_steps_has_an_empty_plan(curve: MagnitudeCurve, nfe: int):
    assert plan_budget(curve, (), nfe=nfe).reused == ()


@pytest.mark.parametrize("nfe", [19, 20, 21])
def test_a_closing_zero_and_a_repeated_sigma_count_as_no_step_of_a_budget(curve: MagnitudeCurve, nfe: int):
    plan = plan_budget(curve, (*SIGMAS[:5], *SIGMAS[4:], 0.0), nfe=nfe)
    assert sum(plan.reused) == max(0, 20 - nfe)
    assert plan_budget(curve, (*SIGMAS, 0.0), nfe=12) == plan_budget(curve, SIGMAS, nfe=12)


def test_a_run_of_more_steps_than_memory_allows_is_refused(curve: MagnitudeCurve):
    with pytest.raises(SettingsError, match="1001 steps; a speed-up can be planned for at most 1000"):
        plan_budget(curve, curve.sigmas_for(1001), nfe=500)


def test_steps_outside_the_window_and_at_vetoes_are_computed():
    curve = measured(np.cumsum(np.random.default_rng(0).normal(size=(20, 50)), axis=0) + 4, vetoes=(SIGMAS[9],))
    plan = plan_budget(curve, SIGMAS, nfe=15, window=(SIGMAS[4], SIGMAS[14]))
    assert not any(plan.reused[:4]) and not any(plan.reused[15:]) and not plan.reused[9]


def test_below_the_measured_sigmas_nothing_is_skipped(curve: MagnitudeCurve):
    finer = tuple(float(sigma) for sigma in np.linspace(1, 0.01, 40))
    plan = plan_budget(curve, finer, nfe=20)
    assert plan.nfe == 20 and not any(reuse for sigma, reuse in zip(finer, plan.reused, strict=True) if sigma < 0.0499)


def test_coverage_is_the_part_of_a_run_that_was_measured(curve: MagnitudeCurve):
    assert curve.coverage(SIGMAS) == 1 and curve.coverage(SIGMAS[5:]) == 1
    assert curve.coverage([1.2, 0.9, 0.5, 0.01]) == 0.5 and curve.coverage([]) == 0


def test_guidance_changes_the_plan_when_branches_differ():
    rng = np.random.default_rng(2)
    cond, uncond = np.cumsum(rng.normal(size=(2, 20, 50)), axis=1) + 4
    pairs = {("cond", "cond"): cond @ cond.T, ("cond", "uncond"): cond @ uncond.T, ("uncond", "uncond"): uncond @ uncond.T}
    curve = MagnitudeCurve(
        name="mine", family="flux", sigmas=SIGMAS, ratios={"cond": (1.0,) * 20},
        products={pair: tuple(map(tuple, matrix.tolist())) for pair, matrix in pairs.items()},
    )  # fmt: skip
    assert plan_budget(curve, SIGMAS, nfe=10, guidance=1.0).errors != plan_budget(curve, SIGMAS, nfe=10, guidance=5.0).errors
    assert MagnitudeCurve.from_json(curve.to_json()) == curve


@pytest.mark.parametrize("name", known_curves())
@pytest.mark.parametrize("speedup", [1.5, 2.0, 2.7])
def test_every_shipped_curve_gives_a_plan_that_starts_dense_and_computes_the_last_step(name: str, speedup: float):
    curve = load_curve(name)
    plan = plan_budget(curve, curve.sigmas, nfe=evaluations_for(curve.steps, speedup), reuse=best_reuse(curve))
    assert plan.computed[:2] == (0, 1) and plan.computed[-1] == curve.steps - 1
    third = curve.steps / 3
    assert sum(step < third for step in plan.computed) >= sum(third <= step < 2 * third for step in plan.computed)


@pytest.mark.parametrize("name", ["measured", "published"])
def test_by_default_residuals_are_reused_as_suits_the_curve(curve: MagnitudeCurve, name: str):
    chosen, reuse = (curve, "extrapolate") if name == "measured" else (load_curve("flux"), "hold")
    for plan_of in (lambda **more: plan_budget(chosen, SIGMAS, nfe=10, **more), lambda **more: plan_speedup(chosen, SIGMAS, 2.0, **more)):
        assert plan_of() == plan_of(reuse=reuse)
        assert plan_of() != plan_of(reuse="scale")


def test_only_the_computed_step_after_a_gap_corrects(curve: MagnitudeCurve):
    plan = plan_budget(curve, SIGMAS, nfe=10, influence=INFLUENCE)
    corrected = {step for step in range(20) if plan.correction(step)}
    after_a_gap = {step for step in range(1, 20) if plan.reused[step - 1] and not plan.reused[step]}
    assert corrected and corrected <= after_a_gap


def test_nothing_is_corrected_unless_the_sampler_is_known_to_be_euler(curve: MagnitudeCurve):
    assert not any(plan_budget(curve, SIGMAS, nfe=10).corrections)
    assert not any(plan_speedup(curve, SIGMAS, 2.0).corrections)
    assert plan_speedup(curve, SIGMAS, 2.0, influence=INFLUENCE) == plan_budget(curve, SIGMAS, nfe=10, influence=INFLUENCE)


def test_a_gap_of_held_residuals_is_corrected_about_as_if_they_changed_evenly():
    """Then gain · (r₂ − r₀) = Σ Δσ (rᵢ − r₀), which rough paths such as Brownian motion lead to as well; three quarters of it are made."""
    published = load_curve("flux")
    plan = plan_budget(published, published.sigmas, nfe=14, influence=euler_influence(published.sigmas))
    for step, correction in enumerate(plan.corrections):
        if correction:
            gap = step - plan.source(step - 1) - 1
            assert correction.gain == pytest.approx(0.75 * gap / 2, rel=0.5) and len(correction.expected) == 1
    assert any(plan.corrections)


def test_what_a_correction_draws_on_is_kept_until_then(curve: MagnitudeCurve):
    plan = plan_budget(curve, SIGMAS, nfe=8, influence=INFLUENCE)
    assert any(plan.corrections)
    for step, correction in enumerate(plan.corrections):
        assert all(plan.last_uses()[source] >= step for source, _ in (correction.expected if correction else ()))


def test_a_step_below_the_measured_sigmas_corrects_nothing(curve: MagnitudeCurve):
    plan = plan_budget(curve, (*SIGMAS[:-1], 0.04), nfe=8, influence=INFLUENCE)
    assert any(plan.corrections) and plan.reused[-2] and not plan.correction(19)
    assert plan_budget(curve, SIGMAS, nfe=8, influence=INFLUENCE).correction(19)
