"""The curve: what it accepts, and how it is resampled over sigma."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from magcache import MagnitudeCurve
from magcache.curves.curve import same_sigma
from magcache.errors import CurveError

from .made import curves, examples, make

# Numbers


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"sigmas": (1.0,), "ratios": {"cond": (1.0,)}}, "at least 2"),
        ({"sigmas": (), "ratios": {"cond": ()}}, "at least 2"),
        ({"sigmas": (1.0, 0.8, 0.8, 0.1)}, "fall"),
        ({"sigmas": (0.1, 0.5, 0.8, 1.0)}, "fall"),
        ({"sigmas": (1.0, 0.8, 0.79999, 0.1)}, "fall"),
        ({"sigmas": (1.0, 0.8, 0.5, -0.1)}, "-0.1 at step 3"),
        ({"sigmas": (math.inf, 0.8, 0.5, 0.1)}, "inf at step 0"),
        ({"sigmas": (1.0, math.nan, 0.5, 0.1)}, "nan at step 1"),
        ({"ratios": {}}, "no branch"),
        ({"ratios": {"cond": (1.0, 1.2, 0.9)}}, "3 values for 4 sigmas"),
        ({"ratios": {"cond": (1.0, 1.2, 0.9, 0.0)}}, "0.0 at step 3"),
        ({"ratios": {"cond": (1.0, 1.2, -0.9, 0.8)}}, "-0.9 at step 2"),
        ({"ratios": {"cond": (1.0, 1.2, 0.9, math.nan)}}, "nan at step 3"),
        ({"ratios": {"cond": (1.0, 1e9, 0.9, 1.0)}}, "at step 1"),
        ({"masked": (0,)}, "masked"),
        ({"masked": (4,)}, "masked"),
        ({"masked": (-1,)}, "masked"),
        ({"vetoes": (math.nan,)}, "vetoes is nan"),
        ({"vetoes": (0.5, -math.inf)}, "vetoes is -inf"),
        ({"gate": math.nan}, "gate is nan"),
        ({"gate": -0.1}, "gate is -0.1"),
    ],
)
def test_refuses_impossible_numbers(changes: dict[str, Any], complaint: str):
    with pytest.raises(CurveError, match=complaint) as error:
        make(**changes)
    assert "'test'" in str(error.value)


def test_tables_cannot_be_changed():
    ratios = {"cond": (1.0, 1.2, 0.9, 0.8)}
    curve = make(ratios=ratios)
    ratios["cond"] = (1.0, 9.0, 9.0, 9.0)
    assert curve.ratios["cond"] == (1.0, 1.2, 0.9, 0.8)
    with pytest.raises(TypeError):
        curve.ratios["cond"] = ()  # type: ignore[index]


def test_same_sigma():
    assert same_sigma(0.0, 0.0)
    assert same_sigma(0.8, float(np.float32(0.8)))
    assert same_sigma(14.61, 14.611)
    assert not same_sigma(0.8, 0.8002)
    assert not same_sigma(0.01, 0.01002)
    assert not same_sigma(0.0, 1e-6)
    assert not same_sigma(math.inf, 1.0)


FLAT = ((1.0,) * 4,) * 4


@pytest.mark.parametrize("pairs", [[("cond", "")], [("uncond", "uncond")], [("cond", "cond"), ("uncond", "uncond")]])
def test_refuses_products_that_guidance_cannot_compose(pairs: list[tuple[str, str]]):
    with pytest.raises(CurveError, match="lack those of 'cond'"):
        make(products=dict.fromkeys(pairs, FLAT))


@pytest.mark.parametrize("size", [1e13, -1e300])
def test_refuses_products_whose_sums_would_overflow(size: float):
    with pytest.raises(CurveError, match="at step 3"):
        make(products={("cond", "cond"): (*FLAT[:3], (1.0, 1.0, 1.0, size))})


def test_refuses_provenance_too_deep_to_be_written():
    deep: object = 1
    for _ in range(100_000):
        deep = {"a": [deep]}
    with pytest.raises(CurveError, match="provenance is nested more than 50 deep"):
        make(provenance={"workflow": deep})
    circle: list[object] = []
    circle.append(circle)
    with pytest.raises(CurveError, match="nested"):
        make(provenance={"circle": circle})


@pytest.mark.parametrize(
    "changes",
    [
        {"ratios": {"x" * 10_000: (1.0,)}},
        {"masked": (9,) * 10_000},
        {"products": {("x" * 10_000, "cond"): FLAT}},
        {"products": {("x" * 9999, ""): ()}},
    ],
)
def test_messages_stay_short(changes: dict[str, Any]):
    with pytest.raises(CurveError) as error:
        make(**changes)
    assert len(str(error.value)) < 500


# Resampling


@examples
@given(curves())
def test_own_grid_gives_the_measured_ratios_exactly(curve: MagnitudeCurve):
    for branch, ratios in curve.ratios.items():
        got = curve.ratios_at(curve.sigmas, branch)
        assert all(got[step] == ratios[step] for step in range(1, curve.steps) if step not in curve.masked)


@examples
@given(st.data())
def test_subset_of_the_grid_gives_products(data: st.DataObject):
    sigmas = tuple(float(sigma) for sigma in np.linspace(1, 0.05, 20))
    ratios = (1.0, *data.draw(st.lists(st.floats(0.5, 2), min_size=19, max_size=19)))
    curve = make(sigmas=sigmas, ratios={"cond": ratios})
    chosen = sorted(data.draw(st.sets(st.integers(0, 19), min_size=2)))
    got = curve.ratios_at([sigmas[step] for step in chosen], "cond")
    expected = [math.prod(ratios[before + 1 : after + 1]) for before, after in pairwise(chosen)]
    assert got == pytest.approx([1.0, *expected], rel=1e-9)


@examples
@given(st.integers(0, 2), st.lists(st.floats(0.01, 0.99), min_size=1, max_size=5, unique=True), st.sampled_from(["cond", "uncond"]))
def test_log_magnitude_is_linear_in_sigma_between_measured_points(step: int, parts: list[float], branch: str):
    curve = make()
    high, low = curve.sigmas[step : step + 2]
    sigmas = [high, *(high + part * (low - high) for part in sorted(parts)), low]
    got = curve.ratios_at(sigmas, branch)
    slope = math.log(curve.ratios[branch][step + 1]) / (low - high)
    for before, after, ratio in zip(sigmas, sigmas[1:], got[1:], strict=False):
        assert math.log(ratio) == pytest.approx(slope * (after - before), abs=1e-12)
    assert math.prod(got) == pytest.approx(curve.ratios[branch][step + 1])


def test_agrees_with_interpolated_cumulative_magnitude():
    curve = make()
    sigmas = np.linspace(0.99, 0.11, 37)
    level = np.interp(sigmas, curve.sigmas[::-1], np.cumsum(np.log(curve.ratios["cond"]))[::-1])
    assert curve.ratios_at(sigmas.tolist(), "cond")[1:] == pytest.approx(np.exp(np.diff(level)).tolist())


def test_beyond_the_ends():
    curve = make()
    last_slope = math.log(0.8) / (0.1 - 0.5)
    assert curve.ratios_at((0.1, 0.02), "cond")[1] == pytest.approx(math.exp(last_slope * (0.02 - 0.1)))
    assert curve.ratios_at((0.06, 0.0), "cond")[1] == pytest.approx(math.exp(last_slope * -0.06))
    assert curve.ratios_at((80.0, 1.2, 1.0), "cond") == (1.0, 1.0, 1.0)
    assert curve.ratios_at((80.0, 0.8), "cond")[1] == pytest.approx(1.2)


def test_the_mean_over_the_branches_is_one_of_logarithms():
    expected = [1.0, *(math.sqrt(cond * uncond) for cond, uncond in ((1.2, 1.1), (0.9, 0.95), (0.8, 0.7)))]
    assert make().mean_ratios_at((1.0, 0.8, 0.5, 0.1)) == pytest.approx(expected)
    assert make().levels_at((1.0, 0.8, 0.5, 0.1)) == pytest.approx(np.cumprod(expected).tolist())


def test_levels_are_relative_to_the_first_sigma_asked_for():
    assert make(ratios={"cond": (1.0, 1.2, 0.9, 0.8)}).levels_at((0.8, 0.5, 0.1)) == pytest.approx((1.0, 0.9, 0.72))


def test_short_runs():
    assert make().ratios_at((), "cond") == () == make().mean_ratios_at(()) == make().levels_at(())
    assert make().ratios_at((0.3,), "cond") == (1.0,) == make().mean_ratios_at((0.3,)) == make().levels_at((0.3,))


@examples
@given(curves(), st.lists(st.floats(0, 1e300), max_size=10, unique=True))
@example(make(sigmas=(1.0, 0.9998), ratios={"cond": (1.0, 1000.0)}), [1.0, 0.0])
@example(make(sigmas=(1.0, 0.9998), ratios={"cond": (1.0, 0.001)}), [1.0, 0.0])
@example(make(sigmas=(1.0, 0.9998), ratios={"cond": (1.0, 1000.0)}), [step / 20 for step in range(20)])
@example(make(sigmas=(1.0, 0.9998), ratios={"cond": (1.0, 0.001)}), [step / 20 for step in range(20)])
def test_any_run_gets_ratios_that_can_be_reckoned_with(curve: MagnitudeCurve, sigmas: list[float]):
    run = sorted(sigmas, reverse=True)
    for numbers in (*(curve.ratios_at(run, branch) for branch in curve.ratios), curve.mean_ratios_at(run), curve.levels_at(run)):
        assert len(numbers) == len(run)
        assert all(math.isfinite(number) and number > 0 for number in numbers)


def test_masked_step_takes_after_its_neighbours():
    plain, masked = make(), make(masked=(2,))
    assert masked.ratios_at(masked.sigmas, "cond")[2] == pytest.approx(math.sqrt(1.2 * 0.8))
    assert masked.ratios_at(masked.sigmas, "cond")[1::2] == plain.ratios_at(plain.sigmas, "cond")[1::2]
    assert make(masked=(3,)).ratios_at(plain.sigmas, "cond")[3] == pytest.approx(0.9), "at the end only one neighbour is left"
    assert make(masked=(1, 2)).ratios_at(plain.sigmas, "cond")[1:3] == pytest.approx((1.0, 0.8))
    assert make(masked=(1, 2, 3)).ratios_at(plain.sigmas, "cond") == (1.0, 1.0, 1.0, 1.0)
