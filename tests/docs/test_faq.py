"""docs/faq.md: its figures are what the library and the measurements give, and each question can be reached from its head."""

from __future__ import annotations

import json
import re

from magcache import load_curve, plan_speedup
from magcache.curves.ratio_lists import flow_sigmas
from magcache.planning.fewer_steps import SHORT_RUN
from magcache.runtime.modes import SpeedupMode
from magcache.settings import FEW_STEPS

from .snippets import DOCS
from .test_links import anchors

PAGE = DOCS / "faq.md"
TEXT = PAGE.read_text(encoding="utf-8")
GPU = json.loads((DOCS.parent / "benchmarks" / "results" / "gpu.json").read_text(encoding="utf-8"))["flux"]


def test_the_computed_steps_are_those_of_the_plan():
    curve = load_curve("wan2.1_t2v_14B")
    rows = re.search(r"\| steps \|([ \d|]+)\|\n[| -]+\n\| computed \|([ \d|]+)\|", TEXT)
    assert rows is not None and "2×, for example (sigmas with shift 5)" in TEXT
    steps, computed = ([int(cell) for cell in row.split("|")] for row in rows.groups())
    assert computed == [plan_speedup(curve, flow_sigmas(count, 5.0), SpeedupMode(0).speedup or 2.0).nfe for count in steps]


def test_few_steps_are_those_that_the_code_takes_for_few():
    assert f"| fewer than {FEW_STEPS} |" in TEXT and f"| {FEW_STEPS} to {SHORT_RUN - 1} |" in TEXT and f"| {SHORT_RUN} or more |" in TEXT


def test_the_memory_of_flux_is_what_was_measured():
    size = GPU["dimensions"]
    tokens = size["latent"][2] * size["latent"][3] // size["patch_size"] ** 2
    measured = GPU["figures"]["eager/steps"]["on_device"]["residual_bytes"]
    assert tokens * size["hidden_size"] * 2 == measured
    assert f"{tokens:,} × {size['hidden_size']:,} × 2 = {measured / 1e6:.0f} MB" in " ".join(TEXT.split())


def test_the_memory_of_wan_is_the_same_sum():
    frames, height, width = (81 - 1) // 4 + 1, 720 // 16, 1280 // 16
    assert f"{frames * height * width:,} × 5,120 × 2 = {frames * height * width * 5120 * 2 / 1e6:.0f} MB" in " ".join(TEXT.split())


def test_the_time_of_a_skipped_step_is_what_was_measured():
    steps = GPU["figures"]["eager/steps"]["on_device"]
    assert f"{100 * steps['skipped_step_seconds'] / steps['full_step_seconds']:.1f} % of a full step" in TEXT


def test_each_question_can_be_reached_from_the_head():
    head = TEXT[: TEXT.index("\n## ")]
    assert set(re.findall(r"\(#([^)]+)\)", head)) == anchors(PAGE) - {"questions-and-answers"}
