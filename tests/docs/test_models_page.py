"""docs/models.md says what `magcache models` lists, and which settings come with the curves."""

from __future__ import annotations

import re

import pytest

from magcache import known_curves, load_curve, plan_by_threshold
from tools.models_page import PAGE, with_tables

TEXT = PAGE.read_text(encoding="utf-8")
SETTINGS = re.findall(r"^\| ([^|]+) \| `(\S+)` \| ([\d.]+) \| ([\d.]+) \| (\d+) \|$", TEXT, re.MULTILINE)
BY_NAME = {"flux_kontext_28steps", "hunyuan_video1.5_40steps", "qwen_image_50steps"}
"""Curves of a model under another number of steps; `known_curves` leaves them out."""


def test_the_tables_are_what_the_command_lists():
    assert TEXT.count("<!-- magcache models") == 2
    assert with_tables(TEXT) == TEXT, "run: python -m tools.models_page"


def test_the_settings_are_those_of_the_curves():
    shown = {name: (float(threshold), float(retention), int(most)) for _, name, threshold, retention, most in SETTINGS}
    presets = {name: load_curve(name).preset for name in shown}
    assert shown == {name: (preset.threshold, preset.retention, preset.max_skip) for name, preset in presets.items() if preset}


def test_every_curve_that_auto_recognises_has_its_settings_there():
    left_out = {"framepack", "framepack_f1", "omnigen2_edit", "omnigen2_t2i", "wan2.2_ti2v_5B_i2v"}
    assert [name for _, name, *_ in SETTINGS if name in left_out] == []
    assert {name for _, name, *_ in SETTINGS} == {*known_curves()} - left_out - BY_NAME


@pytest.mark.parametrize("page", ["models.md", "faq.md", "troubleshooting.md"])
def test_how_many_steps_of_flux_the_published_settings_compute(page: str):
    curve = load_curve("flux")
    assert curve.preset is not None
    plan = plan_by_threshold(curve, curve.sigmas, curve.preset)
    said = re.findall(r"(\d+) of (\d+) *\n? *steps", (PAGE.parent / page).read_text(encoding="utf-8"))
    assert (str(plan.nfe), str(plan.steps)) in said
