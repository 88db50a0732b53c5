"""`magcache models` as a user calls it."""

from __future__ import annotations

import json

import pytest

from magcache import known_curves, load_curve
from magcache.comfyui.families import FAMILIES

from .calls import run


def rows() -> dict[str, dict[str, object]]:
    return {row["family"]: row for row in json.loads(run("models", "--json"))}


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
