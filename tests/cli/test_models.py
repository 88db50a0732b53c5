"""`magcache models` as a user calls it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from magcache import known_curves, load_curve
from magcache.comfyui.families import FAMILIES
from magcache.curves.family_names import FAMILY_NAMES
from magcache.diffusers.families import FAMILIES as OF_DIFFUSERS

from .calls import run


def rows(*options: str) -> dict[str, dict[str, Any]]:
    listed = json.loads(run("models", "--json", *options))
    found = {row["family"]: row for row in listed}
    assert len(found) == len(listed)
    return found


def test_every_family_is_listed_with_names_that_people_know():
    assert [*rows()] == [family.name for family in FAMILIES]
    assert [name for name, row in rows().items() if not row["models"] or not row["classes"]] == []
    for name, known in {
        "flux": "FLUX.2 dev",
        "lumina2": "Z-Image Turbo",
        "ltx2": "LTX-2",
        "unet": "SDXL",
        "wan": "Wan 2.2 Animate",
    }.items():
        assert known in rows()[name]["models"]


def test_every_shipped_curve_stands_beside_its_family():
    listed = [(name, row["family"]) for row in rows().values() for name in row["curves"]]
    assert sorted(listed) == sorted((name, load_curve(name).family) for name in known_curves())


def test_what_was_tested_and_what_is_reused_follow_from_the_family():
    found = rows()
    assert (found["flux"]["tested"], found["flux"]["streams"]) == ("tiny random weights + published curve", "1")
    assert (found["ltx2"]["tested"], found["ltx2"]["streams"]) == ("tiny random weights", "video, sound")
    assert {name for name, row in found.items() if row["streams"] == "whole prediction"} == {
        family.name for family in FAMILIES if not family.blocks
    }


def test_the_table_shows_the_same(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "250")
    table = run("models")
    assert [name for family in FAMILIES for name in family.classes if name not in table] == []
    assert [name for name in known_curves() if name not in table] == []
    assert all(text in table for text in ("FLUX.2 klein", "video, sound", "whole prediction", "+ published curve"))


# In diffusers


def test_every_class_of_diffusers_is_listed_once():
    listed = [name for row in rows("--diffusers").values() for name in row["classes"]]
    assert sorted(listed) == sorted(name for family in OF_DIFFUSERS for name in family.classes)
    assert [*rows("--diffusers")] == [*dict.fromkeys(family.name for family in OF_DIFFUSERS)]
    assert [name for name, row in rows("--diffusers").items() if not row["models"]] == []


def test_families_of_one_name_share_a_row_and_its_curves():
    found = rows("--diffusers")
    assert {"Lumina2Transformer2DModel", "ZImageTransformer2DModel"} <= {*found["lumina2"]["classes"]}
    assert {"Lumina Image 2.0", "Z-Image"} <= {*found["lumina2"]["models"]}
    assert {"flux", "flux_kontext"} <= {*found["flux"]["curves"]} and "framepack" in found["hunyuan_video"]["curves"]
    assert (found["flux"]["tested"], found["flux"]["streams"]) == ("tiny random weights + published curve", "1")
    assert (found["ltx2"]["tested"], found["ltx2"]["streams"]) == ("tiny random weights", "video, sound")


def test_a_family_of_both_hosts_has_one_name():
    """Curves go by it. A model that both of them run is listed under the same family."""
    there = {model: row["family"] for row in rows().values() for model in row["models"]}
    here = {model: row["family"] for row in rows("--diffusers").values() for model in row["models"]}
    both = there.keys() & here.keys()
    assert len(both) > 30 and {model: there[model] for model in both} == {model: here[model] for model in both}


def test_the_table_of_diffusers_shows_the_same(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "250")
    table = run("models", "--diffusers")
    assert [name for family in OF_DIFFUSERS for name in family.classes if name not in table] == []
    assert "the first run of their pipeline" in table and "MagCache Auto" not in table and "MagCache Auto" in run("models")


def test_the_list_does_not_need_diffusers():
    code = (
        "import sys; from magcache.cli.main import app; app(['models', '--diffusers'], standalone_mode=False); "
        "sys.exit(any(name.split('.')[0] in ('diffusers', 'transformers', 'comfy') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).returncode == 0


def test_the_names_of_families_that_need_no_torch_are_those_of_both_hosts():
    assert [*FAMILY_NAMES] == sorted({family.name for family in (*FAMILIES, *OF_DIFFUSERS)})
