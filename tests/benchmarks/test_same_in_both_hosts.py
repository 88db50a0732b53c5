"""The same model in ComfyUI and in diffusers: one fingerprint, one calibration, one plan and one result, with skipped steps or without.

diffusers asks for cond and uncond one after the other, ComfyUI in one batch. The pipelines, samplers and schedulers are the hosts' own.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from benchmarks.small.cases import BENCHES, Bench
from benchmarks.small.comfyui_host import Host, SamplingSetting, start_comfyui, with_magcache
from benchmarks.small.diffusers_host import PipelineHost
from magcache import MagnitudeCurve
from magcache.diffusers import apply
from magcache.planning.plan import Plan
from magcache.reports.run_report import RunReport
from magcache.runtime.modes import SpeedupMode
from magcache.server.launch import fetch_comfyui

STEPS, SPEEDUP, SHIFT = 20, 2.0, 3.0
SHAPES = {"image": (1, 16, 16, 16), "video": (1, 16, 3, 8, 8), "emoji": (1, 16, 16, 16)}
SAME = 1e-5
"""Relative difference of latents in fp32 that is numerical noise; found were 2e-6. Half of the steps skipped make 1e-2 and more."""


@pytest.fixture(scope="module", autouse=True)
def comfyui(pytestconfig: pytest.Config) -> Iterator[None]:
    """A ComfyUI in this process: the one in which the other tests run."""
    folder = fetch_comfyui(pytestconfig.getoption("--comfyui-version"))
    level, threads = logging.getLogger().level, torch.get_num_threads()
    start_comfyui(folder)
    import folder_paths

    torch.set_num_threads(1)
    known = dict(folder_paths.folder_names_and_paths)
    yield
    folder_paths.folder_names_and_paths.clear()
    folder_paths.folder_names_and_paths.update(known)
    torch.set_num_threads(threads)
    logging.getLogger().setLevel(level)


@dataclass(frozen=True)
class Run:
    """One sampling with MagCache."""

    latents: torch.Tensor
    nfe: float
    report: RunReport

    @property
    def plan(self) -> Plan:
        return self.report.plan


class Both:
    """One model in both hosts, the same prompt and noise, and diffusers' own sigmas in both. Each calibrates in a folder of its own."""

    def __init__(self, bench: Bench, guidance: float, folder: Path) -> None:
        self.guidance = guidance
        self.folders = {"comfyui": folder / "comfyui", "diffusers": folder / "diffusers"}
        self._host = Host(bench.small, self.folders["comfyui"])
        self._pipeline = PipelineHost(bench.small, FlowMatchEulerDiscreteScheduler(shift=SHIFT))
        self._noise = torch.randn(SHAPES[bench.name], generator=torch.Generator().manual_seed(0))
        self._prompt = bench.small.prompts()[0]

    def in_diffusers(self, folder: Path) -> Run:
        pipe = self._pipeline.pipe
        told: dict[str, Any] = {"guidance": self.guidance} if self._pipeline.small.kind == "flux" else {}  # Wan's pipeline keeps it.
        with apply(pipe, SPEEDUP, folder=folder, **told) as cache:
            made = self._pipeline.sample(self._prompt, self._noise, STEPS, self.guidance)
            return Run(made.latents, made.nfe, cache.report())

    def in_comfyui(self, folder: Path) -> Run:
        import folder_paths

        folder_paths.folder_names_and_paths["magcache"] = ([str(folder)], {".json"})
        model, reports = with_magcache(self._host.model(SHIFT), SpeedupMode(SPEEDUP))
        setting = SamplingSetting(STEPS, self.guidance)
        made = self._host.sample(model, self._prompt, self._noise, setting, self._pipeline.pipe.scheduler.sigmas)
        (report,) = reports
        return Run(made.latents, made.nfe, report)

    @cached_property
    def full(self) -> dict[str, Run]:
        """The first run of each host, which computes all and calibrates."""
        return {"diffusers": self.in_diffusers(self.folders["diffusers"]), "comfyui": self.in_comfyui(self.folders["comfyui"])}

    @cached_property
    def curves(self) -> dict[str, MagnitudeCurve]:
        """What each host measured."""
        assert self.full
        return {host: MagnitudeCurve.load(path) for host, folder in self.folders.items() for path in folder.glob("*.json")}

    @cached_property
    def fast(self) -> dict[str, Run]:
        """The next run of each host, with its own calibration and with the other's."""
        assert self.full
        runs = {f"comfyui with the curve of {name}": self.in_comfyui(folder) for name, folder in self.folders.items()}
        return runs | {f"diffusers with the curve of {name}": self.in_diffusers(folder) for name, folder in self.folders.items()}


