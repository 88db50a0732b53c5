"""A model that is sampled in parts: each part is measured once, and found again."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from comfy_extras.nodes_model_advanced import ModelSamplingAuraFlow

from magcache import MagnitudeCurve
from magcache.comfyui.patch import MagCachePatch
from magcache.runtime.calibration_mode import CalibrationMode
from magcache.runtime.modes import SpeedupMode

from .runs import Log, sample
from .tiny import Tiny

STEPS = 30


def in_parts(flux: Tiny, model: Any, bounds: tuple[int, ...], *, shift: float = 8.0, count: int = STEPS) -> None:
    """As KSampler (Advanced) nodes one behind the other: the leftover noise of each goes into the next."""
    shifted = ModelSamplingAuraFlow().patch_aura(model, shift)[0]
    latent: torch.Tensor | None = None
    for begin, end in pairwise(bounds):
        latent = sample(
            flux, shifted, count=count, cfg=3.0, start_step=begin, last_step=end, force_full_denoise=end == count,
            latent=latent, add_noise=begin == 0,
        )  # fmt: skip


@pytest.mark.parametrize("bounds", [(0, 10, 20), (0, 10, 20, 30), (0, 5, 30)])
def test_every_part_calibrates_once_and_then_skips(flux: Tiny, curves_folder: Path, bounds: tuple[int, ...]):
    log = Log()
    model = MagCachePatch(SpeedupMode(2.0), log.add).attach(flux.model)
    parts = len(bounds) - 1
    for _ in range(3):
        in_parts(flux, model, bounds, count=bounds[-1])
    long_enough = [end - begin >= 10 for begin, end in pairwise(bounds)]
    assert len(list(curves_folder.glob("*.json"))) == sum(long_enough)
    for prompt in range(3):
        for part in range(parts):
            report, text = log.reports[prompt * parts + part], log.texts[prompt * parts + part]
            assert ("is faster" in text) == (prompt == 0 and long_enough[part]), "a promise is made once, and kept"
            assert (report.reused > 0) == (prompt > 0 and long_enough[part])


def test_a_whole_run_is_not_taken_for_measured_by_a_part_of_it(flux: Tiny, curves_folder: Path):
    log = Log()
    model = MagCachePatch(SpeedupMode(2.0), log.add).attach(flux.model)
    in_parts(flux, model, (0, 10))
    for _ in range(2):
        in_parts(flux, model, (0, STEPS))
    assert [report.reused > 0 for report in log.reports] == [False, False, True]
    assert len({MagnitudeCurve.load(path).name for path in curves_folder.iterdir()}) == 2


def test_a_part_replaces_no_measurement_of_more_that_begins_alike(flux: Tiny, curves_folder: Path):
    model = MagCachePatch(CalibrationMode("auto", "mine"), Log().add).attach(flux.model)
    in_parts(flux, model, (0, 20))
    (longer,) = curves_folder.iterdir()
    before = longer.read_text()
    in_parts(flux, model, (0, 10))
    assert longer.read_text() == before and len(list(curves_folder.iterdir())) == 2


def test_a_part_that_ends_high_is_one_also_if_its_closing_sigma_was_set_to_zero(flux: Tiny, curves_folder: Path):
    """As KSampler (Advanced) does that is not to return leftover noise."""
    model = MagCachePatch(CalibrationMode("auto", "mine"), Log().add).attach(flux.model)
    shifted = ModelSamplingAuraFlow().patch_aura(model, 8.0)[0]
    sample(flux, shifted, count=STEPS)
    whole = curves_folder / "mine.json"
    before = whole.read_text()
    sample(flux, shifted, count=STEPS, last_step=10, force_full_denoise=True)
    assert whole.read_text() == before and len(list(curves_folder.glob("mine-*-to-*.json"))) == 1


def test_a_calibration_that_its_own_run_would_not_accept_promises_nothing(flux: Tiny, monkeypatch: pytest.MonkeyPatch):
    from magcache.runtime import calibration_mode

    monkeypatch.setattr(calibration_mode, "serves", lambda curve, run: False)
    log = Log()
    sample(flux, MagCachePatch(SpeedupMode(2.0), log.add).attach(flux.model), count=12)
    assert "covers too little of this run" in log.texts[0] and "is faster" not in log.texts[0]
