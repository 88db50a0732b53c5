"""The shipped curves: complete, exact on their own grid, and true on the grids of their relatives."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from magcache import MagnitudeCurve, ThresholdSettings, known_curves, load_curve, plan_by_threshold
from magcache.curves import shipped
from magcache.curves.propagation import measured
from magcache.errors import UnknownCurveError

FILES = sorted(Path(shipped.__file__).parent.glob("*.json"))
CURVES = [MagnitudeCurve.load(path) for path in FILES]
each_curve = pytest.mark.parametrize("curve", CURVES, ids=lambda curve: curve.name)

KNOWN = [
    "chroma",
    "flux",
    "flux_kontext",
    "framepack",
    "framepack_f1",
    "hunyuan_video",
    "hunyuan_video1.5",
    "hunyuan_video_544p",
    "omnigen2_edit",
    "omnigen2_t2i",
    "qwen_image",
    "qwen_image_edit",
    "wan2.1_i2v_480p_14B",
    "wan2.1_i2v_720p_14B",
    "wan2.1_t2v_1.3B",
    "wan2.1_t2v_14B",
    "wan2.1_vace_1.3B",
    "wan2.1_vace_14B",
    "wan2.2_i2v_14B",
    "wan2.2_t2v_14B",
    "wan2.2_ti2v_5B",
    "wan2.2_ti2v_5B_i2v",
]
VARIANTS = ["flux_kontext_28steps", "hunyuan_video1.5_40steps", "qwen_image_50steps"]


def test_known_curves():
    assert known_curves() == KNOWN
    assert sorted(path.stem for path in FILES) == sorted(KNOWN + VARIANTS)


@pytest.mark.parametrize(("path", "curve"), zip(FILES, CURVES, strict=True), ids=lambda value: getattr(value, "stem", None))
def test_is_complete(path: Path, curve: MagnitudeCurve):
    assert curve.name == path.stem
    assert curve.family in {"chroma", "flux", "hunyuan_video", "omnigen2", "qwen_image", "wan"}
    assert {"source", "paper", "steps"} <= set(curve.provenance)
    assert curve.provenance["steps"] == curve.steps
    assert isinstance(curve.preset, ThresholdSettings)
    assert set(curve.ratios) in ({"cond"}, {"cond", "uncond"}, {"cond", "uncond", "ref"})
    assert all(ratios[0] == 1 for ratios in curve.ratios.values())
    assert 0 < curve.sigmas[-1] < curve.sigmas[0] <= 1


@each_curve
def test_own_grid_gives_the_published_ratios(curve: MagnitudeCurve):
    for branch, ratios in curve.ratios.items():
        for grid in (curve.sigmas, np.float32(curve.sigmas).tolist()):
            got = curve.ratios_at(grid, branch)
            assert len(got) == curve.steps
            assert all(got[step] == ratios[step] for step in range(curve.steps) if step not in curve.masked)


@each_curve
def test_preset_saves_work(curve: MagnitudeCurve):
    assert curve.preset is not None
    plan = plan_by_threshold(curve, curve.sigmas, curve.preset)
    assert 1.2 < plan.speedup < 3.3


@pytest.mark.parametrize(("name", "step"), [("wan2.2_t2v_14B", 26), ("wan2.2_i2v_14B", 15)])
def test_expert_switch_does_not_show(name: str, step: int):
    curve = load_curve(name)
    assert curve.masked == (step,)
    for branch, ratios in curve.ratios.items():
        before, after = ratios[step - 1], ratios[step + 1]
        assert ratios[step] < 0.95 * min(before, after), "there is no dip to mask"
        own = curve.ratios_at(curve.sigmas, branch)
        assert min(before, after) <= own[step] <= max(before, after)
        assert own[step] == pytest.approx(math.sqrt(before * after))
        halves = curve.ratios_at(curve.sigmas[::2], branch)
        assert halves[(step + 1) // 2] > 0.98 * before * after
        fine = [high + part * (low - high) for high, low in pairwise(curve.sigmas) for part in (0, 0.25, 0.5, 0.75)]
        around = curve.ratios_at(fine, branch)[4 * step - 8 : 4 * step + 8]
        assert min(around) > min(before, after)


@pytest.mark.parametrize(
    ("source", "target", "bound"),
    [
        ("wan2.1_i2v_720p_14B", "wan2.1_i2v_480p_14B", 0.0025),
        ("wan2.1_t2v_1.3B", "wan2.1_vace_1.3B", 0.0012),
        ("qwen_image_50steps", "qwen_image", 0.015),
    ],
)
def test_a_curve_predicts_its_relatives(source: str, target: str, bound: float):
    """Mean |Δ log γ| of what a list of another shift, size or step count foretells, over the steps that may be skipped."""
    curve, measured = load_curve(source), load_curve(target)
    retained = measured.steps // 5
    for branch, ratios in measured.ratios.items():
        foretold = curve.ratios_at(measured.sigmas, branch)
        misses = [abs(math.log(guess) - math.log(seen)) for guess, seen in zip(foretold, ratios, strict=True)][retained:]
        assert sum(misses) / len(misses) <= bound, branch


@pytest.mark.parametrize(
    ("name", "steps", "chosen"),
    [
        ("hunyuan_video1.5", None, 20),
        ("hunyuan_video1.5", 8, 20),
        ("hunyuan_video1.5", 20, 20),
        ("hunyuan_video1.5", 21, 40),
        ("hunyuan_video1.5", 40, 40),
        ("hunyuan_video1.5", 100, 40),
        ("flux_kontext", None, 20),
        ("flux_kontext", 20, 20),
        ("flux_kontext", 21, 28),
        ("flux_kontext", 28, 28),
        ("flux_kontext", 30, 28),
        ("qwen_image", None, 40),
        ("qwen_image", 40, 40),
        ("qwen_image", 41, 50),
        ("qwen_image", 60, 50),
        ("flux", 4, 28),
        ("flux", 200, 28),
    ],
)
def test_load_curve_chooses_by_step_count(name: str, steps: int | None, chosen: int):
    curve = load_curve(name, steps)
    assert curve.steps == chosen
    assert curve.name in (name, f"{name}_{chosen}steps")


@pytest.mark.parametrize(("steps", "chosen"), [(8, 20), (20, 20), (21, 30), (30, 30), (31, 40), (40, 40), (41, 40)])
def test_several_variants(steps: int, chosen: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for count in (20, 30, 40):
        name = "mine" if count == 20 else f"mine_{count}steps"
        sigmas = tuple(1 - step / count for step in range(count))
        MagnitudeCurve(name=name, family="flux", sigmas=sigmas, ratios={"cond": (1.0,) * count}).save(tmp_path / f"{name}.json")
    monkeypatch.setattr(shipped, "_FOLDER", tmp_path)
    assert known_curves() == ["mine"]
    assert load_curve("mine", steps).steps == chosen


def test_variants_load_by_their_own_name():
    for name in VARIANTS:
        assert load_curve(name, steps=5).name == name


@pytest.mark.parametrize("name", ["fluxx", "", "auto", "../curves/flux", "flux.json", "FLUX"])
def test_unknown_curve_tells_the_known_ones(name: str):
    with pytest.raises(UnknownCurveError) as error:
        load_curve(name)
    assert repr(name) in str(error.value)
    for known in KNOWN:
        assert known in str(error.value)


def test_the_propagation_of_a_model_is_known_by_its_curve_or_its_fingerprint():
    assert shipped.known_propagation("flux", "0" * 16) == load_curve("flux").propagation
    assert shipped.known_propagation(None, "0" * 16) is None
    for path in (Path(shipped.__file__).parent / "propagations").glob("*.json"):
        found = shipped.known_propagation(None, json.loads(path.read_text())["fingerprint"])
        assert found is not None and found.source == "measured"
        assert not found.trials or found == measured(found.trials)
