"""How errors spread: the weights, what trial runs teach about it, and what files of it hold."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from magcache import MagnitudeCurve
from magcache.curves import shipped
from magcache.curves.averaging import averaged
from magcache.curves.propagation import CANDIDATES, CONTRACTING, GROWING, Propagation, measured
from magcache.errors import CurveError

from .made import make

SHIPPED = sorted(Path(shipped.__file__).parent.glob("*.json"))


def made(**changes: Any) -> Propagation:
    return Propagation(**({"growth": 2.0, "shape": 2.0, "stride": 0.5, "coherence": 0.5} | changes))


# Weights


def test_the_weight_falls_by_its_formula():
    np.testing.assert_allclose(made().weights(5), [10**2, 10**1.125, 10**0.5, 10**0.125, 1])
    np.testing.assert_allclose(made(shape=1.0).weights(5), [10**2, 10**1.5, 10**1, 10**0.5, 1])


@pytest.mark.parametrize("propagation", [GROWING, CONTRACTING, made()], ids=["growing", "contracting", "made"])
@pytest.mark.parametrize("steps", [2, 3, 50])
def test_the_first_step_weighs_most_and_the_last_one_1(propagation: Propagation, steps: int):
    weights = propagation.weights(steps)
    assert weights[0] == pytest.approx(10**propagation.growth) and weights[-1] == 1
    assert len(weights) == steps and (np.diff(weights) < 0).all()


def test_without_growth_all_steps_weigh_the_same():
    np.testing.assert_array_equal(made(growth=0.0).weights(7), np.ones(7))


def test_a_run_of_one_step_or_none_has_weights_too():
    assert made().weights(1).tolist() == [100] and made().weights(0).tolist() == []


@pytest.mark.parametrize(("growth", "grows"), [(0.0, False), (0.99, False), (1.0, True), (20.0, True)])
def test_errors_grow_from_a_decade_on(growth: float, grows: bool):
    assert made(growth=growth).grows is grows


# Numbers out of range


@pytest.mark.parametrize(
    ("title", "value", "expected"),
    [
        ("growth", -0.1, "from 0 to 20"),
        ("growth", 20.1, "from 0 to 20"),
        ("growth", math.nan, "from 0 to 20"),
        ("growth", math.inf, "from 0 to 20"),
        ("shape", 0.0, "from 0 to 20"),
        ("shape", -1.0, "from 0 to 20"),
        ("shape", 20.1, "from 0 to 20"),
        ("shape", math.nan, "from 0 to 20"),
        ("stride", -0.1, "from 0 to 1"),
        ("stride", 1.1, "from 0 to 1"),
        ("stride", math.nan, "from 0 to 1"),
        ("coherence", -0.1, "from 0 to 1"),
        ("coherence", 1.1, "from 0 to 1"),
        ("coherence", math.nan, "from 0 to 1"),
    ],
)
def test_a_number_out_of_range_is_refused_with_what_was_expected(title: str, value: float, expected: str):
    with pytest.raises(CurveError, match=rf"{title} is {value}; expected a number {expected}\. Calibrate again"):
        made(**{title: value})


@pytest.mark.parametrize(
    "bounds", [{"growth": 0.0, "stride": 0.0, "coherence": 0.0}, {"growth": 20.0, "shape": 20.0, "stride": 1.0}], ids=str
)
def test_the_bounds_themselves_are_allowed(bounds: dict[str, float]):
    assert np.isfinite(made(**bounds).weights(50)).all()


@pytest.mark.parametrize("error", [math.nan, math.inf, -0.1])
def test_a_trial_that_is_no_error_is_refused(error: float):
    with pytest.raises(CurveError, match="finite numbers of 0 or more"):
        made(trials=((0.1, 0.2), (error, 0.2)))


def test_an_unknown_source_is_refused_and_the_known_ones_named():
    with pytest.raises(CurveError, match="'guessed'; expected one of published plans, measured, assumed"):
        made(source="guessed")


# What trials teach


def test_the_candidates_keep_their_order_since_trials_are_stored_in_it():
    assert CANDIDATES == (CONTRACTING, GROWING)
    assert not CONTRACTING.grows and GROWING.grows


@pytest.mark.parametrize(("trials", "best"), [(((0.1, 0.2),), CONTRACTING), (((0.2, 0.1),), GROWING)])
def test_the_candidate_with_the_least_error_is_measured(trials: tuple, best: Propagation):
    assert measured(trials) == replace(best, source="measured", trials=trials)


def test_over_several_runs_the_geometric_mean_counts():
    assert measured(((0.1, 0.2), (0.9, 0.5))).growth == CONTRACTING.growth, "0.30 against 0.32; the arithmetic means are 0.50 and 0.35"
    assert measured(((0.1, 0.2), (0.9, 0.3))).growth == GROWING.growth


@pytest.mark.parametrize("earlier", [GROWING, CONTRACTING, made(source="published plans")], ids=lambda it: it.source)
@pytest.mark.parametrize("trials", [((0.1, 0.2), (0.2, 0.1)), ((0.0, 0.0),), ((0.3, 0.3 * (1 + 1e-7)),), ((0.0, 1e-13),)], ids=str)
def test_a_draw_leaves_the_model_what_it_was_taken_for(trials: tuple, earlier: Propagation):
    assert measured(trials, earlier) == replace(earlier, trials=trials)


def test_by_default_a_draw_is_taken_to_grow():
    assert measured(((0.2, 0.2),)) == replace(GROWING, trials=((0.2, 0.2),))


def test_a_small_difference_is_no_draw():
    assert measured(((0.2, 0.20001),)).growth == CONTRACTING.growth and measured(((0.20001, 0.2),), CONTRACTING).growth == GROWING.growth


@pytest.mark.parametrize(("trials", "kind"), [(((0.1, 0.2),), CONTRACTING), (((0.2, 0.1),), GROWING)])
def test_numbers_of_the_kind_that_was_found_stay(trials: tuple, kind: Propagation):
    growing, contracting = made(source="published plans"), made(growth=0.5)
    same, other = (growing, contracting) if kind.grows else (contracting, growing)
    assert measured(trials, same) == replace(same, source="measured", trials=trials)
    assert measured(trials, other) == replace(kind, source="measured", trials=trials)


def test_a_trial_without_any_error_counts_as_a_very_small_one():
    assert measured(((0.0, 1e-3),)).growth == CONTRACTING.growth
    assert measured(((1e-3, 0.0), (1e-3, 1.0))).growth == GROWING.growth
    assert measured(((1e-10, 1e-9), (0.1, 0.05))).growth == CONTRACTING.growth, "even errors of rounding count by their parts"


def test_trials_of_other_candidates_are_dropped():
    assert measured(((0.1, 0.2, 0.3), (0.2, 0.1), (0.1,))) == replace(GROWING, source="measured", trials=((0.2, 0.1),))


@pytest.mark.parametrize("earlier", [GROWING, CONTRACTING, made(source="published plans")], ids=lambda it: it.source)
def test_trials_of_other_candidates_alone_measure_nothing(earlier: Propagation):
    assert measured(((0.1, 0.2, 0.3),), earlier) == earlier and measured((), earlier) == earlier


# In files


@pytest.mark.parametrize(
    "propagation", [GROWING, CONTRACTING, made(source="published plans"), measured(((0.5, 0.25), (1e-9, 0.0)))], ids=lambda it: it.source
)
def test_a_propagation_comes_back_from_a_file_as_it_was(propagation: Propagation, tmp_path: Path):
    curve = make(propagation=propagation)
    curve.save(tmp_path / "test.json")
    assert MagnitudeCurve.load(tmp_path / "test.json") == curve


def test_trials_are_written_only_if_there_are_any():
    assert "trials" not in make().to_json()["propagation"]
    assert make(propagation=measured(((0.5, 0.25),))).to_json()["propagation"]["trials"] == [[0.5, 0.25]]


def test_an_old_curve_file_is_assumed_to_let_errors_grow():
    document = make(propagation=CONTRACTING).to_json()
    del document["propagation"]
    propagation = MagnitudeCurve.from_json(document).propagation
    assert propagation == GROWING and propagation.source == "assumed"


@pytest.mark.parametrize("title", ["growth", "shape", "stride", "coherence", "source"])
def test_tells_what_a_propagation_lacks(title: str):
    document = make().to_json()
    del document["propagation"][title]
    with pytest.raises(CurveError, match=f"mine.json lacks '{title}'"):
        MagnitudeCurve.from_json(document, source="mine.json")


@pytest.mark.parametrize("value", [None, [], "growing", 1, True], ids=str)
def test_a_propagation_must_be_an_object(value: object):
    with pytest.raises(CurveError, match=r"mine\.json holds .*expected an object"):
        MagnitudeCurve.from_json(make().to_json() | {"propagation": value}, source="mine.json")


@pytest.mark.parametrize(
    ("title", "value", "complaint"),
    [
        ("growth", "3", "number, got '3'"),
        ("growth", None, "number, got None"),
        ("growth", True, "number, got True"),
        ("growth", [3.0], "number, got list"),
        ("growth", math.nan, "growth is nan"),
        ("growth", 10**400, "fits into 64 bits"),
        ("shape", 0, "shape is 0"),
        ("shape", math.inf, "shape is inf"),
        ("stride", 2, "stride is 2"),
        ("stride", "all", "number, got 'all'"),
        ("coherence", -1, "coherence is -1"),
        ("coherence", {}, "number, got dict"),
        ("source", 7, "text, got 7"),
        ("source", None, "text, got None"),
        ("source", "guessed", "source is 'guessed'; expected one of"),
        ("trials", 0.5, "list of numbers"),
        ("trials", None, "list of numbers"),
        ("trials", [0.5, 0.25], "list of numbers"),
        ("trials", [[0.5, "0.25"]], "number, got '0.25'"),
        ("trials", [[0.5, math.nan]], "trials must hold finite numbers"),
        ("trials", [[0.5, -1]], "trials must hold finite numbers"),
    ],
)
def test_tells_what_is_wrong_with_a_propagation(title: str, value: object, complaint: str):
    document = make().to_json()
    document["propagation"][title] = value
    with pytest.raises(CurveError, match=complaint):
        MagnitudeCurve.from_json(document, source="mine.json")


@pytest.mark.parametrize(("title", "value"), [("growth", math.nan), ("shape", 0), ("source", "guessed"), ("trials", [[-1]])])
def test_what_is_wrong_with_a_propagation_names_the_file(title: str, value: object):
    document = make().to_json()
    document["propagation"][title] = value
    with pytest.raises(CurveError, match=r"mine\.json"):
        MagnitudeCurve.from_json(document, source="mine.json")


# In the mean of several calibrations


def test_averaging_counts_the_trials_of_both():
    one, other = measured(((0.2, 0.1),)), measured(((0.1, 0.9), (0.2, 0.3)))
    mean = averaged(make(propagation=one), make(propagation=other)).propagation
    assert mean == measured(((0.2, 0.1), (0.1, 0.9), (0.2, 0.3))) and mean.growth == CONTRACTING.growth
    assert averaged(make(propagation=other), make(propagation=one)).propagation.growth == mean.growth


@pytest.mark.parametrize("assumed", [GROWING, CONTRACTING, made(source="published plans")], ids=lambda it: it.source)
def test_averaging_keeps_what_was_measured(assumed: Propagation):
    known = measured(((0.1, 0.2),))
    assert averaged(make(propagation=known), make(propagation=assumed)).propagation == known
    assert averaged(make(propagation=assumed), make(propagation=known)).propagation == known


def test_averaging_with_what_came_with_the_program_keeps_the_trials():
    """That of a shipped model is measured, but its trials are not those of the user's runs."""
    known, own = replace(CONTRACTING, source="measured"), measured(((0.1, 0.2),))
    assert averaged(make(propagation=own), make(propagation=known)).propagation == own
    assert averaged(make(propagation=known), make(propagation=own)).propagation == own
    draw = replace(GROWING, trials=((0.1, 0.1),))
    assert averaged(make(propagation=draw), make(propagation=known)).propagation == known


