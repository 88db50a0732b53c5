"""The curve: what it accepts, how it is resampled over sigma, and how it is kept in a file."""

from __future__ import annotations

import json
import math
import os
import stat
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from magcache import MagnitudeCurve, ThresholdSettings, plan_by_threshold
from magcache.curves.curve import FORMAT, VERSION, check_name, same_sigma
from magcache.errors import CurveError
from magcache.settings import ThresholdSettings

examples = settings(deadline=None, max_examples=100, database=None)
floats = st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from([10**400, -(10**400), "1"])
junk = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3))


def make(**changes: Any) -> MagnitudeCurve:
    fields: dict[str, Any] = {
        "name": "test",
        "family": "flux",
        "sigmas": (1.0, 0.8, 0.5, 0.1),
        "ratios": {"cond": (1.0, 1.2, 0.9, 0.8), "uncond": (1.0, 1.1, 0.95, 0.7)},
    }
    return MagnitudeCurve(**(fields | changes))


@st.composite
def curves(draw: st.DrawFn) -> MagnitudeCurve:
    sigmas: list[float] = []
    for sigma in sorted(draw(st.lists(st.floats(0, 1e4), min_size=2, max_size=12)), reverse=True):
        if not sigmas or not same_sigma(sigma, sigmas[-1]):
            sigmas.append(sigma)
    steps = len(sigmas)
    assume(steps >= 2)

    def table(low: float, high: float) -> dict[str, tuple[float, ...]]:
        rows = st.lists(st.floats(low, high), min_size=steps - 1, max_size=steps - 1)
        return {branch: (1.0, *draw(rows)) for branch in ("cond", "uncond")[: draw(st.integers(1, 2))]}

    preset = st.builds(ThresholdSettings, st.floats(0, 1), st.floats(0, 1), st.integers(0, 9))
    return make(
        sigmas=tuple(sigmas),
        ratios=table(1e-3, 1e3),
        spread=draw(st.just({}) | st.just(table(0, 9))),
        distance=draw(st.just({}) | st.just(table(0, 2))),
        masked=tuple(draw(st.lists(st.integers(1, steps - 1), max_size=2))),
        vetoes=tuple(draw(st.lists(st.floats(0, 1), max_size=2))),
        gate=draw(st.none() | st.floats(0, 1)),
        preset=draw(st.none() | preset),
        provenance=draw(st.dictionaries(st.text(max_size=5), st.none() | st.text(max_size=5) | floats, max_size=3)),
    )


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
        ({"spread": {"cond": (0.0, 0.1)}}, "2 values for 4 sigmas"),
        ({"spread": {"cond": (0.0, math.inf, 0.0, 0.0)}}, "inf at step 1"),
        ({"distance": {"cond": (0.0, -1.0, 0.0, 0.0)}}, "-1.0 at step 1"),
        ({"masked": (0,)}, "masked"),
        ({"masked": (4,)}, "masked"),
        ({"masked": (-1,)}, "masked"),
        ({"vetoes": (math.nan,)}, "vetoes is nan"),
        ({"vetoes": (0.5, -math.inf)}, "vetoes is -inf"),
        ({"gate": math.nan}, "gate is nan"),
        ({"gate": -0.1}, "gate is -0.1"),
        ({"preset": ThresholdSettings(math.nan, 0.2, 4)}, "threshold is nan"),
        ({"preset": ThresholdSettings(-0.1, 0.2, 4)}, "threshold is -0.1"),
        ({"preset": ThresholdSettings(0.1, 1.5, 4)}, "retention is 1.5"),
        ({"preset": ThresholdSettings(0.1, 0.2, -4)}, "max_skip is -4"),
    ],
)
def test_refuses_impossible_numbers(changes: dict[str, Any], complaint: str):
    with pytest.raises(CurveError, match=complaint) as error:
        make(**changes)
    assert "'test'" in str(error.value)


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "a\\b", "auto", "", ".hidden", "-x", "a b", "a\n", "é", "x" * 101, "a\0", "con", "NUL.v2", "Com1"]
)
def test_refuses_names_that_are_not_file_names(name: str):
    with pytest.raises(CurveError, match="cannot name a curve"):
        make(name=name)
    with pytest.raises(CurveError, match="cannot name a curve"):
        check_name(name)


@pytest.mark.parametrize("name", ["flux", "wan2.1_t2v_1.3B", "my-curve.v2", "automatic", "control", "com10", "7", "x" * 100])
def test_accepts_ordinary_names(name: str):
    assert check_name(name) == make(name=name).name == name


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


def test_short_runs():
    assert make().ratios_at((), "cond") == () == make().mean_ratios_at(())
    assert make().ratios_at((0.3,), "cond") == (1.0,)


