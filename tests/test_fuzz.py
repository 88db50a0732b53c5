"""Whatever a file holds and whatever is asked for: a result or a `MagCacheError`, never anything else, and never half a file."""

from __future__ import annotations

import copy
import errno
import json
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from magcache import MagnitudeCurve, Plan, ThresholdSettings, load_curve, plan_budget, plan_by_threshold
from magcache.cli.main import app
from magcache.curves.averaging import averaged
from magcache.curves.codec import MAX_BYTES
from magcache.curves.curve import same_sigma
from magcache.curves.names import check_name, file_stem
from magcache.curves.ratio_lists import Form, Layout, export_ratios, import_curve
from magcache.curves.store import CurveStore
from magcache.errors import CalibrationError, CurveError, InfeasibleError, MagCacheError
from magcache.planning.budget import plan_speedup
from magcache.planning.influence import euler_influence


def cases(count: int) -> settings:
    """So many cases. A failing one is shown as it was found: shrinking whole documents takes minutes."""
    return settings(deadline=None, max_examples=count, database=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])


@pytest.fixture(scope="module", autouse=True)
def _quiet() -> Iterator[None]:
    with np.errstate(all="ignore"):
        yield


# Curves and runs

presets = st.builds(ThresholdSettings, threshold=st.floats(0, 1), retention=st.floats(0, 1), max_skip=st.integers(0, 9))


@st.composite
def falling(draw: st.DrawFn, least: int = 2, most: int = 16) -> tuple[float, ...]:
    """Noise levels as a curve may have them: far apart, all but touching, huge, down to 0 or not."""
    steps, seed = draw(st.integers(least, most)), draw(st.integers(0, 2**32 - 1))
    gaps = np.random.default_rng(seed).uniform(3e-4, 1, steps) ** draw(st.sampled_from([1, 3]))
    sigmas = np.flip(np.cumsum(np.maximum(gaps, 3e-4))) * draw(st.sampled_from([1.0, 0.05, 1e4]))
    level = [float(sigma) for sigma in sigmas - (sigmas[-1] if draw(st.booleans()) else 0)]
    kept = level[:1]
    for sigma in level[1:]:
        if sigma < kept[-1] * (1 - 2e-4):
            kept.append(sigma)
    return tuple(kept) if len(kept) >= least else (1.0, 0.5)


@st.composite
def curves(draw: st.DrawFn) -> MagnitudeCurve:
    sigmas = draw(falling())
    steps, rng = len(sigmas), np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    spread = draw(st.sampled_from([0.0, 0.05, 1.0, 3.0]))
    branches = ("cond", "uncond")[: draw(st.integers(1, 2))]
    ratios = {name: (1.0, *(10 ** rng.uniform(-spread, spread, steps - 1)).tolist()) for name in branches}
    products: dict[tuple[str, str], tuple[tuple[float, ...], ...]] = {}
    if kind := draw(st.sampled_from(["none", "vectors", "zero", "noise", "wild"])):
        vectors = {name: np.cumsum(rng.normal(size=(steps, 5)), axis=0) for name in branches}
        for one, other in [("cond", "cond"), ("cond", "uncond"), ("uncond", "uncond")] if kind != "none" else []:
            if one in branches and other in branches:
                matrix = vectors[one] @ vectors[other].T
                if kind != "vectors":
                    matrix = rng.normal(size=(steps, steps)) * {"zero": 0.0, "noise": 1.0, "wild": 1e11}[kind]
                products[one, other] = tuple(tuple(row) for row in matrix.tolist())
    return MagnitudeCurve(
        name="fuzz",
        family="flux",
        sigmas=sigmas,
        ratios=ratios,
        products=products,
        masked=tuple(draw(st.lists(st.integers(1, steps - 1), max_size=3))),
        vetoes=tuple(draw(st.lists(st.floats(0, 2), max_size=2))),
        gate=draw(st.none() | st.floats(0, 1)),
        preset=draw(st.none() | presets),
    )


numbers = st.floats(0, 2) | st.sampled_from([0.0, 5e-324, 1e-300, 1.0, 1 + 1e-15, 14.6, 1e10, 1e154, 1.7e308])
runs = st.lists(numbers, max_size=14, unique=True).map(lambda values: tuple(sorted(values, reverse=True)))
odd_runs = st.lists(st.floats() | numbers, max_size=5).map(tuple)


