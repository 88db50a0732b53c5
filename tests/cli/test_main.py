"""The command line as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from magcache import known_curves, load_curve

from .calls import refused, run


def test_curves_lists_every_shipped_curve_with_its_recommended_settings():
    rows = json.loads(run("curves", "--json"))
    assert [row["name"] for row in rows] == known_curves()
    assert next(row for row in rows if row["name"] == "flux")["recommended"] == {"threshold": 0.24, "retention": 0.1, "max_skip": 5}
    assert all(name in run("curves") for name in known_curves())


@pytest.mark.parametrize("name", known_curves())
def test_plan_of_every_shipped_curve_saves_steps_with_the_recommended_settings(name: str):
    plan = json.loads(run("plan", "--curve", name, "--json"))
    assert len(plan["sigmas"]) == len(plan["decisions"]) == load_curve(name).steps
    assert plan["decisions"][0] == "compute"
    assert plan["nfe"] == plan["decisions"].count("compute") < plan["steps"]
    assert plan["speedup"] == pytest.approx(plan["steps"] / plan["nfe"])


@pytest.mark.parametrize("steps", [1, 2, 4, 8, 20, 100])
def test_plan_for_another_step_count_keeps_the_range_of_sigmas(steps: int):
    plan = json.loads(run("plan", "--curve", "flux", "--steps", str(steps), "--json"))
    sigmas = plan["sigmas"]
    assert len(sigmas) == steps and sigmas[0] == 1.0 and sigmas[-1] > 0
    assert sigmas == sorted(sigmas, reverse=True)


def test_plan_as_a_table_names_each_step():
    table = run("plan", "--curve", "flux", "--threshold", "0.1", "--max-skip", "1", "--retention", "0.5")
    assert table.count("reuse") == json.loads(
        run("plan", "--curve", "flux", "--threshold", "0.1", "--max-skip", "1", "--retention", "0.5", "--json")
    )["decisions"].count("reuse")


def test_plan_reads_a_curve_file(tmp_path: Path):
    load_curve("chroma").save(tmp_path / "mine.json")
    assert json.loads(run("plan", "--curve", str(tmp_path / "mine.json"), "--json"))["steps"] == 26


def test_a_threshold_below_zero_is_refused_in_one_line():
    assert "threshold is -1.0" in refused("plan", "--curve", "flux", "--threshold", "-1")


def test_an_unknown_curve_is_refused_and_the_known_ones_named():
    assert "wan2.1_t2v_14B" in refused("plan", "--curve", "sdxl")


def test_a_broken_curve_file_is_refused_by_name(tmp_path: Path):
    (tmp_path / "broken.json").write_text("{")
    assert "broken.json" in refused("plan", "--curve", str(tmp_path / "broken.json"))


def test_a_comfyui_folder_that_is_none_is_refused(tmp_path: Path):
    assert "is not a ComfyUI folder" in refused("demo", "--comfyui", str(tmp_path))
