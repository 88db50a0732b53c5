"""Picture quality of step caches at an equal number of evaluations, on the two small models.

    python -m benchmarks.quality

Every method samples the same prompts from the same noise and is compared with sampling in full. Calibration and the choice of every
peer's settings see one prompt that is not evaluated. A peer gets the setting whose number of evaluations is nearest from above, the
best of these if there are several. ComfyUI's nodes run in a real ComfyUI, diffusers' hooks in a plain loop over the same weights.
"""

from __future__ import annotations

import datetime
import json
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import numpy as np
import torch
import typer

from benchmarks import quality_report
from benchmarks.small import peers
from benchmarks.small.comfyui_host import Host, Setting, start_comfyui, with_copied_input, with_magcache
from benchmarks.small.loop import Outcome, measure_ratios, sample
from benchmarks.small.models import IMAGE, VIDEO, SmallModel
from magcache.reports.metrics import psnr, ssim

SPEEDUPS = (2.0, 2.5, 3.0)
OURS, WITHOUT_ERRORS, RULE, PLAIN = "MagCache", "MagCache, magnitudes only", "published rule", "plain sampling, fewer steps"
UNSEEN = 80
"""The first prompt, of all in a fixed shuffled order, that nothing was ever chosen by. There are 96 for the image."""
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Bench:
    name: str
    small: SmallModel
    setting: Setting


BENCHES = (Bench("image", IMAGE, Setting(28, 2.5)), Bench("video", VIDEO, Setting(30, 3.0)))


@dataclass(frozen=True, slots=True)
class Case:
    """A prompt and the noise it starts from."""

    prompt: str
    noise: torch.Tensor


Candidate = tuple[str, Callable[[Case], Outcome]]
"""A label of its settings and a way to sample."""


@dataclass(frozen=True, slots=True)
class Method:
    name: str
    candidates: Callable[[int], list[Candidate]]
    """What to choose from for a number of evaluations."""
    full: Callable[[Case], Outcome]
    """Sampling in full on the same host."""


@dataclass(frozen=True, slots=True)
class Score:
    """One method at one number of evaluations. Lists have one value a prompt."""

    method: str
    setting: str
    target: int
    nfe: float
    psnr: list[float]
    ssim: list[float]
    latent_error: list[float]


def make_cases(small: SmallModel, count: int) -> tuple[Case, list[Case]]:
    """The case to calibrate and tune with, and `count` others to evaluate."""
    shuffled = np.random.default_rng(11).permutation(np.array(small.prompts()))
    shape = (1, *small.to_latent(small.draw(shuffled[0], np.random.default_rng(0))[None]).shape[1:])

    def case(index: int) -> Case:
        return Case(str(shuffled[index]), torch.randn(shape, generator=torch.Generator().manual_seed(1000 + index)))

    return case(0), [case(index) for index in range(UNSEEN, UNSEEN + count)]


def latent_error(sampled: Outcome, reference: Outcome) -> float:
    return float((sampled.latents - reference.latents).norm() / reference.latents.norm())


def evaluate(bench: Bench, method: Method, tuning: Case, cases: list[Case]) -> Iterator[Score]:
    """The method at every speed-up."""
    tried: dict[str, tuple[float, float]] = {}
    references = [method.full(case) for case in cases]
    tuning_reference = method.full(tuning)
    for speedup in SPEEDUPS:
        target = int(bench.setting.steps / speedup + 1e-9)
        candidates = dict(method.candidates(target))
        for label, run in candidates.items():
            if label not in tried:
                sampled = run(tuning)
                tried[label] = sampled.nfe, latent_error(sampled, tuning_reference)
        enough = [(tried[label][0], tried[label][1], label) for label in candidates if tried[label][0] > target - 0.01]
        if not enough:
            continue
        least = min(enough)[0]
        label = min((error, label) for nfe, error, label in enough if nfe < least + 0.5)[1]
        sampled = [candidates[label](case) for case in cases]
        pairs = list(zip(sampled, references, strict=True))
        drawn = [(pictures(bench.small, one), pictures(bench.small, other)) for one, other in pairs]
        yield Score(
            method.name,
            label,
            target,
            fmean(one.nfe for one in sampled),
            [psnr(there, here) for here, there in drawn],
            [fmean(ssim(there, here) for here, there in zip(one, other, strict=True)) for one, other in drawn],
            [latent_error(one, other) for one, other in pairs],
        )


def pictures(small: SmallModel, sampled: Outcome) -> np.ndarray:
    """(frames, height, width, 3) in uint8; a picture is a video of one frame."""
    decoded = small.from_latent(sampled.latents.float().numpy())[0]
    frames = decoded[:, None] if decoded.ndim == 3 else decoded
    return np.round(np.clip((frames + 1) * 127.5, 0, 255)).astype(np.uint8).transpose(1, 2, 3, 0)


def remembered(run: Callable[[Case], Outcome]) -> Callable[[Case], Outcome]:
    """`run`, but each case only once."""
    known: dict[str, Outcome] = {}

    def recall(case: Case) -> Outcome:
        if case.prompt not in known:
            known[case.prompt] = run(case)
        return known[case.prompt]

    return recall


