"""The measurements of `benchmarks.gpu` on one model, the most important first."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch._dynamo.utils import counters

from benchmarks.gpu.models import Workload, build
from benchmarks.gpu.runs import SampledRun, Subject, waits
from magcache.curves.shipped import load_curve
from magcache.planning.budget import plan_speedup
from magcache.planning.influence import euler_influence
from magcache.planning.prediction import best_reuse
from magcache.settings import CacheDevice, Reuse

Figures = dict[str, Any]
SPEEDUPS = (2, 3)


@dataclass(frozen=True, slots=True)
class GpuMeasurement:
    """A measurement that can be taken."""

    name: str
    take: Callable[[], Figures]
    expected_seconds: Callable[[], float | None]
    """Returns the time it should take by the figures so far; None if there are none yet."""


class GpuBench:
    """One model on one device, plain and compiled, and its measurements. `known` are the figures so far; its owner adds new ones to it."""

    def __init__(self, workload: Workload, device: torch.device, known: Mapping[str, Figures]) -> None:
        self._workload, self._known = workload, known
        self._eager = Subject(workload, device, build(workload, device))
        self._compiled = self._eager.compiled()

    @property
    def parameters(self) -> int:
        """Number of the model's parameters."""
        return sum(parameter.numel() for parameter in self._eager.patcher.model.diffusion_model.parameters())

    def measurements(self) -> list[GpuMeasurement]:
        """All measurements, the most important first."""
        eager, compiled = self._eager, self._compiled
        return [
            self._steps("eager", eager),
            self._waits(eager),
            *self._whole_runs("eager", eager),
            self._steps("compiled", compiled),
            *self._whole_runs("compiled", compiled),
            self._cached("eager/2x extrapolated", eager, 2, reuse="extrapolate"),
            self._cached("eager/2x offloaded", eager, 2, cache_device="cpu"),
        ]

    def _steps(self, mode: str, subject: Subject) -> GpuMeasurement:
        """Time of full and skipped steps and their memory, with residuals on the device and on the CPU."""

        def take() -> Figures:
            first = self._first_run(mode, subject)
            pairs = self._workload.pairs
            without = subject.short((pairs + 1) // 2, magcache=False)
            device = subject.short(pairs, magcache=True)
            offloaded = subject.short(pairs, magcache=True, cache_device="cpu")
            difference = (device.latent - offloaded.latent).abs().max().item()
            return {
                **first,
                "without": {"full_step_seconds": median(without.step_seconds[1:]), "peak_memory_bytes": without.peak_bytes},
                "on_device": _by_kind(device),
                "offloaded": {**_by_kind(offloaded), "largest_difference_to_on_device": difference},
                "finite": bool(device.latent.isfinite().all()),
            }

        count = 2 * self._workload.pairs
        return GpuMeasurement(f"{mode}/steps", take, lambda: self._seconds("eager", count * 3, count))

    def _first_run(self, mode: str, subject: Subject) -> Figures:
        """Warm up with every kind of step. A compiled model is compiled here; of a plain one the calls of blocks are counted."""
        if mode == "compiled":
            return {"warm_up_without": self._warm_up(subject, False), "warm_up_with": self._warm_up(subject, True)}
        with subject.block_calls() as calls:
            seen = [0]
            subject.short(1, magcache=True, each=lambda: seen.append(calls[0]))
        return {"blocks_in_full_step": seen[2] - seen[1], "blocks_in_skipped_step": seen[3] - seen[2]}

    def _warm_up(self, subject: Subject, magcache: bool) -> Figures:
        """Time of a short run, and the number of graphs that it compiled."""
        before, began = _graphs(), time.perf_counter()
        subject.short(1, magcache=magcache)
        return {"seconds": time.perf_counter() - began, "graphs": _graphs() - before}

    def _waits(self, subject: Subject) -> GpuMeasurement:
        """Number of calls that make the host wait for the device: without MagCache, and with residuals in both places."""
        pairs = 2
        steps = 1 + 2 * pairs

        def take() -> Figures:
            without = waits(lambda around: subject.short(pairs, magcache=False, around=around))
            auto = waits(lambda around: subject.short(pairs, magcache=True, cache_device="auto", around=around))
            offloaded = waits(lambda around: subject.short(pairs, magcache=True, cache_device="cpu", around=around))
            return {
                "without_per_run": without,
                "auto_per_run": auto,
                "offloaded_per_run": offloaded,
                "steps": steps,
                "auto_added_per_step": _added(without, auto, steps),
                "offloaded_added_per_step": _added(without, offloaded, steps),
            }

        return GpuMeasurement("eager/waits", take, lambda: self._seconds("eager", steps + 2 * (1 + pairs), 2 * pairs))

    def _whole_runs(self, mode: str, subject: Subject) -> list[GpuMeasurement]:
        """A whole run without MagCache, and one at each of `SPEEDUPS`."""

        def without() -> Figures:
            if mode == "compiled":
                subject.first_step(subject.sigmas())
            before = _graphs()
            sampled = subject.sample(subject.sigmas())
            return {
                "loop_seconds": sampled.loop_seconds,
                "steps": len(sampled.step_seconds),
                "peak_memory_bytes": sampled.peak_bytes,
                "graphs_compiled": _graphs() - before,
            }

        plain = GpuMeasurement(f"{mode}/without", without, lambda: self._seconds(mode, self._workload.steps + 1, 0))
        return [plain, *(self._cached(f"{mode}/{speedup}x", subject, speedup) for speedup in SPEEDUPS)]

    def _cached(
        self, name: str, subject: Subject, speedup: float, reuse: Reuse | None = None, cache_device: CacheDevice = "device"
    ) -> GpuMeasurement:
        """A whole run at a speed-up, planned from the curve that MagCache ships for the model."""
        mode = name.split("/")[0]
        sigmas = subject.sigmas()
        curve = load_curve(self._workload.curve, self._workload.steps)
        chosen = reuse or best_reuse(curve)
        levels = sigmas.tolist()[:-1]
        influence = euler_influence(levels)
        plan = plan_speedup(curve, levels, speedup, guidance=self._workload.cfg, reuse=chosen, influence=influence)

        def take() -> Figures:
            before = _graphs()
            sampled = subject.sample(sigmas, plan, cache_device)
            assert sampled.report is not None
            measured = self._measured_speedup(mode, sampled)
            return {
                "loop_seconds": sampled.loop_seconds,
                "evaluations": sampled.report.evaluations,
                "evaluations_computed": sampled.report.nfe,
                "evaluations_planned": plan.nfe,
                "reuse": chosen,
                "predicted_speedup": sampled.report.predicted,
                "measured_speedup": measured,
                "measured_over_predicted": measured / sampled.report.predicted if measured else None,
                "peak_memory_bytes": sampled.peak_bytes,
                "residual_bytes": sampled.report.residual_bytes,
                "graphs_compiled": _graphs() - before,
            }

        return GpuMeasurement(name, take, lambda: self._seconds(mode, plan.nfe, plan.steps - plan.nfe))

    def _measured_speedup(self, mode: str, sampled: SampledRun) -> float | None:
        """Relative to the run without MagCache; None if there is none yet."""
        plain = self._known.get(f"{mode}/without")
        return plain["loop_seconds"] / sampled.loop_seconds if plain else None

    def _seconds(self, mode: str, full: int, skipped: int) -> float | None:
        """Expected time of `full` and `skipped` steps; None if steps were not measured yet."""
        steps = self._known.get(f"{mode}/steps")
        if steps is None:
            return None
        return full * steps["on_device"]["full_step_seconds"] + skipped * steps["offloaded"]["skipped_step_seconds"]


def _graphs() -> int:
    """Number of graphs that this process compiled so far. Each measurement states its own: compiling within a timed run spoils its time."""
    return counters["stats"]["unique_graphs"]


def _by_kind(sampled: SampledRun) -> Figures:
    """Median times of full and skipped steps, without the first full one."""
    assert sampled.report is not None
    return {
        "full_step_seconds": median(sampled.seconds_of(False)[1:]),
        "skipped_step_seconds": median(sampled.seconds_of(True)),
        "peak_memory_bytes": sampled.peak_bytes,
        "residual_bytes": sampled.report.residual_bytes,
    }


def _added(without: dict[str, int], with_it: dict[str, int], steps: int) -> dict[str, float]:
    """Calls a step that MagCache adds, by name."""
    return {name: (with_it.get(name, 0) - without.get(name, 0)) / steps for name in sorted({*without, *with_it})}