def run_of(data: st.DataObject, curve: MagnitudeCurve) -> tuple[float, ...]:
    """The sigmas of some run: the curve's own, those of another step count, or anything that falls, starts again, or does neither."""
    own = st.integers(1, 40).map(curve.sigmas_for)
    restarting = st.tuples(falling(), falling()).map(lambda parts: parts[0] + parts[1])
    return data.draw(st.just(curve.sigmas) | own | falling() | restarting | runs | odd_runs)


def trimmed(sigmas: Sequence[float]) -> list[int]:
    """The steps of a run that are planned: not its zeros, nor those that repeat the sigma before them."""
    kept: list[int] = []
    for step, sigma in enumerate(sigmas):
        if sigma > 0 and not (kept and same_sigma(sigma, sigmas[kept[-1]])):
            kept.append(step)
    return kept


def check_plan(plan: Plan, sigmas: Sequence[float]) -> None:
    kept = tuple(sigmas[step] for step in trimmed(sigmas))
    assert plan.steps == len(plan.reused) == len(plan.errors)
    assert plan.sigmas == kept or (plan.sigmas == tuple(sigmas) and not any(plan.reused))
    assert any(plan.reused) or plan.reason or not kept or plan.nfe == len(kept)
    assert plan.nfe == plan.decisions.count("compute") and not any(plan.reused[:1])
    for step, reused in enumerate(plan.reused):
        recipe = plan.recipe(step)
        assert bool(recipe) == reused and (not reused or plan.sigmas[step - 1] > plan.sigmas[step])
        assert all(0 <= source < step and not plan.reused[source] and math.isfinite(weight) for source, weight in recipe)
        correction = plan.correction(step)
        assert correction is None or (not reused and plan.reused[step - 1] and 0 < correction.gain <= 1.5 and len(correction.expected) <= 2)
        assert plan.errors[step] >= 0 and math.isfinite(plan.errors[step]) and (reused or plan.errors[step] == 0)
    assert len(plan.last_uses()) == plan.steps


def gap_errors(plan: Plan) -> list[float]:
    """The sum of the errors of each gap."""
    sums = [0.0]
    for error, reused in zip(plan.errors, plan.reused, strict=True):
        sums = [*sums[:-1], sums[-1] + error] if reused else [*sums, 0.0]
    return sums


def longest_gap(plan: Plan) -> int:
    return max((len(gap) for gap in "".join("r" if reused else " " for reused in plan.reused).split()), default=0)


rules = st.builds(
    ThresholdSettings,
    threshold=st.floats(0, 2) | st.sampled_from([5e-324, 1e308]),
    max_skip=st.integers(0, 9) | st.just(10**9),
    retention=st.floats(0, 1),
    start_step=st.integers(0, 20) | st.just(10**9),
    end_step=st.integers(-20, 20) | st.sampled_from([-(10**9), 10**9]),
)


@cases(600)
@given(curves(), rules, st.data())
def test_the_published_rule_plans_any_run(curve: MagnitudeCurve, rule: ThresholdSettings, data: st.DataObject):
    sigmas = run_of(data, curve)
    plan = plan_by_threshold(curve, sigmas, rule)
    check_plan(plan, sigmas)
    assert longest_gap(plan) <= rule.max_skip and max(plan.errors, default=0) <= rule.threshold
    assert max(gap_errors(plan)) <= rule.threshold * (len(curve.ratios) + 1e-9), "an error is that of the worst branch at its step"
    last = rule.end_step + len(sigmas) if rule.end_step < 0 else rule.end_step
    allowed = range(max(int(len(sigmas) * rule.retention), rule.start_step), last + 1)
    assert all(step in allowed for step, reused in zip(trimmed(sigmas), plan.reused, strict=False) if reused)


def influences(sigmas: Sequence[float]) -> st.SearchStrategy[list[float]]:
    """One finite number a step, as samplers of any kind may have."""
    return st.lists(st.floats(-20, 20), min_size=len(sigmas), max_size=len(sigmas))