@examples
@given(curves(), st.lists(st.floats(0, 1e300), max_size=10, unique=True))
@example(make(sigmas=(1.0, 0.9998), ratios={"cond": (1.0, 1000.0)}), [1.0, 0.0])
@example(make(sigmas=(1.0, 0.9998), ratios={"cond": (1.0, 0.001)}), [1.0, 0.0])
def test_any_run_gets_ratios_that_can_be_reckoned_with(curve: MagnitudeCurve, sigmas: list[float]):
    for branch in curve.ratios:
        ratios = curve.ratios_at(sorted(sigmas, reverse=True), branch)
        assert len(ratios) == len(sigmas)
        assert all(math.isfinite(ratio) and ratio > 0 for ratio in ratios)


def test_masked_step_takes_after_its_neighbours():
    plain, masked = make(), make(masked=(2,))
    assert masked.ratios_at(masked.sigmas, "cond")[2] == pytest.approx(math.sqrt(1.2 * 0.8))
    assert masked.ratios_at(masked.sigmas, "cond")[1::2] == plain.ratios_at(plain.sigmas, "cond")[1::2]
    assert make(masked=(3,)).ratios_at(plain.sigmas, "cond")[3] == pytest.approx(0.9), "at the end only one neighbour is left"
    assert make(masked=(1, 2)).ratios_at(plain.sigmas, "cond")[1:3] == pytest.approx((1.0, 0.8))
    assert make(masked=(1, 2, 3)).ratios_at(plain.sigmas, "cond") == (1.0, 1.0, 1.0, 1.0)


# Files


def check_usable(curve: MagnitudeCurve) -> None:
    """What was accepted can be planned with, and written and read again."""
    preset = curve.preset or ThresholdSettings(0.1, 0.2, 3)
    plan_by_threshold(curve, curve.sigmas, ThresholdSettings(threshold=preset.threshold, retention=preset.retention, max_skip=preset.max_skip))
    text = json.dumps(curve.to_json())
    assert json.dumps(MagnitudeCurve.from_json(json.loads(text)).to_json()) == text


@examples
@given(curves())
def test_json_round_trip(curve: MagnitudeCurve):
    assert MagnitudeCurve.from_json(json.loads(json.dumps(curve.to_json()))) == curve


def test_file_round_trip(tmp_path: Path):
    curve = make(
        spread={"cond": (0.0, 0.1, 0.2, 0.1)},
        distance={"cond": (0.0, 1e-3, 2e-3, 0.1)},
        masked=(2,),
        vetoes=(0.5,),
        gate=0.06,
        preset=ThresholdSettings(0.24, 0.2, 5),
        provenance={
            "source": "a run",
            "résolution": "64×64",
            "checkpoint": "odd\udcff.safetensors",
            "steps": 4,
            "nested": {"shift": [3.0]},
        },
    )
    path = tmp_path / "new" / "folder" / "test.json"
    curve.save(path)
    assert MagnitudeCurve.load(path) == curve
    assert MagnitudeCurve.load(str(path)) == curve
    assert [file.name for file in path.parent.iterdir()] == ["test.json"]


def test_a_byte_order_mark_is_no_obstacle(tmp_path: Path):
    (tmp_path / "mark.json").write_text(json.dumps(make().to_json()), encoding="utf-8-sig")
    assert MagnitudeCurve.load(tmp_path / "mark.json") == make()


def test_file_can_be_read_by_everyone_that_other_files_can(tmp_path: Path):
    make().save(tmp_path / "curve.json")
    (tmp_path / "other").touch()
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("curve.json", "other")]
    assert modes[0] == modes[1]


