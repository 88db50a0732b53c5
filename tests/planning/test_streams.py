"""Plans for models of several streams: the worse one counts, and each has its own recipes."""

from __future__ import annotations

import numpy as np
import pytest

from magcache import MagnitudeCurve, Plan, plan_budget, plan_speedup, predicted_error
from magcache.curves.averaging import averaged
from magcache.curves.products import in_stream
from magcache.errors import CurveError, PlanError
from magcache.planning.influence import euler_influence
from magcache.planning.plan import Recipe, joined
from magcache.planning.prediction import ErrorModel
from magcache.planning.streams import StreamErrors, stream_errors

STEPS = 24
SIGMAS = tuple(1 - step / STEPS for step in range(STEPS))


def path(rough: float, seed: int, turn: float = 1.0, power: float = 1.0) -> np.ndarray:
    """Residuals that turn by `turn` radians, the earlier the higher `power` is, with noise of their own at each step."""
    random = np.random.default_rng(seed)
    angle = turn * (1 - np.array(SIGMAS)[:, None] ** power)
    smooth = np.cos(angle) * random.normal(size=(1, 64)) + np.sin(angle) * random.normal(size=(1, 64))
    return smooth + rough * random.normal(size=(STEPS, 64))


def products(rows: np.ndarray) -> tuple[tuple[float, ...], ...]:
    matrix = rows @ rows.T / (rows**2).sum(axis=1).mean()
    return tuple(map(tuple, matrix.tolist()))


def curve_of(**streams: np.ndarray) -> MagnitudeCurve:
    """The first stream needs no name."""
    found = {}
    for place, (name, rows) in enumerate(streams.items()):
        branch = in_stream(name if place else "", "cond")
        found[branch, branch] = products(rows)
    return MagnitudeCurve(name="mine", family="ltx2", sigmas=SIGMAS, ratios={"cond": (1.0,) * STEPS}, products=found)


VIDEO = path(0.002, 0, power=0.5)
SMOOTH, ROUGH = path(0.002, 1), path(0.004, 1, turn=2.0, power=4.0)


def test_a_curve_knows_its_streams_and_reads_back():
    curve = curve_of(video=VIDEO, sound=SMOOTH)
    assert curve.streams == ("sound",) and not curve_of(video=VIDEO).streams
    assert MagnitudeCurve.from_json(curve.to_json()) == curve
    np.testing.assert_allclose(curve.products_at(SIGMAS, 1.0, "sound"), products(SMOOTH), atol=1e-9)
    np.testing.assert_allclose(curve.products_at(SIGMAS, 1.0), products(VIDEO), atol=1e-9)


def test_averaging_keeps_the_streams_apart():
    mean = averaged(curve_of(video=VIDEO, sound=SMOOTH), curve_of(video=VIDEO, sound=ROUGH))
    expected = (np.array(products(SMOOTH)) + np.array(products(ROUGH))) / 2
    np.testing.assert_allclose(mean.products["sound:cond", "sound:cond"], expected)


def test_a_stream_needs_its_products_of_cond():
    good = curve_of(video=VIDEO, sound=SMOOTH)
    with pytest.raises(CurveError, match="sound:cond"):
        MagnitudeCurve(
            name="mine",
            family="ltx2",
            sigmas=SIGMAS,
            ratios=good.ratios,
            products={("cond", "cond"): products(VIDEO), ("sound:uncond", "sound:uncond"): products(SMOOTH)},
        )


@pytest.mark.parametrize("sound", [SMOOTH, ROUGH], ids=["smooth", "rough"])
def test_both_streams_compute_the_same_steps_and_reuse_in_their_own_ways(sound: np.ndarray):
    plan = plan_budget(curve_of(video=VIDEO, sound=sound), SIGMAS, nfe=12)
    (recipes,) = plan.other_recipes
    models = [ErrorModel.of(curve_of(only=rows), SIGMAS, reuse="extrapolate") for rows in (VIDEO, sound)]
    alone = [model.plan(plan.computed) for model in models]
    assert plan.recipes == alone[0].recipes and recipes == alone[1].recipes and plan.recipes != recipes
    assert plan.errors == tuple(map(max, alone[0].errors, alone[1].errors))