@cases(700)
@given(curves(), st.sampled_from(["hold", "scale", "extrapolate"]), st.sampled_from([1.0, 0.0, 2.5, 100.0]), st.booleans(), st.data())
def test_a_budget_is_met_or_found_infeasible(curve: MagnitudeCurve, reuse: Any, guidance: float, known: bool, data: st.DataObject):
    sigmas = run_of(data, curve)
    nfe = data.draw(st.integers(-1, len(sigmas) + 2))
    ends = data.draw(st.just((math.inf, 0.0)) | st.tuples(st.floats(0, 20), st.floats(0, 2)))
    influence = data.draw(influences(sigmas)) if known else None
    wish: dict[str, Any] = {"guidance": guidance, "reuse": reuse, "window": ends, "influence": influence}
    try:
        plan = plan_budget(curve, sigmas, nfe=nfe, **wish)
    except InfeasibleError as error:
        plan = plan_budget(curve, sigmas, nfe=error.nearest, **wish)
        nfe = error.nearest
    check_plan(plan, sigmas)
    kept = [sigmas[step] for step in trimmed(sigmas)]
    falls = bool(kept) and all(map(math.isfinite, sigmas)) and all(before > after for before, after in pairwise(kept))
    assert plan.nfe == (nfe if falls and nfe < len(kept) else len(sigmas))
    assert known or not any(plan.corrections)
    assert longest_gap(plan) <= max(6, len(sigmas) // 2)
    if any(plan.reused):
        assert not plan.reused[1] and not plan.reused[-1]
        assert all(ends[1] <= sigma <= ends[0] for sigma, reused in zip(plan.sigmas, plan.reused, strict=True) if reused)


@cases(400)
@given(curves(), st.floats(1, 20) | st.sampled_from([1.0, 1e300]), st.data())
def test_every_speedup_has_a_plan(curve: MagnitudeCurve, speedup: float, data: st.DataObject):
    sigmas = run_of(data, curve)
    plan = plan_speedup(curve, sigmas, speedup, influence=data.draw(st.none() | influences(sigmas)))
    check_plan(plan, sigmas)


# Files


def whole_documents() -> list[dict[str, Any]]:
    rows = [[1.0, 0.9, 0.8], [0.9, 1.0, 0.9], [0.8, 0.9, 1.0]]
    small = MagnitudeCurve(
        name="small",
        family="wan",
        sigmas=(1.0, 0.6, 0.2),
        ratios={"cond": (1.0, 1.1, 0.9), "uncond": (1.0, 1.05, 0.95)},
        masked=(1,),
        vetoes=(0.6,),
        gate=0.1,
        preset=ThresholdSettings(threshold=0.1, max_skip=3),
        provenance={"source": "é", "runs": 2, "nested": {"a": [1, {"b": None}]}},
    ).to_json()
    small["products"] = {"cond,cond": rows, "cond,uncond": rows, "uncond,uncond": rows}
    small["spread"], small["distance"] = {"cond": [0.0, 0.1, 0.1]}, {"cond": [0.0, 0.2, 0.2]}  # As earlier versions wrote them.
    return [small, load_curve("flux").to_json()]


WHOLE = whole_documents()


def nested(depth: int, inner: object = 1.0) -> object:
    for level in range(depth):
        inner = [inner] if level % 2 else {"a": inner}
    return inner


SCALARS = [None, True, False, "", "x", "cond", "\ud800", "é" * 200, 0, -1, 2**70, 10**400, -(10**30)]
SCALARS += [0.0, -0.0, 1e308, 5e-324, math.nan, math.inf, -math.inf]
MAKERS: list[Callable[[], object]] = [list, dict, lambda: [[]], lambda: [1.0, None], lambda: {"cond": [1.0, 1.0]}]
MAKERS += [lambda: [0.5] * 5000, lambda: nested(40), lambda: nested(300)]
strange = (
    st.sampled_from(SCALARS)
    | st.sampled_from(MAKERS).map(lambda make: make())
    | st.recursive(st.floats() | st.text(max_size=4), lambda inner: st.lists(inner, max_size=3), max_leaves=4)
)
keys = st.sampled_from(["cond", "uncond,uncond", "cond,cond", "runs", "x" * 3000, "", "\0", "format"]) | st.text(max_size=4)


@st.composite
def damaged(draw: st.DrawFn) -> dict[str, Any]:
    """A valid document in which things, at any depth, were replaced, dropped or added."""
    document = copy.deepcopy(draw(st.sampled_from(WHOLE)))
    for _ in range(draw(st.integers(0, 3))):
        place: Any = document
        while True:
            inside = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not inside:
                break
            key = draw(st.sampled_from(inside))
            if isinstance(place[key], dict | list) and draw(st.booleans()):
                place = place[key]
                continue
            action = draw(st.sampled_from(["replace", "drop", "add", "repeat"]))
            if action == "replace":
                place[key] = draw(strange)
            elif action == "drop":
                del place[key]
            elif isinstance(place, dict):
                place[draw(keys)] = draw(strange) if action == "add" else place[key]
            else:
                place.insert(key, draw(strange) if action == "add" else place[key])
            break
    return document


def check_usable(curve: MagnitudeCurve) -> None:
    """What was accepted can be planned with, averaged, exported, and written and read again."""
    check_plan(plan_by_threshold(curve, curve.sigmas, ThresholdSettings(threshold=0.1, max_skip=3)), curve.sigmas)
    if curve.steps <= 100:
        check_plan(plan_speedup(curve, curve.sigmas, 2.0, guidance=3.0, influence=euler_influence(curve.sigmas)), curve.sigmas)
    try:
        averaged(curve, MagnitudeCurve.from_json(curve.to_json() | {"provenance": {}}))
    except CalibrationError as error:
        assert "runs" in str(error)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{file_stem(curve.name)}.json"
        curve.save(path)
        assert json.dumps(MagnitudeCurve.load(path).to_json()) == json.dumps(curve.to_json())


def read_or_refuse(read: Callable[[], MagnitudeCurve]) -> None:
    try:
        curve = read()
    except CurveError as error:
        assert 20 < len(str(error)) < 1200
    else:
        check_usable(curve)


@cases(700)
@given(damaged())
def test_any_damaged_document_is_read_or_refused(document: dict[str, Any]):
    read_or_refuse(lambda: MagnitudeCurve.from_json(document, source="damaged.json"))


@cases(700)
@given(damaged(), st.data())
def test_any_damaged_file_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, document: dict[str, Any], data: st.DataObject):
    text = json.dumps(document)
    if key := data.draw(st.sampled_from(["", "sigmas", "name", "ratios", "format"])):
        text = text[:-1] + f", {json.dumps(key)}: {json.dumps(data.draw(strange))}" + "}"
    raw = text.encode(data.draw(st.sampled_from(["utf-8"] * 6 + ["utf-8-sig", "utf-16", "utf-32-le"])))
    match data.draw(st.sampled_from(["whole", "cut", "flip", "insert", "swap"])):
        case "cut":
            raw = raw[: data.draw(st.integers(0, len(raw)))]
        case "flip":
            place = data.draw(st.integers(0, len(raw) - 1))
            raw = raw[:place] + bytes([raw[place] ^ 1 << data.draw(st.integers(0, 7))]) + raw[place + 1 :]
        case "insert":
            place = data.draw(st.integers(0, len(raw)))
            raw = (
                raw[:place]
                + data.draw(st.sampled_from([b"\xff", b"\x00", b"[" * 5000, b"9" * 5000, b"NaN", b"1e999", b"\xed\xa0\x80"]))
                + raw[place:]
            )
        case "swap":
            first, second = sorted(data.draw(st.tuples(st.integers(0, len(raw)), st.integers(0, len(raw)))))
            raw = raw[second:] + raw[first:second] + raw[:first]
        case _:
            pass
    path = tmp_path_factory.getbasetemp() / "damaged.json"
    path.write_bytes(raw)
    read_or_refuse(lambda: MagnitudeCurve.load(path))


