"""Picture quality of step caches at an equal number of evaluations, on three small models.

    python -m benchmarks.quality

Every method samples the same prompts from the same noise and is compared with sampling in full. Calibration and the choice of every
method's settings see one prompt that is not evaluated. A method gets the setting whose number of evaluations is nearest from above; of
several, the best on that prompt. ComfyUI's nodes run in a real ComfyUI, diffusers' hooks in a plain loop over the same weights.
"""

from __future__ import annotations

import datetime
import json
import logging
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import torch
import typer

from benchmarks import quality_report
from benchmarks.quality_methods import METHODS, Method
from benchmarks.small.cases import BENCHES, Bench, Case, latent_error, make_cases, pictures
from benchmarks.small.comfyui_host import Host, start_comfyui
from magcache.planning.budget import evaluations_for
from magcache.reports.metrics import psnr, ssim

SPEEDUPS = (2.0, 2.5, 3.0)
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Score:
    """One method at one number of evaluations. Lists have one value a prompt."""

    method: str
    setting: str
    target: int
    """The number of evaluations that is to be reached."""
    nfe: float
    """The number of evaluations that was counted, the mean over the prompts."""
    psnr: list[float]
    """In dB, to sampling in full."""
    ssim: list[float]
    latent_error: list[float]
    """Relative to the latents of sampling in full."""


def evaluate(bench: Bench, method: Method, tuning: Case, cases: list[Case]) -> Iterator[Score]:
    """The method at every speed-up that it can reach."""
    tried: dict[str, tuple[float, float]] = {}
    references = [method.full(case) for case in cases]
    tuning_reference = method.full(tuning)
    for speedup in SPEEDUPS:
        target = evaluations_for(bench.setting.steps, speedup)
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


def run_job(name: str, host: str, prompts: int, threads: int, chosen: list[str]) -> list[dict[str, Any]]:
    """The scores of the methods of one host (`comfyui` or `diffusers`) whose names hold one of `chosen`, on the model `name`."""
    torch.set_num_threads(threads)
    logging.basicConfig(format=f"{name}: %(message)s", force=True)
    start_comfyui()
    log.setLevel(logging.INFO)
    bench = next(bench for bench in BENCHES if bench.name == name)
    tuning, cases = make_cases(bench.small, prompts)
    scores: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for method in METHODS[host](bench, Host(bench.small, Path(folder))):
            for score in evaluate(bench, method, tuning, cases) if any(part in method.name for part in chosen) else ():
                scores.append(asdict(score))
                figures = score.nfe, fmean(score.psnr), min(score.psnr)
                log.info("%s, %s: NFE %.1f, PSNR %.1f / %.1f dB", score.method, score.setting, *figures)
    return scores


def main(
    out: Annotated[Path, typer.Option(help="Folder for quality.json, quality.md and quality.png.")] = Path(__file__).parent / "results",
    prompts: Annotated[int, typer.Option(min=1, help="Number of prompts to evaluate.")] = 16,
    only: Annotated[str | None, typer.Option(help="image, video or emoji: measure this model and keep the results of the others.")] = None,
    method: Annotated[
        str, typer.Option(help="Measure the methods whose names hold one of these, with commas between, and keep the others' results.")
    ] = "",
) -> None:
    benches = [bench for bench in BENCHES if only in (None, bench.name)]
    workers = min(os.cpu_count() or 1, len(benches) * len(METHODS))
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        threads = max(1, (os.cpu_count() or 1) // workers)
        jobs = {
            (bench.name, host): pool.submit(run_job, bench.name, host, prompts, threads, method.split(","))
            for bench in benches
            for host in METHODS
        }
        measured = {job: future.result() for job, future in jobs.items()}
    out.mkdir(parents=True, exist_ok=True)
    path = out / "quality.json"
    models: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for bench in benches:
        scores = [score for host in METHODS for score in measured[bench.name, host]]
        models[bench.name] = {
            "date": datetime.date.today().isoformat(),
            "setting": asdict(bench.setting),
            "prompts": [case.prompt for case in make_cases(bench.small, prompts)[1]],
            "scores": scores if not method else _merged(models.get(bench.name, {}).get("scores", []), scores),
        }
    path.write_text(json.dumps(models, indent=1), encoding="utf-8")
    quality_report.write(models, out)


def _merged(earlier: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The earlier scores with those of the methods that were measured anew in their place."""
    again = {score["method"] for score in new}
    first = next((place for place, score in enumerate(earlier) if score["method"] in again), len(earlier))
    kept = [score for score in earlier if score["method"] not in again]
    return [*kept[:first], *new, *kept[first:]]


if __name__ == "__main__":
    typer.run(main)
