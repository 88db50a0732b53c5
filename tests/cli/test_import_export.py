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
    run("import", str(text), "--name", "mine", "--family", curve.family, "--shift", "1.15", "--out", str(made), *option)
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


@pytest.mark.parametrize("name", ["../mine", "/elsewhere/mine", "C:mine", "nul", "私のカーブ"])
def test_a_name_cannot_lead_out_of_the_folder(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    inner = tmp_path / "inner"
    inner.mkdir()
    monkeypatch.chdir(inner)
    Path("list.txt").write_text("[1.0, 1.2, 0.9]")
    run("import", "list.txt", "--name", name, "--family", "flux")
    (made,) = inner.glob("*.json")
    assert MagnitudeCurve.load(made).name == name and made.stem not in ("nul", "C:mine")
    assert len([*tmp_path.rglob("*")]) == 3


@pytest.mark.parametrize(
    ("name", "message"), [("auto", "cannot name a curve"), ("", "cannot name a curve"), ("Flux", "comes with MagCache")]
)
def test_a_name_that_is_taken_is_refused(name: str, message: str, tmp_path: Path):
    (tmp_path / "list.txt").write_text("[1.0, 1.2, 0.9]")
    assert message in refused("import", str(tmp_path / "list.txt"), "--name", name, "--family", "flux")


def test_a_file_that_cannot_be_read_or_written_is_refused_in_one_line(tmp_path: Path):
    text = tmp_path / "list.txt"
    text.write_text("[1.0, 1.2, 0.9]")
    mine = ("--name", "mine", "--family", "flux")
    assert "There is no file" in refused("import", str(tmp_path / "missing.txt"), *mine, status=2)
    assert "is a folder, not a file" in refused("import", str(tmp_path), *mine, status=2)
    assert "could not be written" in refused("import", str(text), *mine, "--out", str(tmp_path))
    assert "could not be written" in refused("export", "flux", "--format", "list", "--out", str(text / "below"))
    assert "shift is -1.0" in refused("import", str(text), *mine, "--shift", "-1", status=2)
    assert "shift is -1.0" in refused("import", str(text), "--name", "mine", "--family", "wan", "--shift", "-1")
    assert [path.name for path in tmp_path.iterdir()] == ["list.txt"]


@pytest.mark.parametrize("given", ["[red]", "x" * 5000, "a\0b", "\udcff"], ids=["markup", "long", "NUL", "not UTF-8"])
def test_odd_names_of_curves_are_refused_as_any_other(given: str):
    assert "neither a curve file nor a known curve" in refused("plan", "--curve", given, status=2)
    assert "neither a curve file nor a known curve" in refused("export", given, "--format", "list", status=2)


@pytest.mark.parametrize("given", ["[/red]", "x/" + "y" * 5000, "a\0b/c", "\udcff.json"], ids=["markup", "long", "NUL", "not UTF-8"])
def test_odd_paths_of_curves_are_refused_as_any_other(given: str):
    message = refused("plan", "--curve", given, status=2)
    assert "There is no file" in message or "cannot be a file" in message


# What the list does not tell


def imported(tmp_path: Path, ratios: str, family: str, *arguments: str) -> tuple[str, MagnitudeCurve]:
    """What `import` prints for these ratios, and the curve."""
    (tmp_path / "list.txt").write_text(ratios)
    out = tmp_path / "made.json"
    text = run("import", str(tmp_path / "list.txt"), "--name", "mine", "--family", family, "--out", str(out), *arguments)
    return text, MagnitudeCurve.load(out)


def not_imported(tmp_path: Path, ratios: str, *arguments: str) -> str:
    (tmp_path / "list.txt").write_text(ratios)
    message = refused("import", str(tmp_path / "list.txt"), "--name", "mine", "--out", str(tmp_path / "made.json"), *arguments, status=2)
    assert not (tmp_path / "made.json").exists()
    return message


def test_flux_gets_the_shift_that_comfyui_gives_it(tmp_path: Path):
    """An exponent, as in ComfyUI's node and in diffusers. The shipped curve was measured with the same."""
    ratios = json.dumps(load_curve("flux").ratios["cond"])
    text, curve = imported(tmp_path, ratios, "flux")
    assert "ComfyUI's shift for FLUX.1, 1.15, as --shift is left out" in text and "as detected" in text
    assert curve.sigmas == pytest.approx(load_curve("flux").sigmas, abs=1e-5)
    text, curve = imported(tmp_path, ratios, "flux", "--shift", "0.5")
    assert "ModelSamplingFlux's shift 0.5" in text and curve.sigmas != pytest.approx(load_curve("flux").sigmas, abs=1e-3)
    assert "It replaces the file that was there." in text


@pytest.mark.parametrize(("family", "known"), [("wan", "measured with 3, 5, 8, 12, 16"), ("sd3", "ModelSampling node")])
def test_without_a_shift_only_flux_is_imported(family: str, known: str, tmp_path: Path):
    message = not_imported(tmp_path, "[1.0, 1.0, 0.9, 0.8]", "--family", family)
    assert "--shift is missing" in message and known in message


@pytest.mark.parametrize(
    ("family", "said"), [("Flux", "Did you mean flux"), ("flx", "Did you mean flux"), ("Z-Image", "Known: ace_step, ")]
)
def test_an_unknown_family_is_refused(family: str, said: str, tmp_path: Path):
    message = not_imported(tmp_path, "[1.0, 1.2]", "--family", family)
    assert f"There is no family '{family}'" in message and said in message and "magcache models" in message


@pytest.mark.parametrize(
    ("ratios", "family", "read"),
    [("[1.0, 1.0, 0.9, 0.8]", "flux", "2 ratios a step"), ("[1.0, 0.9, 0.8]", "wan", "one ratio a step")],
)
def test_other_branches_than_the_familys_need_a_word(ratios: str, family: str, read: str, tmp_path: Path):
    message = not_imported(tmp_path, ratios, "--family", family, "--shift", "1")
    assert f"reads as {read}" in message and "--branches cond or --branches interleaved" in message
    text, curve = imported(tmp_path, ratios, family, "--shift", "1", "--branches", "cond")
    assert "as given" in text and list(curve.ratios) == ["cond"]


def test_branches_that_the_file_contradicts_are_refused(tmp_path: Path):
    message = not_imported(tmp_path, "[[1.0, 0.9], [1.0, 0.8]]", "--family", "wan", "--shift", "5", "--branches", "cond")
    assert "--branches cond and the file contradict each other" in message


def test_a_family_without_a_curve_takes_either(tmp_path: Path):
    assert len(imported(tmp_path, "[1.0, 1.0, 0.9, 0.8]", "sd3", "--shift", "3")[1].ratios) == 2
    assert len(imported(tmp_path, "[1.0, 0.9, 0.8]", "sd3", "--shift", "3")[1].ratios) == 1
