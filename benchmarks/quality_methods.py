"""The ways to sample faster that `benchmarks.quality` compares.

MagCache and ComfyUI's caches run in ComfyUI, MagCache in diffusers in a pipeline of diffusers, and diffusers' caches in a loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch

from benchmarks.small.cases import Bench, Case, calibration_cases
from benchmarks.small.comfyui_host import Host, SamplingSetting, with_copied_input, with_magcache
from benchmarks.small.diffusers_host import PipelineHost, along
from benchmarks.small.loop import CacheSetting, Outcome, measure_ratios, sample
from benchmarks.small.peers import PEERS, Peer
from benchmarks.small.searched import searched
from magcache.curves.propagation import GROWING
from magcache.curves.shipped import known_propagation
from magcache.diffusers import apply, calibrate
from magcache.planning.threshold import plan_by_threshold
from magcache.runtime.calibration_mode import CalibrationMode
from magcache.runtime.modes import SpeedupMode, ThresholdMode
from magcache.settings import ThresholdSettings

OURS, RULE, PLAIN, SEARCHED = "MagCache", "published rule", "plain sampling, fewer steps", "search on the true error, held"
IN_DIFFUSERS = "MagCache in diffusers"
EIGHT, ASSUMED, WITHOUT_ERRORS = "MagCache, eight prompts", "MagCache, propagation assumed", "MagCache, magnitudes only"
SHIPPED = "MagCache, propagation shipped"
"""Ours with other calibrations: on eight prompts instead of one; not thorough, so that errors are taken to grow; like a published list of
ratios, which holds no inner products either; and not thorough, where MagCache knows the model."""
_RULE_THRESHOLDS = (0.02, 0.04, 0.06, 0.09, 0.12, 0.18, 0.24, 0.36, 0.5, 0.8)
_RULE_MAX_SKIPS = range(1, 7)
_COMFYUI_THRESHOLDS = (0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.14, 0.2, 0.28, 0.4, 0.6, 1.0)

Sampler = Callable[[Case], Outcome]
Candidate = tuple[str, Sampler]
"""A label of the settings, and sampling with them."""


@dataclass(frozen=True, slots=True)
class Method:
    """A way to sample faster, with the settings to choose from."""

    name: str
    candidates: Callable[[int], list[Candidate]]
    """Returns the settings that may be chosen for a number of evaluations."""
    full: Sampler
    """Sampling in full on the same host."""


def comfyui_methods(bench: Bench, host: Host) -> Iterator[Method]:
    """MagCache, the published rule, plain sampling and ComfyUI's own caches. MagCache is calibrated on the case to tune with."""
    from comfy_extras.nodes_easycache import EasyCacheNode, LazyCacheNode

    from magcache.comfyui.curve_folders import curve_store

    setting, model = bench.setting, host.model(bench.setting.shift)
    for name, count in (("own", 1), ("eight", 8)):
        for index, case in enumerate(calibration_cases(bench.small, count)):
            mode = CalibrationMode("auto", name, average=index > 0, thorough=index < 2)
            host.sample(with_magcache(model, mode)[0], case.prompt, case.noise, setting)
    own = curve_store().load("own", setting.steps)
    curve_store().save(replace(own, name="assumed", propagation=GROWING))
    curve_store().save(replace(own, name="magnitudes", propagation=GROWING, products={}))
    known = known_propagation(None, str(own.provenance.get("fingerprint")))
    if known:
        curve_store().save(replace(own, name="shipped", propagation=known))
    sigmas = host.sigmas(setting)[:-1]

    def sampler(model: Any, setting: SamplingSetting = setting) -> Sampler:
        return lambda case: host.sample(model, case.prompt, case.noise, setting)

    def planned(curve: str) -> Callable[[int], list[Candidate]]:
        return lambda target: [(f"{target} evaluations", sampler(with_magcache(model, SpeedupMode(setting.steps / target, curve))[0]))]

    def fewer(target: int) -> list[Candidate]:
        return [(f"{target} steps", sampler(model, replace(setting, steps=target)))]

    def by_rule(target: int) -> list[Candidate]:
        """The settings whose plans have the fewest evaluations that are not below `target`, one of each plan."""
        choices = [ThresholdSettings(threshold=delta, max_skip=k) for k in _RULE_MAX_SKIPS for delta in _RULE_THRESHOLDS]
        counted = [(plan_by_threshold(own, sigmas, choice), choice) for choice in choices]
        least = min((plan.nfe for plan, _ in counted if plan.nfe >= target), default=0)
        different = {plan.reused: choice for plan, choice in counted if plan.nfe == least}
        return [
            (f"δ {choice.threshold} K {choice.max_skip}", sampler(with_magcache(model, ThresholdMode("own", choice))[0]))
            for choice in different.values()
        ]

    def cached(node: Any) -> Callable[[int], list[Candidate]]:
        options = [
            (f"threshold {threshold}", sampler(node.execute(with_copied_input(model), threshold, 0.15, 0.95, False).args[0]))
            for threshold in _COMFYUI_THRESHOLDS
        ]
        return lambda target: options

    full = remembered(sampler(model))
    yield Method(PLAIN, fewer, full)
    yield Method(OURS, planned("own"), full)
    yield Method(EIGHT, planned("eight"), full)
    if known:
        yield Method(SHIPPED, planned("shipped"), full)
    yield Method(ASSUMED, planned("assumed"), full)
    yield Method(WITHOUT_ERRORS, planned("magnitudes"), full)
    yield Method(RULE, by_rule, full)
    yield Method("ComfyUI EasyCache", cached(EasyCacheNode), full)
    yield Method("ComfyUI LazyCache", cached(LazyCacheNode), full)


