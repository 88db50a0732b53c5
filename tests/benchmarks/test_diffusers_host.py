"""The small models in pipelines of diffusers: they draw what the plain loop draws, and their work is counted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from benchmarks.quality_methods import in_diffusers
from benchmarks.small.cases import BENCHES, Bench, make_cases
from benchmarks.small.comfyui_host import SamplingSetting
from benchmarks.small.diffusers_host import PipelineHost, along
from benchmarks.small.loop import sample
from benchmarks.small.models import IMAGE, VIDEO, SmallModel
from magcache.diffusers import apply

STEPS = 12
SIGMAS = torch.linspace(1, 0, STEPS + 1).square()
"""Unlike those of diffusers' own schedules."""
RULE = {"curve": [1.0] * STEPS, "threshold": 0.1, "max_skip": 2, "retention": 0.2}
"""Settings that make a plan without a calibration."""

every_model = pytest.mark.parametrize(("small", "shape"), [(IMAGE, (1, 16, 8, 12)), (VIDEO, (1, 16, 3, 4, 6))], ids=["image", "video"])
every_guidance = pytest.mark.parametrize("guidance", [1.0, 2.5])


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@every_guidance
@every_model
def test_a_pipeline_draws_what_the_plain_loop_draws(small: SmallModel, shape: tuple[int, ...], guidance: float):
    torch.manual_seed(0)
    noise, prompt = torch.randn(shape), small.prompts()[0]
    host = PipelineHost(small, along(SIGMAS[:-1].tolist()))
    drawn = host.sample(prompt, noise, STEPS, guidance)
    plain = sample(small, host.pipe.transformer, SIGMAS, noise, prompt, guidance)
    assert drawn.nfe == plain.nfe == STEPS
    assert (drawn.latents - plain.latents).norm() < 1e-5 * plain.latents.norm()


@every_guidance
@every_model
def test_work_is_counted(small: SmallModel, shape: tuple[int, ...], guidance: float):
    torch.manual_seed(0)
    noise, prompt = torch.randn(shape), small.prompts()[0]
    host = PipelineHost(small, along(SIGMAS[:-1].tolist()))
    with apply(host.pipe, **RULE, guidance=guidance) as cache:
        drawn = host.sample(prompt, noise, STEPS, guidance)
        assert drawn.nfe == cache.report().nfe < STEPS
    assert host.sample(prompt, noise, STEPS, guidance).nfe == STEPS


class Schedules:
    """What `in_diffusers` asks of a ComfyUI."""

    def __init__(self, curves) -> None:
        self.curves = curves

    def sigmas(self, setting: SamplingSetting) -> list[float]:
        sigmas = torch.linspace(1, 0, setting.steps + 1)
        return (setting.shift * sigmas / (1 + (setting.shift - 1) * sigmas)).tolist()


def test_magcache_in_diffusers_is_calibrated_once(tmp_path):
    bench = Bench("image", IMAGE, SamplingSetting(STEPS, 2.5))
    method = in_diffusers(bench, Schedules(tmp_path))  # pyright: ignore[reportArgumentType]
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.json")}
    assert len(before) == 1
    _, (case,) = make_cases(BENCHES[0].small, 1)
    ((_, faster),) = method.candidates(9)
    fast, full = faster(case), method.full(case)
    assert (fast.nfe, full.nfe) == (9, STEPS)
    assert 1e-4 < (fast.latents - full.latents).norm() / full.latents.norm() < 0.2
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.json")} == before
