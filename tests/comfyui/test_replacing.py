"""A MagCache node behind another one takes its place, also when it is switched off; beside another step cache it keeps out of the way."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import comfy.sample
import comfy.samplers
import pytest
import torch
from comfy_extras.nodes_easycache import EasyCacheNode, LazyCacheNode

from magcache.comfyui import notify
from magcache.comfyui.nodes.calibration import MagCacheCalibration
from magcache.comfyui.nodes.speed import MagCache, MagCacheAuto
from magcache.comfyui.patch import MagCachePatch, patch_of
from magcache.reports.run_report import Disturbance
from magcache.runtime.calibration_mode import CalibrationMode

from .runs import Log, cached, close, sample
from .tiny import Tiny, noise

OFF = {
    "threshold 0": lambda model: MagCache.execute(model, "flux", 0.0, 0.2, 2),
    "K 0": lambda model: MagCache.execute(model, "flux", 0.24, 0.2, 0),
    "speedup 1": lambda model: MagCacheAuto.execute(model, 1.0),
}


@pytest.mark.parametrize("off", OFF)
def test_switched_off_behind_another_one_is_off(flux: Tiny, off: str):
    earlier, log = cached(flux.model, "crcr")
    (model,) = OFF[off](earlier).args
    assert torch.equal(sample(flux, model), sample(flux)) and not log.reports
    assert patch_of(model) is None and patch_of(earlier) is not None
    sample(flux, earlier)
    assert log.decisions == ["crcr"], "the earlier node itself goes on"


@pytest.mark.parametrize("off", OFF)
def test_switched_off_without_an_earlier_one_is_the_very_same_model(flux: Tiny, off: str):
    assert OFF[off](flux.model).args == (flux.model,)


@pytest.mark.parametrize(
    "later", [lambda model: MagCacheAuto.execute(model, 2.0), lambda model: MagCache.execute(model, "flux", 0.24, 0.1, 5), *OFF.values()]
)
def test_behind_a_calibration_it_says_that_nothing_is_calibrated(
    flux: Tiny, curves_folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, later: Any
):
    (calibrating,) = MagCacheCalibration.execute(flux.model, "flux", "mine").args
    shown: list[str] = []
    monkeypatch.setattr(notify, "show", lambda text, node: shown.append(text))
    (model,) = later(calibrating).args
    assert len(shown) == 1 and "nothing is calibrated" in shown[0]
    assert "replaces the MagCache Calibration before it, so nothing is calibrated" in caplog.text
    sample(flux, model, count=4)
    assert not (curves_folder / "mine.json").exists()


def easycache(model: Any) -> Any:
    return EasyCacheNode.execute(model, 0.3, 0.0, 1.0, False).args[0]


def lazycache(model: Any) -> Any:
    return LazyCacheNode.execute(model, 0.5, 0.0, 1.0, False).args[0]


def unknown_cache(model: Any) -> Any:
    """Skips the model at every third call, unknown to ComfyUI."""
    from comfy.patcher_extension import WrappersMP

    model, last, count = model.clone(), [], iter(range(1000))

    def skip(executor: Any, *args: Any, **kwargs: Any) -> Any:
        if next(count) % 3 != 2 or not last:
            last[:] = [executor(*args, **kwargs)]
        return last[0]

    model.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "unknown", skip)
    return model


def unknown_lazy_cache(model: Any) -> Any:
    """Answers every third question of the sampler itself, unknown to ComfyUI."""
    from comfy.patcher_extension import WrappersMP

    model, last, count = model.clone(), [], iter(range(1000))

    def skip(executor: Any, *args: Any, **kwargs: Any) -> Any:
        if next(count) % 3 != 2 or not last:
            last[:] = [executor(*args, **kwargs)]
        return last[0]

    model.add_wrapper_with_key(WrappersMP.PREDICT_NOISE, "unknown", skip)
    return model


@pytest.mark.parametrize("order", ["before", "after"])
@pytest.mark.parametrize("neighbour", [easycache, lazycache])
def test_beside_another_step_cache_it_computes_and_says_so(flux: Tiny, neighbour: Any, order: str):
    model, log = cached(neighbour(flux.model) if order == "before" else flux.model, "ccrr" * 5)
    model = neighbour(model) if order == "after" else model
    result = sample(flux, model, count=20)
    (report,) = log.reports
    assert report.reused == 0 and report.disturbances == (Disturbance.OTHER_CACHE,)
    assert close(result, sample(flux, neighbour(flux.model), count=20), 1e-6), "the picture is that of the other cache alone"


@pytest.mark.parametrize("node", [EasyCacheNode, LazyCacheNode])
def test_beside_another_step_cache_it_computes_also_before_that_one_begins(flux: Tiny, node: Any):
    model, log = cached(node.execute(flux.model, 0.5, 0.6, 1.0, False).args[0], "crrrccccc")
    sample(flux, model, count=9)
    assert log.reports[0].reused == 0 and log.reports[0].disturbances == (Disturbance.OTHER_CACHE,)


@pytest.mark.parametrize("neighbour", [easycache, lazycache, unknown_cache, unknown_lazy_cache])
def test_a_calibration_beside_another_step_cache_saves_nothing(flux: Tiny, curves_folder: Path, neighbour: Any):
    log = Log()
    sample(flux, MagCachePatch(CalibrationMode("auto", ""), log.add).attach(neighbour(flux.model)), count=20)
    name = {easycache: "EasyCache is on this model too", lazycache: "LazyCache is on this model too"}
    words = name.get(neighbour, "another node skipped steps of this model")
    assert not list(curves_folder.iterdir()) and f"Nothing was calibrated, because {words}" in log.texts[0]


@pytest.mark.parametrize(("neighbour", "evaluations"), [(unknown_cache, 8), (unknown_lazy_cache, 6)])
def test_after_an_unknown_cache_has_skipped_everything_is_computed(flux: Tiny, neighbour: Any, evaluations: int):
    model, log = cached(neighbour(flux.model), "ccccrrrr")
    sample(flux, model, count=8)
    assert log.decisions == ["c" * evaluations] and log.reports[0].disturbances == (Disturbance.OTHER_CACHE,)


def test_two_threads_sample_one_cached_model(flux: Tiny):
    model, log = cached(flux.model, "crcrcrcr")
    started, latent = noise(1, *flux.latent, seed=5), torch.zeros(1, *flux.latent)

    def draw(together: Callable[[], Any]) -> torch.Tensor:
        """Without ComfyUI's own noise, which comes from a generator that all threads share.

        The threads wait for each other at the first and the last step: ComfyUI's own beginning and end of a sampling are not made for
        threads.
        """
        with torch.inference_mode():
            return comfy.sample.sample(
                model, started, 8, 3.0, "euler", "simple", flux.positive, flux.negative, latent, disable_pbar=True, seed=1,
                callback=lambda step, *_: together() if step in (0, 7) else None,
            )  # fmt: skip

    alone, barrier = draw(lambda: None), threading.Barrier(2, timeout=60)
    with ThreadPoolExecutor(2) as pool:
        for _ in range(5):
            both = [job.result() for job in [pool.submit(draw, barrier.wait) for _ in range(2)]]
            assert all(torch.equal(result, alone) for result in both)
    assert log.decisions == ["crcrcrcr"] * 11


def test_a_sampling_without_evaluations_leaves_the_good_status(flux: Tiny):
    model, log = cached(flux.model, "crcr")
    sample(flux, model)
    sample(flux, model, count=4, start_step=4)
    with torch.inference_mode():  # As SplitSigmas at the last step leaves a sampler behind it: with one sigma and nothing to do.
        comfy.sample.sample_custom(
            model, noise(1, *flux.latent), 1.0, comfy.samplers.sampler_object("euler"), torch.tensor([0.7]), flux.positive, flux.negative,
            torch.zeros(1, *flux.latent), disable_pbar=True, seed=1,
        )  # fmt: skip
    assert len(log.reports) == 1 and len(list(patch_of(model).history)) == 1
