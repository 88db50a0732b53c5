"""`magcache plan` as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from magcache import euler_influence, known_curves, load_curve, plan_budget, predicted_error
from magcache.settings import ThresholdSettings

from .calls import refused, run


def plan(*arguments: str) -> dict[str, Any]:
    return json.loads(run("plan", *arguments, "--json"))


@pytest.mark.parametrize("name", known_curves())
def test_every_shipped_curve_saves_steps_with_its_recommended_settings(name: str):
    found = plan("--curve", name)
    assert len(found["sigmas"]) == len(found["decisions"]) == len(found["errors"]) == load_curve(name).steps
    assert found["decisions"][0] == "compute"
    assert found["nfe"] == found["decisions"].count("compute") < found["steps"]
    assert found["speedup"] == pytest.approx(found["steps"] / found["nfe"])


@pytest.mark.parametrize("steps", [1, 2, 4, 8, 20, 100])
def test_another_step_count_keeps_the_range_of_sigmas(steps: int):
    sigmas = plan("--curve", "flux", "--steps", str(steps))["sigmas"]
    assert len(sigmas) == steps and sigmas[0] == 1.0 and sigmas[-1] > 0
    assert sigmas == sorted(sigmas, reverse=True)


def test_settings_are_as_given_else_as_recommended_else_the_defaults(tmp_path: Path):
    names, defaults = ("threshold", "max_skip", "retention"), ThresholdSettings()
    found = plan("--curve", "flux", "--max-skip", "1")
    assert [found[name] for name in names] == [0.24, 1, 0.1]
    document = load_curve("flux").to_json()
    del document["preset"]
    (tmp_path / "mine.json").write_text(json.dumps(document))
    found = plan("--curve", str(tmp_path / "mine.json"), "--retention", "0.5")
    assert [found[name] for name in names] == [defaults.threshold, defaults.max_skip, 0.5]


def test_a_speedup_is_planned_as_for_euler():
    curve = load_curve("flux")
    found = plan("--curve", "flux", "--speedup", "2")
    expected = plan_budget(curve, curve.sigmas, nfe=14, influence=euler_influence(curve.sigmas))
    assert found["decisions"] == expected.decisions and found["errors"] == list(expected.errors)
    assert found["target"] == 2 and found["nfe"] == 14
    assert found["predicted_error"] == predicted_error(curve, curve.sigmas, expected.computed)
    assert found["early_errors"] == {"grow": True, "source": "published plans"}


def test_any_plan_can_be_looked_at():
    steps = "0,1,2,4,6,11,24,41,49"
    found = plan("--curve", "flux", "--steps", "50", "--computed", steps)
    curve = load_curve("flux", 50)
    computed = [int(step) for step in steps.split(",")]
    assert [step for step, decision in enumerate(found["decisions"]) if decision == "compute"] == computed
    assert found["predicted_error"] == predicted_error(curve, curve.sigmas_for(50), computed) > 0
    assert "predicted error of the whole run" in run("plan", "--curve", "flux", "--steps", "50", "--computed", steps)


def test_the_table_has_a_line_for_each_step():
    arguments = ("--curve", "flux", "--threshold", "0.1", "--max-skip", "1", "--retention", "0.5")
    table, found = run("plan", *arguments), plan(*arguments)
    assert table.count("reuse") == found["decisions"].count("reuse") > 0
    assert table.count("compute") == found["nfe"] + 1  # "14 of 28 steps computed" is the last line.


def test_a_curve_file_is_read(tmp_path: Path):
    load_curve("chroma").save(tmp_path / "mine.json")
    assert plan("--curve", str(tmp_path / "mine.json"))["steps"] == 26


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--curve", "flux", "--computed", "0,x,4"), "expected whole numbers with commas between them"),
        (("--curve", "flux", "--computed", "1,2,27"), "expected steps from 0 to 27, step 0 among them"),
        (("--curve", "flux", "--computed", "0,2,28"), "expected steps from 0 to 27, step 0 among them"),
        (("--threshold", "-1"), "threshold is -1.0"),
        (("--speedup", "0.5"), "speed-up is 0.5"),
        (("--steps", "6", "--speedup", "3"), "the nearest that can is"),
    ],
    ids=["words", "without step 0", "beyond the end", "threshold", "speed-up below 1", "too few steps"],
)
def test_impossible_settings_are_refused_in_one_line(arguments: tuple[str, ...], message: str):
    assert message in refused("plan", "--curve", "flux", *arguments)


def test_an_unknown_curve_is_refused_and_the_known_ones_named():
    assert "wan2.1_t2v_14B" in refused("plan", "--curve", "sdxl", status=2)
    assert "Did you mean flux" in refused("plan", "--curve", "FLUX", status=2)


def test_a_curve_file_that_is_not_there_is_called_missing(tmp_path: Path):
    assert f"There is no file '{tmp_path / 'mine.json'}'" in refused("plan", "--curve", str(tmp_path / "mine.json"), status=2)
    assert "There is no file 'mine.json'. The current folder is" in refused("plan", "--curve", "mine.json", status=2)
    assert "is a folder, not a file" in refused("plan", "--curve", str(tmp_path), status=2)


@pytest.mark.parametrize(
    "options",
    [
        ("--speedup", "2", "--threshold", "0.1"),
        ("--speedup", "2", "--max-skip", "3"),
        ("--speedup", "2", "--retention", "0.2"),
        ("--speedup", "2", "--computed", "0,1,2"),
        ("--computed", "0,1,2", "--threshold", "0.1"),
        ("--computed", "0,1,2", "--max-skip", "3"),
        ("--computed", "0,1,2", "--retention", "0.2"),
    ],
)
def test_options_that_contradict_each_other_are_refused_by_name(options: tuple[str, ...]):
    message = refused("plan", "--curve", "flux", *options, status=2)
    assert "contradict each other" in message and all(name in message for name in options[::2])


def test_a_broken_curve_file_is_refused_by_name(tmp_path: Path):
    (tmp_path / "broken.json").write_text("{")
    assert "broken.json" in refused("plan", "--curve", str(tmp_path / "broken.json"))