@pytest.fixture(
    scope="module",
    params=[(bench, guided) for bench in BENCHES for guided in (False, True)],
    ids=lambda param: f"{param[0].name}-{'guided' if param[1] else 'unguided'}",
)
def both(request: pytest.FixtureRequest, comfyui: None, tmp_path_factory: pytest.TempPathFactory) -> Both:
    bench, guided = request.param
    return Both(bench, bench.setting.guidance if guided else 1.0, tmp_path_factory.mktemp(bench.name))


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    """‖one − other‖ / ‖other‖."""
    return float((one - other).norm() / other.norm())


def test_uncached(both: Both):
    full = both.full
    assert [run.report.label.kind for run in full.values()] == ["calibrating"] * 2
    assert [run.nfe for run in full.values()] == [STEPS] * 2
    assert apart(full["diffusers"].latents, full["comfyui"].latents) < SAME


def test_both_measure_the_same_curve(both: Both):
    ours, theirs = both.curves["diffusers"], both.curves["comfyui"]
    assert ours.name == theirs.name
    assert ours.provenance["fingerprint"] == theirs.provenance["fingerprint"]
    assert ours.sigmas == pytest.approx(theirs.sigmas, rel=1e-6)
    assert set(ours.ratios) == set(theirs.ratios) == ({"cond"} if both.guidance == 1 else {"cond", "uncond"})
    for branch, ratios in ours.ratios.items():
        assert ratios == pytest.approx(theirs.ratios[branch], rel=1e-5)
    assert set(ours.products) == set(theirs.products)
    for pair, products in ours.products.items():
        assert torch.allclose(torch.tensor(products), torch.tensor(theirs.products[pair]), rtol=0, atol=1e-5)  # In units of a residual.
    assert ours.propagation == theirs.propagation


def test_each_finds_the_calibration_of_the_other(both: Both):
    for name, run in both.fast.items():
        assert (run.report.label.kind, run.report.label.curve) == ("skipping", both.curves["comfyui"].name), name


def test_one_plan(both: Both):
    first, *others = both.fast.items()
    plan = first[1].plan
    assert STEPS / 3 < plan.nfe < 0.75 * STEPS and any(plan.corrections)
    for name, run in others:
        assert run.plan.reused == plan.reused, name
        for step in range(STEPS):
            assert dict(run.plan.recipe(step)) == pytest.approx(dict(plan.recipe(step)), abs=1e-4), (name, step)
            mine, own = run.plan.correction(step), plan.correction(step)
            assert (mine is None) == (own is None), (name, step)
            if mine and own:
                assert mine.gain == pytest.approx(own.gain, abs=1e-4)
                assert dict(mine.expected) == pytest.approx(dict(own.expected), abs=1e-4)


def test_the_plan_is_followed(both: Both):
    for name, run in both.fast.items():
        assert [event.reused for event in run.report.events] == list(run.plan.reused), name
        corrected = [bool(run.plan.correction(step)) for step in range(STEPS)]
        assert [event.corrected for event in run.report.events] == corrected, name
        assert run.nfe == run.plan.nfe, name


def test_with_skipped_steps(both: Both):
    (_, first), *others = both.fast.items()
    assert apart(first.latents, both.full["comfyui"].latents) > 100 * SAME
    for name, run in others:
        assert apart(run.latents, first.latents) < SAME, name
