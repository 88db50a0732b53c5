"""Nodes open wide enough for what they show and their texts and figures fit: in both designs, on old and new web pages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect

from magcache.server.launch import FLOOR, NEWEST

from .dropped import report_and_compare
from .frontend import Frontend

STEPS = 12
DESIGNS = {"classic": 1000, "nodes_2": 2000}
"""Each with a seed."""
LEAST_WIDTH = {"MagCacheAuto": 300, "MagCache": 300, "MagCacheCalibration": 300, "MagCacheCompare": 450, "MagCacheReport": 450}

pytestmark = pytest.mark.parametrize("design", DESIGNS)
all_pages = pytest.mark.parametrize("server", [NEWEST, "newest page", FLOOR], indirect=True, scope="session")
running_pages = pytest.mark.parametrize("server", [NEWEST, "newest page"], indirect=True, scope="session")
"""Those that get ready without the internet; the oldest one never lets anybody press Run."""


@pytest.fixture(autouse=True)
def shown_in(frontend: Frontend, design: str) -> Iterator[None]:
    """The design in which nodes are shown."""
    with frontend.nodes_2() if design == "nodes_2" else nullcontext():
        yield


def share_of_figure(frontend: Frontend, kind: str) -> float:
    """How much of a node's width its figure takes: it is mainly white, the node is dark."""
    seen = np.asarray(frontend.layout.look(kind).convert("L"))
    bright = (seen > 200).mean(axis=0) > 0.04  # White paper, or a strip of it above pictures.
    (columns,) = np.nonzero(bright)
    return (columns[-1] - columns[0]) / seen.shape[1]


@all_pages
def test_new_nodes_are_wide_enough(frontend: Frontend, design: str, server: object, pictures: Path):
    frontend.layout.add_new(*LEAST_WIDTH)
    for kind, least in LEAST_WIDTH.items():
        assert frontend.layout.size(kind)[0] >= least
    frontend.screenshot(pictures / ("fresh_nodes.png" if design == "classic" else "fresh_nodes_2.png"), *LEAST_WIDTH)


@all_pages
def test_a_workflow_keeps_its_sizes(frontend: Frontend, tmp_path: Path):
    size = {"MagCacheReport": [260, 300], "MagCacheAuto": [250, 400]}
    frontend.drop(report_and_compare(tmp_path, 0, **{kind: {"size": saved} for kind, saved in size.items()}))
    scale = frontend.layout.size("UNETLoader")[0] / 300  # The oldest page makes all nodes larger in Nodes 2.0.
    for kind, saved in size.items():
        assert frontend.layout.size(kind) == pytest.approx([scale * length for length in saved], abs=1)


@running_pages
def test_texts_and_figures_fit(frontend: Frontend, design: str, tmp_path: Path):
    sampler = {"widgets_values": [0, "fixed", STEPS, 2.5, "euler", "simple", 1.0]}
    frontend.drop(report_and_compare(tmp_path, DESIGNS[design], KSampler=sampler))
    frontend.layout.renew("MagCacheReport", "MagCacheCompare", "MagCacheAuto")
    frontend.run()
    expect(frontend.status(f"{STEPS} steps")).to_have_count(2)  # On MagCache Auto and on the report, also after the run.
    expect(frontend.status("PSNR")).to_have_count(1)
    for words in (f"{STEPS} steps", "PSNR"):
        assert not any(frontend.layout.scrolls(words))
    for kind in ("MagCacheReport", "MagCacheCompare"):
        assert share_of_figure(frontend, kind) > 0.8
        width, height = frontend.layout.size(kind)
        frontend.layout.resize(kind, 2 * width, 2 * height)
        assert share_of_figure(frontend, kind) > 0.8
        frontend.layout.resize(kind, width, height)
    frontend.screenshot(tmp_path / "fit.png", "MagCacheReport", "MagCacheCompare", "MagCacheAuto")
    assert not [each for each in frontend.complaints if "magcache" in each.lower()]
