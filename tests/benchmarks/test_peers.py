"""Other step caches in the plain loop: they skip, their work is counted, and the model is unchanged afterwards."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from diffusers.hooks import MagCacheConfig, apply_mag_cache
from torch import nn

from benchmarks.small.loop import CacheRun, CacheSetting, Outcome, copy_modules, measure_ratios, sample
from benchmarks.small.models import IMAGE, VIDEO, SmallModel
from benchmarks.small.peers import PEERS, Peer, db_cache, first_block_cache, mag_cache, taylor_seer
from benchmarks.small.seacache import sea_cache
from benchmarks.small.spectrum import spectrum

STEPS, GUIDANCE = 7, 2.5
SIGMAS = torch.linspace(1, 0, STEPS + 1)
NEVER = {
    "diffusers MagCache": mag_cache(0, 0),
    "diffusers FirstBlockCache": first_block_cache(-1),
    "diffusers TaylorSeer": taylor_seer(1, 1, lite=False),
    "diffusers TaylorSeer lite": taylor_seer(1, 1, lite=True),
    "diffusers SeaCache": sea_cache(0, 1, 2),
    "diffusers SeaCache, held": sea_cache(0, 0, 0),
    "Spectrum": spectrum(1, 0, 0.5),
    "cache-dit DBCache F1B0": db_cache(0, 2, 1, 0),
    "cache-dit DBCache F8B0": db_cache(0, 2, 8, 0),
    "cache-dit DBCache F1B0 + TaylorSeer": db_cache(0, 2, 1, 1),
    "cache-dit DBCache F8B0 + TaylorSeer": db_cache(0, 2, 8, 1),
}
"""Settings that compute every step."""

needs_cache_dit = pytest.mark.skipif(importlib.util.find_spec("cache_dit") is None, reason="cache-dit is not installed")
every_peer = pytest.mark.parametrize(
    "peer", [pytest.param(peer, id=peer.name, marks=needs_cache_dit if "cache-dit" in peer.name else ()) for peer in PEERS]
)


@dataclass(frozen=True)
class PeerCase:
    """A small model with random weights, its inputs, and the result of plain sampling."""

    small: SmallModel
    model: nn.Module
    noise: torch.Tensor
    prompt: str
    ratios: tuple[float, ...]
    plain: torch.Tensor

    def sample(self, setting: CacheSetting | None = None, guidance: float = GUIDANCE) -> Outcome:
        return sample(self.small, self.model, SIGMAS, self.noise, self.prompt, guidance, setting, self.ratios)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", params=["image", "video"])
def case(request: pytest.FixtureRequest, one_thread: None) -> PeerCase:
    torch.manual_seed(0)
    small, shape = (IMAGE, (1, 16, 8, 8)) if request.param == "image" else (VIDEO, (1, 16, 3, 4, 4))
    model, noise, prompt = small.build(1), torch.randn(shape), small.prompts()[0]
    ratios = measure_ratios(small, model, SIGMAS, noise, prompt, GUIDANCE)
    return PeerCase(small, model, noise, prompt, ratios, sample(small, model, SIGMAS, noise, prompt, GUIDANCE).latents)


@torch.no_grad()
def test_plain_loop(case: PeerCase):
    latents, small = case.noise, case.small
    for step in range(STEPS):
        cond = small.velocity(case.model, latents, SIGMAS[step : step + 1], small.encode([case.prompt]))
        uncond = small.velocity(case.model, latents, SIGMAS[step : step + 1], small.encode([""]))
        latents = latents + (SIGMAS[step + 1] - SIGMAS[step]) * (uncond + GUIDANCE * (cond - uncond))
    outcome = case.sample()
    assert torch.equal(outcome.latents, latents)
    assert outcome.nfe == STEPS


@torch.no_grad()
def test_plain_loop_without_guidance(case: PeerCase):
    latents = case.noise
    for step in range(STEPS):
        velocity = case.small.velocity(case.model, latents, SIGMAS[step : step + 1], case.small.encode([case.prompt]))
        latents = latents + (SIGMAS[step + 1] - SIGMAS[step]) * velocity
    outcome = case.sample(guidance=1)
    assert torch.equal(outcome.latents, latents)
    assert outcome.nfe == STEPS


def test_ratios_are_those_of_the_calibration_mode(case: PeerCase, capsys: pytest.CaptureFixture[str]):
    def calibrate(model: nn.Module, run: CacheRun) -> None:
        apply_mag_cache(model, MagCacheConfig(num_inference_steps=run.steps, calibrate=True))

    assert torch.equal(case.sample(CacheSetting("calibrate", calibrate)).latents, case.plain)
    printed = [ast.literal_eval(line) for line in capsys.readouterr().out.splitlines() if line.startswith("[1")]
    assert printed[0] == pytest.approx(case.ratios, rel=1e-5)
    assert len(case.ratios) == STEPS


def test_ratios_must_be_there(case: PeerCase):
    with pytest.raises(ValueError, match="ratios"):
        sample(case.small, case.model, SIGMAS, case.noise, case.prompt, GUIDANCE, mag_cache(0.1, 2))


@torch.no_grad()
def with_a_model_for_each_branch(case: PeerCase, setting: CacheSetting) -> torch.Tensor:
    """The result that a cache must have if it keeps cond and uncond apart: each has a model of its own."""
    models = {prompt: copy_modules(case.model) for prompt in (case.prompt, "")}
    for model in models.values():
        setting.attach(model, CacheRun(STEPS, 1, case.ratios))
    latents = case.noise
    for step in range(STEPS):
        velocities = []
        for prompt, model in models.items():
            with model.cache_context("only", step_index=step, sigma=float(SIGMAS[step]), num_inference_steps=STEPS):
                velocities.append(case.small.velocity(model, latents, SIGMAS[step : step + 1], case.small.encode([prompt])))
        cond, uncond = velocities
        latents = latents + (SIGMAS[step + 1] - SIGMAS[step]) * (uncond + GUIDANCE * (cond - uncond))
    return latents


@every_peer
def test_skips_and_leaves_the_model_alone(case: PeerCase, peer: Peer):
    before = [{name: id(value) for name, value in vars(module).items()} for module in case.model.modules()]
    outcome = case.sample(peer.settings[-1])
    assert outcome.nfe < STEPS
    assert outcome.latents.isfinite().all()
    assert not torch.equal(outcome.latents, case.plain)
    assert torch.equal(outcome.latents, with_a_model_for_each_branch(case, peer.settings[-1]))
    assert [{name: id(value) for name, value in vars(module).items()} for module in case.model.modules()] == before
    assert torch.equal(case.sample().latents, case.plain)


@every_peer
def test_a_setting_that_never_skips_is_plain(case: PeerCase, peer: Peer):
    outcome = case.sample(NEVER[peer.name])
    assert torch.equal(outcome.latents, case.plain)
    assert outcome.nfe == STEPS


@needs_cache_dit
@pytest.mark.parametrize("order", [0, 1])
def test_cache_dit_does_not_take_every_other_step_for_uncond(case: PeerCase, order: int):
    setting = db_cache(10, 4, 1, order)
    nfe = case.sample(setting, guidance=1).nfe
    assert nfe < STEPS
    assert nfe == pytest.approx(case.sample(setting).nfe)


@pytest.mark.parametrize(("interval", "nfe"), [(2, 5), (4, 4)])
def test_work_is_counted(case: PeerCase, interval: int, nfe: float):
    """TaylorSeer computes steps 0, 1, 2 and 4, then one in `interval`: of seven steps also step 6 if the interval is 2."""
    assert case.sample(taylor_seer(interval, 1, lite=True)).nfe == nfe
    assert nfe < case.sample(taylor_seer(interval, 1, lite=False)).nfe < STEPS


def test_an_exception_leaves_the_model_alone(case: PeerCase):
    def fail(model: nn.Module, run: CacheRun) -> None:
        first_block_cache(0.5).attach(model, run)
        list(case.small.blocks(model))[-1].register_forward_pre_hook(lambda *_: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        case.sample(CacheSetting("fails", fail))
    assert torch.equal(case.sample().latents, case.plain)


@every_peer
def test_settings_have_labels(peer: Peer):
    assert len({setting.label for setting in peer.settings}) == len(peer.settings)