@pytest.mark.parametrize("depth", [50, 900, 5_000, 100_000])
@pytest.mark.parametrize("key", [*WHOLE[0], "unknown"])
def test_a_deeply_nested_value_is_read_or_refused(key: str, depth: int, tmp_path: Path):
    read_or_refuse(lambda: MagnitudeCurve.from_json(WHOLE[0] | {key: {"deep": nested(depth)}}))
    read_or_refuse(lambda: MagnitudeCurve.from_json(WHOLE[0] | {key: nested(depth)}))
    text = json.dumps(WHOLE[0] | {key: "HERE"}).replace('"HERE"', '{"a": [' * depth + "1" + "]}" * depth)
    (tmp_path / "deep.json").write_text(text)
    read_or_refuse(lambda: MagnitudeCurve.load(tmp_path / "deep.json"))


def test_a_gigantic_file_is_refused_before_it_is_read(tmp_path: Path):
    path = tmp_path / "gigantic.json"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with mock.patch("json.loads", side_effect=AssertionError), pytest.raises(CurveError, match=f"at most {MAX_BYTES:,} are read"):
        MagnitudeCurve.load(path)


def test_a_device_without_end_is_refused():
    if not Path("/dev/zero").exists():
        pytest.skip("needs /dev/zero")
    with mock.patch("magcache.curves.curve.MAX_BYTES", 1000), pytest.raises(CurveError, match="at most 1,000"):
        MagnitudeCurve.load("/dev/zero")