def in_diffusers(bench: Bench, host: Host) -> Method:
    """`magcache.diffusers` on the model's pipeline, along ComfyUI's sigmas, calibrated there on the case to tune with."""
    (tuning,) = calibration_cases(bench.small, 1)
    steps, guidance, folder = bench.setting.steps, bench.setting.guidance, host.curves / "diffusers"
    pipeline = PipelineHost(bench.small, along(host.sigmas(bench.setting)[:-1]))

    def run(case: Case) -> Outcome:
        return pipeline.sample(case.prompt, case.noise, steps, guidance)

    def planned(target: int) -> list[Candidate]:
        def faster(case: Case) -> Outcome:
            with apply(pipeline.pipe, steps / target, guidance=guidance, folder=folder):
                return run(case)

        return [(f"{target} evaluations", faster)]

    calibrate(pipeline.pipe, thorough=True, folder=folder, **pipeline.arguments(tuning.prompt, tuning.noise, steps, guidance))
    return Method(IN_DIFFUSERS, planned, remembered(run))


def diffusers_methods(bench: Bench, host: Host) -> Iterator[Method]:
    """MagCache in a pipeline; the caches of diffusers and cache-dit and a searched plan in a plain loop."""
    yield in_diffusers(bench, host)
    small, guidance, model = bench.small, bench.setting.guidance, bench.small.load()
    (tuning,) = calibration_cases(small, 1)
    sigmas = torch.tensor(host.sigmas(bench.setting))
    ratios = measure_ratios(small, model, sigmas, tuning.noise, tuning.prompt, guidance)

    def sampler(choice: CacheSetting | None = None) -> Sampler:
        return lambda case: sample(small, model, sigmas, case.noise, case.prompt, guidance, choice, ratios)

    def swept(peer: Peer) -> Callable[[int], list[Candidate]]:
        options = [(choice.label, sampler(choice)) for choice in peer.settings]
        return lambda target: options

    def by_search(target: int) -> list[Candidate]:
        choice = searched(small, model, sigmas, tuning, guidance, target)
        return [(choice.label, sampler(choice))]

    full, blocks = remembered(sampler()), len(list(small.blocks(model)))
    yield Method(SEARCHED, by_search, full)
    for peer in PEERS:
        if peer.least_blocks <= blocks:
            yield Method(peer.name, swept(peer), full)


METHODS: dict[str, Callable[[Bench, Host], Iterator[Method]]] = {"comfyui": comfyui_methods, "diffusers": diffusers_methods}
"""The methods of each host."""


def remembered(run: Sampler) -> Sampler:
    """`run`, but each case is sampled only once."""
    known: dict[str, Outcome] = {}

    def recall(case: Case) -> Outcome:
        if case.prompt not in known:
            known[case.prompt] = run(case)
        return known[case.prompt]

    return recall