@pytest.mark.parametrize("failure", ["write", "replace"])
def test_failed_save_leaves_the_old_file(failure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "test.json"
    make().save(path)
    before = path.read_bytes()
    changed = make(gate=0.5)
    if failure == "write":
        changed = make(gate=0.5, provenance={"source": "x" * 100_000, "late": object()})
    else:

        def refuse(*_: object) -> None:
            raise PermissionError("in use")

        for place in (os, Path):
            monkeypatch.setattr(place, "replace", refuse)
    with pytest.raises((TypeError, PermissionError)):
        changed.save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@examples
@given(junk)
def test_any_document_is_read_or_refused(document: object):
    with pytest.raises(CurveError):
        MagnitudeCurve.from_json(document)


@examples
@given(st.data())
def test_any_fields_are_read_or_refused(data: st.DataObject):
    document = {"format": FORMAT, "version": VERSION}
    numbers = st.lists(floats, max_size=4)
    for key in ("name", "family", "sigmas", "ratios", "spread", "distance", "masked", "vetoes", "gate", "preset", "provenance"):
        document[key] = data.draw(junk | numbers | st.dictionaries(st.text(max_size=3), numbers, max_size=2))
    with pytest.raises(CurveError):
        MagnitudeCurve.from_json(document)


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """A valid document in which something, at any depth, was replaced, dropped or added."""
    document = draw(curves()).to_json()
    for _ in range(draw(st.integers(1, 2))):
        place: Any = document
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(place[key], dict | list) and draw(st.booleans()):
                place = place[key]
                continue
            action = draw(st.sampled_from(["replace", "drop", "add"]))
            if action == "replace":
                place[key] = draw(junk)
            elif action == "drop":
                del place[key]
            elif isinstance(place, dict):
                place[draw(st.text(max_size=5))] = draw(junk)
            else:
                place.insert(key, draw(junk))
            break
    return document


@settings(examples, max_examples=200)
@given(mutated())
def test_any_damaged_document_is_read_or_refused(document: Any):
    try:
        curve = MagnitudeCurve.from_json(document, source="damaged.json")
    except CurveError as error:
        assert len(str(error)) < 1000
    else:
        check_usable(curve)


@examples
@given(st.binary(max_size=40) | st.tuples(st.integers(0, 700), st.binary(max_size=3)))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, damage: bytes | tuple[int, bytes]):
    path = tmp_path_factory.getbasetemp() / "bytes.json"
    if isinstance(damage, tuple):
        place, inserted = damage
        whole = json.dumps(make(provenance={"source": "é" * 100}).to_json(), ensure_ascii=False, indent=1).encode()
        damage = whole[:place] + inserted + whole[place + len(inserted) :]
    path.write_bytes(damage)
    try:
        check_usable(MagnitudeCurve.load(path))
    except CurveError as error:
        assert "bytes.json" in str(error) or "curve" in str(error)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff\xfe\x00",
        b'{"format": "magcache.curves.curve"}',
        b"[" * 200_000,
        b'{"format": "magcache.curves.curve", "version": ' + b"9" * 5000 + b"}",
        b'{"format": "magcache.curves.curve", "version": 1, "name": ' + b"[" * 900 + b"]" * 900 + b"}",
    ],
    ids=["empty", "null", "list", "object", "not text", "bare", "deep", "large", "deep name"],
)
def test_refuses_files_that_hold_no_curve(text: bytes, tmp_path: Path):
    path = tmp_path / "broken.json"
    path.write_bytes(text)
    with pytest.raises(CurveError, match=r"broken\.json"):
        MagnitudeCurve.load(path)


@pytest.mark.parametrize("path", ["", "missing.json", "missing/curve.json", "a\0b"])
def test_refuses_what_is_not_a_file(path: str, tmp_path: Path):
    with pytest.raises(CurveError, match="cannot be read"):
        MagnitudeCurve.load(f"{tmp_path}/{path}")


@pytest.mark.parametrize("key", ["name", "family", "sigmas", "ratios"])
def test_tells_what_is_missing(key: str):
    document = make().to_json()
    del document[key]
    with pytest.raises(CurveError, match=f"mine.json lacks '{key}'"):
        MagnitudeCurve.from_json(document, source="mine.json")


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("name", 7, "text"),
        ("family", None, "text"),
        ("sigmas", "1.0", "list of numbers"),
        ("sigmas", [1.0, "0.8", 0.5, 0.1], "number, got '0.8'"),
        ("sigmas", [1.0, True, 0.5, 0.1], "number"),
        ("sigmas", [10**400, 0.8, 0.5, 0.1], "ordinary size"),
        ("ratios", [1.0, 1.2, 0.9, 0.8], "object"),
        ("ratios", {"cond": 1.0}, "list of numbers"),
        ("spread", None, "object"),
        ("masked", 2, "list"),
        ("masked", "2", "list"),
        ("masked", {}, "list"),
        ("masked", [2.0], "whole number"),
        ("masked", [True], "whole number"),
        ("masked", [10**400], "ordinary size"),
        ("vetoes", 0.5, "list of numbers"),
        ("vetoes", [math.nan], "nan"),
        ("gate", "0.06", "number"),
        ("gate", math.inf, "inf"),
        ("preset", [0.1, 0.2, 4], "object"),
        ("preset", {"threshold": 0.1, "retention": 0.2}, "max_skip"),
        ("preset", {"threshold": 0.1, "retention": 0.2, "max_skip": 2.5}, "whole number"),
        ("preset", {"threshold": 0.1, "retention": 7, "max_skip": 2}, "retention is 7"),
        ("provenance", "a run", "object"),
    ],
)
def test_tells_what_is_wrong(key: str, value: object, complaint: str):
    with pytest.raises(CurveError, match=complaint):
        MagnitudeCurve.from_json(make().to_json() | {key: value})


@pytest.mark.parametrize("version", [VERSION + 1, 0, -1, 1.0, "1", True, None, [1], pytest.param(10**5000, id="large")])
def test_refuses_other_versions(version: object):
    with pytest.raises(CurveError, match="version"):
        MagnitudeCurve.from_json(make().to_json() | {"version": version})
