"""The curve in a file: it comes back as it was, and whatever else a file holds is refused in words."""

from __future__ import annotations

import json
import math
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from magcache import MagnitudeCurve, ThresholdSettings, plan_by_threshold
from magcache.curves.codec import FORMAT, VERSION
from magcache.errors import CurveError

from .made import curves, examples, floats, junk, make


def check_usable(curve: MagnitudeCurve) -> None:
    """What was accepted can be planned with, and written and read again."""
    plan_by_threshold(curve, curve.sigmas, curve.preset or ThresholdSettings(threshold=0.1, max_skip=3))
    text = json.dumps(curve.to_json())
    assert json.dumps(MagnitudeCurve.from_json(json.loads(text)).to_json()) == text


@examples
@given(curves())
def test_json_round_trip(curve: MagnitudeCurve):
    assert MagnitudeCurve.from_json(json.loads(json.dumps(curve.to_json()))) == curve


def test_file_round_trip(tmp_path: Path):
    curve = make(
        products={("cond", "cond"): ((1.0, 0.5, 0.25, 1e-9),) * 4},
        masked=(2,),
        vetoes=(0.5,),
        gate=0.06,
        preset=ThresholdSettings(threshold=0.24, max_skip=5, retention=0.2),
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
        b'{"format": "magcache.curve"}',
        b"[" * 200_000,
        b'{"format": "magcache.curve", "version": ' + b"9" * 5000 + b"}",
        b'{"format": "magcache.curve", "version": 1, "name": ' + b"[" * 900 + b"]" * 900 + b"}",
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
        ("sigmas", [10**400, 0.8, 0.5, 0.1], "fits into 64 bits"),
        ("ratios", [1.0, 1.2, 0.9, 0.8], "object"),
        ("ratios", {"cond": 1.0}, "list of numbers"),
        ("masked", 2, "list"),
        ("masked", "2", "list"),
        ("masked", {}, "list"),
        ("masked", [2.0], "whole number"),
        ("masked", [True], "whole number"),
        ("masked", [10**400], "fits into 64 bits"),
        ("vetoes", 0.5, "list of numbers"),
        ("vetoes", [math.nan], "nan"),
        ("gate", "0.06", "number"),
        ("gate", math.inf, "inf"),
        ("preset", [0.1, 0.2, 4], "object"),
        ("preset", {"threshold": 0.1, "retention": 0.2}, "max_skip"),
        ("preset", {"threshold": 0.1, "retention": 0.2, "max_skip": 2.5}, "whole number"),
        ("preset", {"threshold": 0.1, "retention": 7, "max_skip": 2}, "mine.json holds .*retention is 7"),
        ("preset", {"threshold": math.nan, "retention": 0.2, "max_skip": 4}, "threshold is nan"),
        ("preset", {"threshold": -0.1, "retention": 0.2, "max_skip": 4}, "threshold is -0.1"),
        ("preset", {"threshold": 0.1, "retention": 0.2, "max_skip": -4}, r"max_skip \(K\) is -4"),
        ("provenance", "a run", "object"),
    ],
)
def test_tells_what_is_wrong(key: str, value: object, complaint: str):
    with pytest.raises(CurveError, match=complaint):
        MagnitudeCurve.from_json(make().to_json() | {key: value}, source="mine.json")


def test_the_format_of_curve_files_is_the_one_that_users_have():
    assert (FORMAT, VERSION) == ("magcache.curve", 2)
    document = {"format": "magcache.curve", "version": 1, "name": "old", "family": "flux", "sigmas": [1.0, 0.5], "ratios": {"cond": [1, 2]}}
    assert MagnitudeCurve.from_json(document) == make(name="old", sigmas=(1.0, 0.5), ratios={"cond": (1.0, 2.0)})


@pytest.mark.parametrize("value", [{"cond": [0.0, 0.1, 0.2, 0.1]}, {"cond": [0.0]}, {}, None, "x"])
def test_files_with_the_spread_and_distance_of_earlier_versions_still_load(value: object, tmp_path: Path):
    path = tmp_path / "old.json"
    path.write_text(json.dumps(make().to_json() | {"version": 1, "spread": value, "distance": value}))
    curve = MagnitudeCurve.load(path)
    assert curve == make()
    assert not {"spread", "distance"} & set(curve.to_json()), "nothing reads them, so they are not written again"


@pytest.mark.parametrize("version", [VERSION + 1, 0, -1, 1.0, "1", True, None, [1], pytest.param(10**5000, id="large")])
def test_refuses_other_versions(version: object):
    with pytest.raises(CurveError, match="version"):
        MagnitudeCurve.from_json(make().to_json() | {"version": version})