def comfyui_methods(bench: Bench, host: Host, tuning: Case) -> Iterator[Method]:
    """Ours, the published rule and ComfyUI's own caches. Calibrates on `tuning`."""
    from comfy_extras.nodes_easycache import EasyCacheNode, LazyCacheNode

    from magcache.comfyui import curve_folders
    from magcache.comfyui.modes import BudgetOutline, RecordingOutline, SkippingOutline
    from magcache.planning.threshold import plan_by_threshold
    from magcache.settings import ThresholdSettings

    setting, model = bench.setting, host.model(bench.setting.shift)
    host.sample(with_magcache(model, RecordingOutline("auto", "own"))[0], tuning.prompt, tuning.noise, setting)
    curve = curve_folders.load("own", setting.steps)
    curve_folders.save(replace(curve, name="magnitudes", products={}, spread={}, distance={}))
    sigmas = host.sigmas(setting)[:-1]

    def sampler(model: Any, setting: Setting = setting) -> Callable[[Case], Outcome]:
        return lambda case: host.sample(model, case.prompt, case.noise, setting)

    def planned(curve: str) -> Callable[[int], list[Candidate]]:
        return lambda target: [(f"{target} evaluations", sampler(with_magcache(model, BudgetOutline(setting.steps / target, curve))[0]))]

    def fewer(target: int) -> list[Candidate]:
        return [(f"{target} steps", sampler(model, Setting(target, setting.guidance, shift=setting.shift)))]

    def by_rule(target: int) -> list[Candidate]:
        choices = [
            ThresholdSettings(threshold=delta / 100, max_skip=k) for k in range(1, 7) for delta in (2, 4, 6, 9, 12, 18, 24, 36, 50, 80)
        ]
        counted = [(plan_by_threshold(curve, sigmas, choice), choice) for choice in choices]
        least = min((plan.nfe for plan, _ in counted if plan.nfe >= target), default=0)
        different = {plan.reused: choice for plan, choice in counted if plan.nfe == least}
        return [
            (f"δ {choice.threshold} K {choice.max_skip}", sampler(with_magcache(model, SkippingOutline("own", choice))[0]))
            for choice in different.values()
        ]

    def cached(node: Any) -> Callable[[int], list[Candidate]]:
        thresholds = (0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.14, 0.2, 0.28, 0.4, 0.6, 1.0)
        options = [(f"threshold {t}", sampler(node.execute(with_copied_input(model), t, 0.15, 0.95, False).args[0])) for t in thresholds]
        return lambda target: options

    full = remembered(sampler(model))
    yield Method(PLAIN, fewer, full)
    yield Method(OURS, planned("own"), full)
    yield Method(WITHOUT_ERRORS, planned("magnitudes"), full)
    yield Method(RULE, by_rule, full)
    yield Method("ComfyUI EasyCache", cached(EasyCacheNode), full)
    yield Method("ComfyUI LazyCache", cached(LazyCacheNode), full)


def run_job(name: str, which: str, prompts: int, threads: int) -> list[dict[str, Any]]:
    """The scores of all methods of one host, `comfyui` or `diffusers`, on one model."""
    torch.set_num_threads(threads)
    logging.basicConfig(format=f"{name}: %(message)s")
    start_comfyui()
    log.setLevel(logging.INFO)
    bench = next(bench for bench in BENCHES if bench.name == name)
    tuning, cases = make_cases(bench.small, prompts)
    scores: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        host = Host(bench.small, Path(folder))
        for method in HOSTS[which](bench, host, tuning):
            for score in evaluate(bench, method, tuning, cases):
                scores.append(asdict(score))
                figures = score.nfe, fmean(score.psnr), min(score.psnr)
                log.info("%s, %s: NFE %.1f, PSNR %.1f / %.1f dB", score.method, score.setting, *figures)
    return scores


def diffusers_methods(bench: Bench, host: Host, tuning: Case) -> Iterator[Method]:
    """The caches of diffusers and cache-dit, in a plain loop."""
    small, guidance, model = bench.small, bench.setting.guidance, bench.small.load()
    sigmas = torch.tensor(host.sigmas(bench.setting))
    ratios = measure_ratios(small, model, sigmas, tuning.noise, tuning.prompt, guidance)

    def sampler(choice: peers.Setting | None = None) -> Callable[[Case], Outcome]:
        return lambda case: sample(small, model, sigmas, case.noise, case.prompt, guidance, choice, ratios)

    def swept(peer: peers.Peer) -> Callable[[int], list[Candidate]]:
        options = [(choice.label, sampler(choice)) for choice in peer.settings]
        return lambda target: options

    full, blocks = remembered(sampler()), len(list(small.blocks(model)))
    for peer in peers.PEERS:
        if peer.least_blocks <= blocks:
            yield Method(peer.name, swept(peer), full)


HOSTS = {"comfyui": comfyui_methods, "diffusers": diffusers_methods}


def main(
    out: Annotated[Path, typer.Option(help="Folder for quality.json, quality.md and quality.png.")] = Path(__file__).parent / "results",
    prompts: Annotated[int, typer.Option(min=1, help="Prompts to evaluate on.")] = 16,
    only: Annotated[str | None, typer.Option(help="image or video: measure one and keep what is known of the other.")] = None,
) -> None:
    benches = [bench for bench in BENCHES if only in (None, bench.name)]
    workers = min(os.cpu_count() or 1, len(benches) * len(HOSTS))
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        threads = max(1, (os.cpu_count() or 1) // workers)
        jobs = {(bench.name, host): pool.submit(run_job, bench.name, host, prompts, threads) for bench in benches for host in HOSTS}
        measured = {job: future.result() for job, future in jobs.items()}
    out.mkdir(parents=True, exist_ok=True)
    path = out / "quality.json"
    models: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for bench in benches:
        models[bench.name] = {
            "date": datetime.date.today().isoformat(),
            "setting": asdict(bench.setting),
            "prompts": [case.prompt for case in make_cases(bench.small, prompts)[1]],
            "scores": [score for host in HOSTS for score in measured[bench.name, host]],
        }
    path.write_text(json.dumps(models, indent=1), encoding="utf-8")
    quality_report.write(models, out)


if __name__ == "__main__":
    typer.run(main)
