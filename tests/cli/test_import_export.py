"""Importing and exporting lists of ratios, as a user does it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from magcache import MagnitudeCurve, load_curve

from .calls import refused, run


@pytest.mark.parametrize(("name", "branches"), [("flux", "cond"), ("wan2.1_t2v_14B", "interleaved")])
@pytest.mark.parametrize("explicit", [False, True])
def test_import_undoes_export(name: str, branches: str, explicit: bool, tmp_path: Path):
    text, made, curve = tmp_path / "list.txt", tmp_path / "made.json", load_curve(name)
    assert run("export", name, "--format", "list", "--out", str(text)) == ""
    option = ["--branches", branches] if explicit else []
    run("import", str(text), "--name", "mine", "--family", curve.family, "--shift", "5", "--out", str(made), *option)
    assert MagnitudeCurve.load(made).ratios == curve.ratios
    assert run("export", str(made), "--format", "list") == text.read_text() == run("export", name, "--format", "list")
    assert json.loads(run("plan", "--curve", str(made), "--json"))["steps"] == curve.steps


def test_the_curve_file_is_named_after_the_curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("list.txt").write_text("[1.0, 1.2, 0.9]")
    assert "mine.json: 3 steps, cond" in run("import", "list.txt", "--name", "mine", "--family", "flux")
    assert MagnitudeCurve.load("mine.json").ratios == {"cond": (1.0, 1.2, 0.9)}


def test_export_for_another_number_of_steps():
    assert len(json.loads(run("export", "flux", "--format", "diffusers", "--steps", "10"))) == 10
    table = run("export", "flux", "--format", "wanvideowrapper", "--steps", "10")
    assert table.startswith('"flux": np.array([1.0, 1.0, ') and table.count(",") == 20


def test_export_takes_the_variant_measured_nearest_to_the_steps():
    exported = json.loads(run("export", "flux_kontext", "--format", "list", "--steps", "28"))
    assert tuple(exported) == load_curve("flux_kontext", 28).ratios["cond"]


@pytest.mark.parametrize("name", ["../mine", "/elsewhere/mine", "C:mine", "nul", "auto", ""])
def test_a_name_cannot_lead_out_of_the_folder(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    inner = tmp_path / "inner"
    inner.mkdir()
    monkeypatch.chdir(inner)
    Path("list.txt").write_text("[1.0, 1.2, 0.9]")
    assert "cannot name a curve" in refused("import", "list.txt", "--name", name, "--family", "flux")
    assert [path.name for path in tmp_path.rglob("*")] == ["inner", "list.txt"]


def test_a_file_that_cannot_be_read_or_written_is_refused_in_one_line(tmp_path: Path):
    text = tmp_path / "list.txt"
    text.write_text("[1.0, 1.2, 0.9]")
    mine = ("--name", "mine", "--family", "flux")
    assert "cannot be read" in refused("import", str(tmp_path / "missing.txt"), *mine)
    assert "could not be written" in refused("import", str(text), *mine, "--out", str(tmp_path))
    assert "could not be written" in refused("export", "flux", "--format", "list", "--out", str(text / "below"))
    assert "shift is -1.0" in refused("import", str(text), *mine, "--shift", "-1")
    assert [path.name for path in tmp_path.iterdir()] == ["list.txt"]


@pytest.mark.parametrize("given", ["[/red]", "x" * 5000, "a\0b", "\udcff"], ids=["markup", "long", "NUL", "not UTF-8"])
def test_odd_names_of_curves_are_refused_as_any_other(given: str):
    assert "neither a curve file nor a known curve" in refused("plan", "--curve", given)
    assert "neither a curve file nor a known curve" in refused("export", given, "--format", "list")