# Names

names = (
    st.text(max_size=12)
    | st.text("./\\:ab C~%$\0\n", max_size=8)
    | st.builds(
        lambda stem, end: stem + end,
        st.sampled_from(["con", "CON", "nul", "Aux", "prn", "com1", "LPT9", "com0", "conin$", "auto", "C:", "a", "x" * 99, "x" * 5000]),
        st.sampled_from(["", ".", ".json", ".tar.gz", " ", "1", "/x", "\\x", "\n", "/../y", "²"]),
    )
    | st.sampled_from(
        ["../x", "..", ".", "/etc/x", "\\\\server\\x", "a/../../b", "~", "~/x", "$HOME", "%TEMP%", "file:x", "ﬁ", "Ｃ", "a\u202eb"]
    )
)


@cases(700)
@given(names)
def test_a_name_cannot_leave_its_folder(name: str):
    try:
        stem = file_stem(check_name(name))
    except CurveError as error:
        assert len(str(error)) < 500
        return
    for kind in (PurePosixPath, PureWindowsPath):
        path = kind("folder") / f"{stem}.json"
        assert path.parts == ("folder", f"{stem}.json")
    assert not PureWindowsPath(f"{stem}.json").is_reserved() and len(f".{stem}.json".encode()) + 33 < 255


@cases(150)
@given(names)
def test_a_file_cannot_bring_a_name_that_leaves_the_folder(name: str):
    with tempfile.TemporaryDirectory() as outer:
        folder = Path(outer) / "folder"
        folder.mkdir()
        try:
            curve = MagnitudeCurve.from_json(WHOLE[0] | {"name": name})
        except CurveError:
            return
        CurveStore((folder,)).save(curve)
        assert [path.name for path in Path(outer).iterdir()] == ["folder"]
        assert CurveStore((folder,)).load(curve.name, 0).name == curve.name


# Saving


class Failing:
    """A file that fails after so many characters, as a full disk does."""

    def __init__(self, file: Any, room: int, error: BaseException) -> None:
        self._file, self._room, self._error = file, room, error

    def __enter__(self) -> Failing:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, text: str) -> None:
        self._file.write(text[: self._room])
        self._file.flush()
        self._room -= len(text)
        if self._room < 0:
            raise self._error


@contextmanager
def failing(stage: str, room: int, error: BaseException) -> Iterator[None]:
    opened = Path.open

    def open_failing(path: Path, mode: str = "r", **more: Any) -> Any:
        return Failing(opened(path, mode, **more), room, error) if mode == "x" else opened(path, mode, **more)

    patch = mock.patch.object(Path, "open", open_failing) if stage == "write" else mock.patch.object(Path, "replace", side_effect=error)
    with patch:
        yield


@cases(200)
@given(
    st.sampled_from(["write", "replace"]),
    st.integers(0, 500),
    st.sampled_from([OSError(errno.ENOSPC, "disk full"), PermissionError("in use"), KeyboardInterrupt(), MemoryError()]),
    st.booleans(),
)
def test_a_save_that_fails_in_the_middle_changes_nothing(stage: str, room: int, error: BaseException, new: bool):
    curve = MagnitudeCurve.from_json(WHOLE[0])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "curve.json"
        if not new:
            path.write_text("old")
        with failing(stage, room, error), pytest.raises(type(error)):
            curve.save(path)
        assert [file.name for file in Path(folder).iterdir()] == ([] if new else ["curve.json"])
        assert new or path.read_text() == "old"