def test_the_worse_stream_decides():
    """The sound is twice as rough as the video and turns early, the video late: a plan for the video alone would harm the sound."""
    curve = curve_of(video=VIDEO, sound=ROUGH)
    both, own = (plan_budget(each, SIGMAS, nfe=12) for each in (curve, curve_of(only=VIDEO)))
    protected, harmed = (stream_errors(curve, SIGMAS, plan.computed) for plan in (both, own))
    assert protected["sound"] < 0.5 * harmed["sound"]
    assert max(protected.values()) < 0.5 * max(harmed.values())
    assert predicted_error(curve, SIGMAS, both.computed) == max(protected.values())


def test_the_unit_of_a_stream_does_not_matter():
    loud = curve_of(video=VIDEO, sound=1000 * ROUGH)
    assert plan_budget(loud, SIGMAS, nfe=12).computed == plan_budget(curve_of(video=VIDEO, sound=ROUGH), SIGMAS, nfe=12).computed


def test_nothing_is_corrected_in_a_model_of_several_streams():
    influence = euler_influence(SIGMAS)
    assert any(plan_budget(curve_of(only=VIDEO), SIGMAS, nfe=12, influence=influence).corrections)
    assert not any(plan_budget(curve_of(video=VIDEO, sound=SMOOTH), SIGMAS, nfe=12, influence=influence).corrections)


def test_a_short_run_is_skipped_only_as_far_as_the_worse_stream_gains():
    sigmas = tuple(1 - step / 12 for step in range(12))
    good, bad = path(0.0, 1), path(0.05, 1)
    assert plan_speedup(curve_of(video=good, sound=good), sigmas, 2.0).nfe < 9
    assert plan_speedup(curve_of(video=good, sound=bad), sigmas, 2.0).nfe == 12
    assert plan_speedup(curve_of(video=bad, sound=good), sigmas, 2.0).nfe == 12


def test_a_long_run_is_compared_with_fewer_steps_if_asked_for():
    """As it is where the prediction as a whole is reused."""
    noisy = curve_of(only=path(0.05, 3))
    assert plan_speedup(noisy, SIGMAS, 2.0).nfe == STEPS // 2
    assert plan_speedup(noisy, SIGMAS, 2.0, compare=True).nfe > 20
    assert plan_speedup(curve_of(only=path(0.0, 3)), SIGMAS, 2.0, compare=True).nfe == STEPS // 2


def test_one_stream_has_the_costs_it_ever_had():
    curve = curve_of(only=VIDEO)
    model = ErrorModel.of(curve, SIGMAS, reuse="extrapolate")
    np.testing.assert_array_equal(StreamErrors.of(curve, SIGMAS, reuse="extrapolate").costs(4), model.costs(4))


def made(first: Recipe, other: Recipe) -> Plan:
    return Plan((1.0, 0.8, 0.6), (False, False, True), (0.0,) * 3, ((), (), first), other_recipes=(((), (), other),))


def test_shares_are_the_weights_of_all_streams():
    plan = made(((1, 1.5), (0, -0.5)), ((1, 1.0),))
    assert plan.shares(2) == ((1, (1.5, 1.0)), (0, (-0.5, 0.0)))
    assert plan.last_uses() == [2, 2, -1]
    assert Plan((1.0, 0.8), (False, True), (0.0, 0.0)).shares(1) == ((0, (1.0,)),)


def test_plans_of_successive_stretches_are_joined_with_their_streams():
    first, second = made(((1, 1.5), (0, -0.5)), ((1, 1.0),)), Plan((0.9, 0.5), (False, True), (0.0, 0.1))
    plan = joined([first, second])
    assert plan.other_recipes == (((), (), ((1, 1.0),), (), ((3, 1.0),)),)
    assert plan.shares(4) == ((3, (1.0, 1.0)),)


@pytest.mark.parametrize("other", [((), (), ()), ((), ((0, 1.0),), ((1, 1.0),)), ((), (), ((2, 1.0),)), ((), ())])
def test_recipes_of_a_further_stream_must_fit_the_plan(other: tuple[Recipe, ...]):
    with pytest.raises(PlanError):
        Plan((1.0, 0.8, 0.6), (False, False, True), (0.0,) * 3, other_recipes=(other,))