def test_averaging_trials_that_tell_nothing_keeps_the_earlier_numbers():
    published, draw = made(source="published plans", trials=((0.2, 0.1),)), made(growth=4.0, trials=((0.1, 0.2),))
    mean = averaged(make(propagation=published), make(propagation=draw)).propagation
    assert mean == replace(published, trials=((0.2, 0.1), (0.1, 0.2)))


def test_averaging_keeps_what_is_known_of_public_plans():
    published = made(source="published plans")
    assert averaged(make(propagation=published), make()).propagation == published


def test_averaging_measures_nothing_where_nothing_was_tried():
    assert averaged(make(), make()).propagation == GROWING


# Of the shipped curves


def test_public_plans_are_known_of_these_models():
    curves = [MagnitudeCurve.load(path) for path in SHIPPED]
    known = {curve.name for curve in curves if curve.propagation.source == "published plans"}
    assert known == {"flux", "hunyuan_video", "qwen_image", "qwen_image_50steps", "wan2.1_t2v_1.3B"}
    assert all(curve.propagation == GROWING for curve in curves if curve.name not in known)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_errors_grow_in_every_shipped_model_and_nothing_was_measured(path: Path):
    propagation = MagnitudeCurve.load(path).propagation
    assert propagation.grows and not propagation.trials and propagation.source != "measured"
    assert ("propagation" in json.loads(path.read_text(encoding="utf-8"))) == (propagation.source == "published plans")