def test_a_curve_that_cannot_be_written_as_json_changes_nothing(tmp_path: Path):
    path = tmp_path / "curve.json"
    path.write_text("old")
    with pytest.raises(TypeError):
        MagnitudeCurve.from_json(WHOLE[0] | {"provenance": {"object": object()}}).save(path)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


# Lists of others

words = [
    "[",
    "]",
    "[1.0, ",
    "1.0",
    "0.9",
    ",",
    ", ",
    "*2",
    "+",
    "-",
    "np.array(",
    "torch.tensor(",
    ")",
    '"cond": ',
    "'uncond': ",
    "mag_ratios = ",
]
words += [
    "\n",
    "# x\n",
    "1e999",
    "nan",
    "1_0",
    "007",
    "9" * 30,
    "é",
    "\0",
    "{",
    "}",
    "[1.0, 1.1, 0.9]",
    "[1.0]*2 + [1.1, 1.2]",
    "(",
    "\u2028",
    "None",
]
texts = st.lists(st.sampled_from(words), max_size=25).map("".join) | st.text(max_size=40)


@cases(900)
@given(texts, st.none() | st.sampled_from(Layout), st.sampled_from([1.0, 3.0, 100.0, 0.0, math.nan]))
def test_any_text_is_imported_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str, layout: Layout | None, shift: float):
    path = tmp_path_factory.getbasetemp() / "list.txt"
    path.write_text(text, encoding="utf-8")
    try:
        curve = import_curve(path, name="mine", family="flux", shift=shift, layout=layout)
    except MagCacheError as error:
        assert 20 < len(str(error)) < 1200
    else:
        check_usable(curve)
        assert all(values[0] == 1 for values in curve.ratios.values())


@pytest.mark.parametrize(
    "part",
    ["[", "[[", "[1,", "[1],", "[[1],", "1", " ", "[1]+", "[1]*2+", "[1] ", "-", "#", "\n", "a", "a.", "=", "(", "[1.", "[1 "],
)
@pytest.mark.parametrize("before", ["", "[", "[1", "[[1]"])
def test_long_texts_take_no_endless_time(before: str, part: str, tmp_path: Path):
    path = tmp_path / "long.txt"
    path.write_text(before + part * (100_000 // len(part)))
    begin = time.process_time()
    with pytest.raises(MagCacheError):
        import_curve(path, name="mine", family="flux")
    assert time.process_time() - begin < 2


@cases(150)
@given(curves(), st.sampled_from([Form.LIST, Form.JSON]))
def test_an_exported_curve_comes_back_with_the_same_numbers(tmp_path_factory: pytest.TempPathFactory, curve: MagnitudeCurve, form: Form):
    path = tmp_path_factory.getbasetemp() / "exported.txt"
    path.write_text(export_ratios(curve, form))
    layout = Layout.INTERLEAVED if len(curve.ratios) == 2 else Layout.COND
    assert import_curve(path, name="mine", family="flux", layout=layout).ratios == curve.ratios


# The command line

options = st.dictionaries(
    st.sampled_from(["--steps", "--threshold", "--max-skip", "--retention", "--speedup"]),
    st.sampled_from(["0", "1", "2", "7", "30", "0.1", "2.5", "-1", "nan", "inf", "1e300", "x", ""]),
    max_size=3,
)


@cases(120)
@given(st.sampled_from(["flux", "wan2.2_t2v_14B", "none", "../flux", "[/]", "", "a\0", "x" * 5000]), options, st.booleans())
def test_any_call_of_plan_ends_with_a_plan_or_a_message(curve: str, given_options: dict[str, str], as_json: bool):
    arguments = ["plan", "--curve", curve, *(part for pair in given_options.items() for part in pair), *(["--json"] if as_json else [])]
    result = CliRunner().invoke(app, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code in (0, 1, 2) and (result.exit_code == 0 or result.stderr)
