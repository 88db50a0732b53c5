"""Video with sound: each stream has its own residual, error and recipe under one decision (LTX-2, MiniMax-H3)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from magcache import MagnitudeCurve
from magcache.comfyui.base_model import family_of
from magcache.comfyui.patch import MagCachePatch
from magcache.planning.streams import stream_errors
from magcache.runtime.calibration_mode import CalibrationMode
from magcache.runtime.modes import SpeedupMode
from magcache.runtime.residuals import Residual
from magcache.runtime.session import ComputedEvaluation

from .runs import Log, sample
from .tiny import Tiny
from .zoo import EVERY

COUNT = 24
MODELS = [name for name in ("ltx2", "ltx2 voice", "minimax_h3", "minimax_h3 references") if name in EVERY]


@pytest.fixture(params=MODELS)
def talkie(request: pytest.FixtureRequest) -> Tiny:
    return EVERY[request.param]()


def calibrated(tiny: Tiny, folder: Path) -> MagnitudeCurve:
    sample(tiny, MagCachePatch(CalibrationMode("auto", ""), Log().add).attach(tiny.model), count=COUNT, cfg=3.0)
    (file,) = folder.iterdir()
    return MagnitudeCurve.load(file)


def test_the_errors_of_both_streams_are_reported(talkie: Tiny, curves_folder: Path):
    curve = calibrated(talkie, curves_folder)
    assert curve.streams == ("sound",)
    log = Log()
    sample(talkie, MagCachePatch(SpeedupMode(2.0), log.add).attach(talkie.model), count=COUNT, cfg=3.0)
    (report,) = log.reports
    assert report.reused == COUNT // 2 and not report.disturbances
    errors = report.to_json()["predicted_errors"]
    assert set(errors) == {"video", "sound"} and all(error > 0 for error in errors.values())
    assert "predicted error video" in report.line() and ", sound" in report.line()
    assert len(report.plan.other_recipes) == 1


ROUGH = {"video": (0.02, range(16, 23)), "sound": (0.04, range(8, 16))}
"""By how much, in parts of its size, the residual of a stream is made to jump, and at which steps."""


def test_sound_that_is_twice_as_rough_is_protected(talkie: Tiny, curves_folder: Path, monkeypatch: pytest.MonkeyPatch):
    sigmas = calibrated(talkie, curves_folder).sigmas
    (file,) = curves_folder.iterdir()
    file.unlink()
    original, generator = ComputedEvaluation.store, torch.Generator().manual_seed(0)

    def rougher(self: ComputedEvaluation, keys: Any, branches: Any, residual: Residual | None) -> None:
        if residual is not None:
            residual = tuple(map(jumping, residual, ROUGH.values(), [self.sigma] * 2))
        original(self, keys, branches, residual)

    def jumping(stream: torch.Tensor, rough: tuple[float, range], sigma: float) -> torch.Tensor:
        part, steps = rough
        noise = torch.randn(stream.shape, generator=generator) * stream.std() * part
        return stream + noise if sigma in {sigmas[step] for step in steps} else stream

    with monkeypatch.context() as patch:
        patch.setattr(ComputedEvaluation, "store", rougher)
        rough = calibrated(talkie, curves_folder)

    def planned(curve: MagnitudeCurve) -> tuple[int, ...]:
        curve.save(file)
        log = Log()
        sample(talkie, MagCachePatch(SpeedupMode(2.0), log.add).attach(talkie.model), count=COUNT, cfg=3.0)
        return log.reports[0].plan.computed

    video_alone = replace(rough, products={pair: rows for pair, rows in rough.products.items() if "sound" not in pair[0]})
    both, by_video = planned(rough), planned(video_alone)
    protected, harmed = (stream_errors(rough, rough.sigmas, computed, guidance=3.0) for computed in (both, by_video))
    assert protected["sound"] < 0.9 * harmed["sound"]
    inside = [sum(step in ROUGH["sound"][1] for step in computed) for computed in (both, by_video)]
    assert inside[0] > inside[1], "more of the steps at which the sound jumps are computed"


def test_a_video_without_sound_runs_by_the_curve_of_one_with_sound(curves_folder: Path):
    calibrated(EVERY["ltx2"](), curves_folder)
    silent, log = EVERY["ltx2 silent"](), Log()
    sample(silent, MagCachePatch(SpeedupMode(2.0), log.add).attach(silent.model), count=COUNT, cfg=3.0)
    assert log.reports[0].reused == COUNT // 2


def test_the_streams_have_names(talkie: Tiny):
    assert [stream.name for stream in family_of(talkie.model).streams] == ["video", "sound"]
