"""Lists of ratios as others publish them, to curves and back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from magcache import known_curves, load_curve
from magcache.curves.curve import MagnitudeCurve
from magcache.curves.ratio_lists import MAX_BYTES, Form, Layout, export_ratios, flow_sigmas, import_curve
from magcache.errors import CurveError, MagCacheError, SettingsError

COND = (1.0, 1.25, 0.9, 0.8)
UNCOND = (1.0, 1.2, 0.95, 0.75)
BOTH = {"cond": COND, "uncond": UNCOND}
INTERLEAVED = "1.25, 1.2, 0.9, 0.95, 0.8, 0.75"


def read(folder: Path, text: str, layout: Layout | None = None, name: str = "mine", shift: float = 1.0) -> MagnitudeCurve:
    path = folder / "list.txt"
    path.write_text(text, encoding="utf-8")
    return import_curve(path, name=name, family="flux", shift=shift, layout=layout)


@pytest.mark.parametrize(
    "text",
    [
        "[1.0, 1.25, 0.9, 0.8]",
        "[1, 1.25, 9e-1, .8,]",
        "[[1.0, 1.25, 0.9, 0.8]]",
        "np.array([1.0, 1.25, 0.9, 0.8])",
        "array([1.  , 1.25, 0.9 , 0.8 ], dtype=float32)",
        "RATIOS = torch.tensor(\n    [1.0]\n    + [\n        1.25,\n        0.9,  # a turn\n        0.8,\n    ]\n)\nother = src[3]",
        "mag_ratios = np.array([1.0]*1 + [1.25, 0.9, 0.8])\nsizes: List[int] = [512]",
        '{"threshold": 0.06, "mag_ratios": [1.0, 1.25, 0.9, 0.8], "size": [512, 512]}',
        '{"cond": [1.0, 1.25, 0.9, 0.8], "std": [0.0, 0.1, 0.1, 0.1]}',
        "mag_ratios\n[1.0, 1.25, 0.9, 0.8]\nmag_ratio_std\n[0.0, 0.1, 0.1, 0.2]\nmag_cos_dist\n[0.0, 0.1, 0.1, 0.2]\n",
        'table = {"theirs": np.array([1.0, 2.0]), "mine": np.array([1.0, 1.25, 0.9, 0.8])}',
        "\ufeff[1.0, 1.25, 0.9, 0.8]",
    ],
)
def test_reads_one_branch_from_whatever_is_around_it(text: str, tmp_path: Path):
    curve = read(tmp_path, text)
    assert curve.ratios == {"cond": COND}
    assert (curve.name, curve.family, curve.sigmas) == ("mine", "flux", (1.0, 0.75, 0.5, 0.25))


@pytest.mark.parametrize(
    "text",
    [
        f"[1.0, 1.0, {INTERLEAVED}]",
        f'"14B": np.array([1.0]*2+[{INTERLEAVED}]),',
        f"[[1.0, {', '.join(map(str, COND[1:]))}], [1.0, {', '.join(map(str, UNCOND[1:]))}]]",
        json.dumps(BOTH),
        json.dumps({"magcache_ratios": [COND, UNCOND], "size": [1, 2]}),
    ],
)
def test_reads_two_branches(text: str, tmp_path: Path):
    assert read(tmp_path, text).ratios == BOTH


@pytest.mark.parametrize(
    ("text", "layout", "ratios"),
    [
        ("[1.25, 0.9, 0.8]", Layout.COND, {"cond": COND}),
        (f"[{INTERLEAVED}]", Layout.INTERLEAVED, BOTH),
        ("[1.0, 1.2, 0.9, 0.95]", Layout.INTERLEAVED, {"cond": (1.0, 1.0, 0.9), "uncond": (1.0, 1.2, 0.95)}),
        (f"[{list(COND[1:])}, {list(UNCOND[1:])}]", None, BOTH),
        ("[1.0, 1.0, 0.9, 0.8]", Layout.COND, {"cond": (1.0, 1.0, 0.9, 0.8)}),
        ("[1.0, 1.0, 0.9]", None, {"cond": (1.0, 1.0, 0.9)}),
    ],
)
def test_adds_the_first_step_where_a_calibration_left_it_out(
    text: str, layout: Layout | None, ratios: dict[str, tuple[float, ...]], tmp_path: Path
):
    assert read(tmp_path, text, layout).ratios == ratios


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no list of numbers"),
        ("[1.0]", "no list of numbers"),
        ("[1.0 1.2 0.9]", "comma after each number"),
        ("[1.0, nan, 0.9]", "no list of numbers"),
        ("[1.0, x, 0.9]", "no list of numbers"),
        ("[open('x'), 1.0]", "no list of numbers"),
        ("\n[1.0, 007]", "line 2"),
        ("[1.0]*9999 + [1.0]*9999 + [0.9]*3", "more than 20,000 numbers"),
        ("[1.0, " + "9" * 5000 + "]", "cannot be read"),
        ("[[1.0, 1.1], 0.9]", "no list of numbers"),
        ("[1.0, 1.0]*2 + theirs", "no list of numbers"),
        ("theirs + [1.0, 1.1]", "no list of numbers"),
        ("[[1.0, 1.1], [1.0, 1.1], [1.0, 1.1]]", "3 rows"),
        ("[1.25, 0.9, 0.8]", "begins with 1.25"),
        ("a = [1.0, 1.1]\nb = [1.0, 1.2]", "2 lists of numbers"),
        ("[1.0, 0.0]", "0.0 at step 1"),
        ("[1.0, 1e999]", "inf at step 1"),
        ("[1.0, -0.9]", "-0.9 at step 1"),
        ('{"cond": [1.0, 1.1], "uncond": [1.0, 1.1, 1.2]}', "3 values for 2 sigmas"),
        (json.dumps(load_curve("flux").to_json()), "curve already"),
    ],
)
def test_says_what_is_wrong_with_a_file(text: str, complaint: str, tmp_path: Path):
    with pytest.raises(CurveError, match=complaint) as error:
        read(tmp_path, text)
    assert len(str(error.value)) < 1000


def test_an_odd_list_is_not_interleaved(tmp_path: Path):
    with pytest.raises(CurveError, match="5 numbers"):
        read(tmp_path, "[1, 1, 1.1, 1.1, 1.2]", Layout.INTERLEAVED)


def test_a_huge_file_is_refused_before_it_is_read(tmp_path: Path):
    path = tmp_path / "huge.txt"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(CurveError, match=f"at most {MAX_BYTES:,} are read"):
        import_curve(path, name="mine", family="flux")


def test_nothing_in_a_file_is_executed(tmp_path: Path):
    mark = tmp_path / "mark"
    code = f"__import__('pathlib').Path({str(mark)!r}).touch()"
    assert read(tmp_path, f"{code}\nr = [{code}, 1.0]\nratios = np.array([1.0, 1.25, 0.9, 0.8] if {code} else [])").ratios == {"cond": COND}
    assert not mark.exists()


def test_provenance_says_that_the_sigmas_are_reconstructed(tmp_path: Path):
    provenance = read(tmp_path, "[1.0, 1.25, 0.9, 0.8]", shift=3.0).provenance
    assert provenance["shift"] == 3.0 and provenance["steps"] == 4
    assert "list.txt" in provenance["source"] and "reconstructed, not measured" in provenance["sigmas"]


def test_flow_sigmas():
    assert flow_sigmas(4, 1.0) == (1.0, 0.75, 0.5, 0.25)
    assert flow_sigmas(4, 3.0) == pytest.approx((1.0, 0.9, 0.75, 0.5))


@pytest.mark.parametrize("shift", [0.0, -1.0, 1000.0, float("nan"), float("inf")])
def test_refuses_an_impossible_shift(shift: float):
    with pytest.raises(SettingsError, match="shift"):
        flow_sigmas(4, shift)


@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize("name", [name for name in known_curves() if name != "omnigen2_edit"])
def test_every_shipped_curve_comes_back_from_every_form(name: str, form: Form, tmp_path: Path):
    curve = load_curve(name)
    again = read(tmp_path, export_ratios(curve, form), name=name).ratios
    if form is Form.DIFFUSERS:
        assert again == {"cond": curve.ratios["cond"]}
    elif form is Form.WANVIDEOWRAPPER:
        assert again == {"cond": curve.ratios["cond"], "uncond": curve.ratios.get("uncond", curve.ratios["cond"])}
    else:
        assert again == curve.ratios


def test_a_third_branch_fits_into_json_only(tmp_path: Path):
    curve = load_curve("omnigen2_edit")
    assert read(tmp_path, export_ratios(curve, Form.JSON)).ratios == curve.ratios
    for form in (Form.LIST, Form.DIFFUSERS, Form.WANVIDEOWRAPPER):
        with pytest.raises(MagCacheError, match="'json'"):
            export_ratios(curve, form)


@pytest.mark.parametrize("steps", [2, 14, 28, 100])
def test_other_step_counts_are_resampled_over_sigma(steps: int):
    curve = load_curve("flux")
    assert tuple(json.loads(export_ratios(curve, Form.DIFFUSERS, steps))) == curve.ratios_at(curve.sigmas_for(steps), "cond")


def test_diffusers_takes_the_exported_list():
    mag_cache = pytest.importorskip("diffusers.hooks.mag_cache")
    ratios = json.loads(export_ratios(load_curve("flux"), Form.DIFFUSERS))
    assert mag_cache.MagCacheConfig(mag_ratios=ratios).mag_ratios.tolist() == mag_cache.FLUX_MAG_RATIOS.tolist()


def test_the_list_in_diffusers_own_source_is_the_shipped_curve():
    mag_cache = pytest.importorskip("diffusers.hooks.mag_cache")
    assert import_curve(mag_cache.__file__, name="flux", family="flux").ratios == load_curve("flux").ratios
