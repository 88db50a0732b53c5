"""U-Nets: their prediction is reused as a whole, where it is worth it (SD 1.5, SDXL, Stable Cascade, …)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from magcache import MagnitudeCurve
from magcache.comfyui.nodes import speed
from magcache.comfyui.patch import MagCachePatch
from magcache.planning.plan import Reason
from magcache.runtime.calibration_mode import CalibrationMode
from magcache.runtime.modes import SpeedupMode
from magcache.runtime.residuals import Residual
from magcache.runtime.session import ComputedEvaluation

from .runs import Log, cached, counted, sample
from .tiny import Tiny
from .zoo_unets import UNETS

COUNT = 20


@pytest.fixture(params=["sd1.5", "sdxl"])
def unet(request: pytest.FixtureRequest) -> Tiny:
    return UNETS[request.param]()


def calibrate(tiny: Tiny) -> None:
    sample(tiny, MagCachePatch(CalibrationMode("auto", ""), Log().add).attach(tiny.model), count=COUNT, cfg=3.0)


def auto(tiny: Tiny, speedup: float = 2.0) -> tuple[torch.Tensor, Log]:
    log = Log()
    return sample(tiny, MagCachePatch(SpeedupMode(speedup), log.add).attach(tiny.model), count=COUNT, cfg=3.0), log


def test_the_first_run_measures_and_the_next_reuses_predictions(unet: Tiny, curves_folder: Path):
    plain = sample(unet, count=COUNT, cfg=3.0)
    first, log = auto(unet)
    assert torch.equal(first, plain), "the first run skips nothing"
    (file,) = curves_folder.iterdir()
    curve = MagnitudeCurve.load(file)
    assert curve.family == "unet" and curve.provenance["reuses"] == "prediction"
    with counted(unet.dit) as calls:
        again, log = auto(unet)
    (report,) = log.reports
    assert calls == [report.nfe] and report.reused >= 6 and not report.disturbances
    assert report.reuses == report.to_json()["reuses"] == "prediction"
    assert "the model's prediction is reused as a whole" in report.line()
    held = sample(unet, cached(unet.model, "c" + "r" * (COUNT - 1))[0], count=COUNT, cfg=3.0)
    assert (again - plain).norm() < 0.1 * (held - plain).norm(), "far nearer to the full run than to one that only repeats the first step"


def test_it_reuses_only_as_far_as_its_own_measured_error_says_that_it_is_worth_it(
    unet: Tiny, curves_folder: Path, monkeypatch: pytest.MonkeyPatch
):
    """Predictions that jump from step to step are better sampled with fewer steps than reused."""
    calibrate(unet)
    _, log = auto(unet, 4.0)
    assert (log.reports[0].nfe, log.reports[0].plan.reason) == (COUNT // 4, None)
    for file in curves_folder.iterdir():
        file.unlink()
    original, generator = ComputedEvaluation.store, torch.Generator().manual_seed(0)

    def jumping(self: ComputedEvaluation, keys: Any, branches: Any, residual: Residual | None) -> None:
        jumped = residual and tuple(part + torch.randn(part.shape, generator=generator) * part.std() * 0.3 for part in residual)
        original(self, keys, branches, jumped)

    with monkeypatch.context() as patch:
        patch.setattr(ComputedEvaluation, "store", jumping)
        calibrate(unet)
    _, log = auto(unet, 4.0)
    (report,) = log.reports
    assert report.plan.reason is Reason.FEWER_STEPS and report.nfe > COUNT // 4
    assert "with more skipped, plain sampling with as few steps would be about as good" in report.label.why


@pytest.mark.parametrize("off", ["speedup 1", "threshold 0"])
def test_switched_off_it_is_bit_identical(unet: Tiny, off: str):
    calibrate(unet)
    node = speed.MagCacheAuto if off == "speedup 1" else speed.MagCache
    settings = (1.0,) if off == "speedup 1" else ("auto", 0.0, 0.2, 2)
    model = node.execute(unet.model, *settings).args[0]
    assert torch.equal(sample(unet, model, count=8, cfg=3.0), sample(unet, count=8, cfg=3.0))


def test_the_published_rule_works_with_a_calibrated_curve(unet: Tiny, curves_folder: Path):
    calibrate(unet)
    (file,) = curves_folder.iterdir()
    model = speed.MagCache.execute(unet.model, file.stem, 0.5, 0.2, 3).args[0]
    with counted(unet.dit) as calls:
        result = sample(unet, model, count=COUNT, cfg=3.0)
    assert calls[0] < COUNT and torch.isfinite(result).all()
