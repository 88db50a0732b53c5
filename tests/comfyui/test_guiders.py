"""What guiders of other packs keep in `cfg`, and what happens after the last step: neither may lose the picture."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import comfy.samplers
import numpy as np
import pytest
import torch

from magcache import MagnitudeCurve
from magcache.comfyui.modes import guidance_of
from magcache.comfyui.nodes.calibration import MagCacheCalibration
from magcache.comfyui.nodes.speed import MagCacheAuto
from magcache.comfyui.patch import MagCachePatch

from .runs import FixedMode, cached, sample, steps
from .tiny import Tiny, noise

SCALES = [3.0, [2.0, 4.0], np.array([2.0, 4.0]), np.float64(3.0), torch.tensor(3.0), torch.tensor([2.0, 4.0])]


class ScheduledGuider(comfy.samplers.CFGGuider):
    """Guides with a scale of its own making; ComfyUI's arithmetic gets a number."""

    def predict_noise(self, x: Any, timestep: Any, model_options: Any = {}, seed: Any = None) -> Any:  # noqa: B006
        conds = self.conds["negative"], self.conds["positive"]
        return comfy.samplers.sampling_function(self.inner_model, x, timestep, *conds, 3.0, model_options=model_options, seed=seed)


def sample_guided(flux: Tiny, model: Any, cfg: Any) -> torch.Tensor:
    guider = ScheduledGuider(model)
    guider.set_conds(flux.positive, flux.negative)
    guider.cfg = cfg
    latent = torch.zeros(1, *flux.latent)
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "simple", 16)
    with torch.inference_mode():
        return guider.sample(
            noise(*latent.shape, seed=5), latent, comfy.samplers.sampler_object("euler"), sigmas, disable_pbar=True, seed=1
        )


@pytest.mark.parametrize("cfg", SCALES, ids=[type(scale).__name__ + str(index) for index, scale in enumerate(SCALES)])
def test_a_scale_of_any_kind_is_a_number_to_us(flux: Tiny, curves_folder: Path, cfg: Any):
    (model,) = MagCacheAuto.execute(flux.model, 2.0).args
    plain = sample_guided(flux, flux.model, cfg)
    assert torch.equal(sample_guided(flux, model, cfg), plain), "the first run calibrates"
    (path,) = curves_folder.iterdir()
    assert MagnitudeCurve.load(path).provenance["cfg"] == 3.0 and json.loads(path.read_text())
    assert not torch.equal(sample_guided(flux, model, cfg), plain), "the second one skips"


@pytest.mark.parametrize("cfg", [None, "high", [], {}, object(), float("nan")])
def test_what_is_not_a_number_counts_as_no_guidance(cfg: Any):
    guider: Any = type("Guider", (), {"cfg": cfg})()
    assert guidance_of(guider) == 1.0
    assert guidance_of(object()) == 1.0


@pytest.fixture
def plain(flux: Tiny) -> Iterator[torch.Tensor]:
    yield sample(flux, count=12)


def test_nothing_that_is_raised_after_the_last_step_loses_the_picture(flux: Tiny, plain: torch.Tensor, caplog: pytest.LogCaptureFixture):
    def fail(*_: Any) -> None:
        raise KeyError("for the test")

    model = MagCachePatch(FixedMode(steps("c" * 12)), fail).attach(flux.model)
    assert torch.equal(sample(flux, model, count=12), plain)
    model, _ = cached(flux.model, "c" * 12, conclude=fail)
    assert torch.equal(sample(flux, model, count=12), plain)
    assert caplog.text.count("could not report a run") == 2


def test_a_disk_that_is_full_loses_no_picture(flux: Tiny, plain: torch.Tensor, monkeypatch: pytest.MonkeyPatch):
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(MagnitudeCurve, "save", full)
    (model,) = MagCacheCalibration.execute(flux.model, "auto").args
    assert torch.equal(sample(flux, model, count=12), plain)


def test_a_failure_of_the_model_itself_is_not_hidden(flux: Tiny, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    model, log = cached(flux.model, "crcr")

    def fail(step: int, *_: Any) -> None:
        raise RuntimeError("of the sampler")

    with pytest.raises(RuntimeError, match="of the sampler"):
        sample(flux, model, callback=fail)
    assert not log.reports
