"""Sampling for `benchmarks.gpu`: one run in ComfyUI with a stopwatch, a profiler or a count of blocks around its loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any

import comfy.sample
import comfy.samplers
import torch
from comfy.k_diffusion.sampling import sample_euler
from comfy_api.torch_helpers import set_torch_compile_wrapper
from torch.profiler import profile

from benchmarks.gpu.models import Workload, noise
from magcache.comfyui.base_model import family_of
from magcache.comfyui.patch import MagCachePatch
from magcache.comfyui.progress import SamplerCallback
from magcache.curves.store import CurveStore
from magcache.planning.plan import Plan
from magcache.reports.run_report import RunLabel, RunReport
from magcache.runtime.family import submodule
from magcache.runtime.run_setup import RunFacts, RunSetup
from magcache.runtime.stopwatch import Stopwatch
from magcache.settings import CacheDevice

Device = torch.device
READ = "aten::_local_scalar_dense"
"""PyTorch's name for reading a number out of a tensor. On a GPU the host waits for the device there."""


@dataclass(frozen=True, slots=True)
class SampledRun:
    """The result of one run and what it took. Times are those of the sampler, without loading and preparing the model."""

    latent: torch.Tensor
    step_seconds: list[float]
    loop_seconds: float
    peak_bytes: int | None
    """Most memory of the device in use; None on a CPU."""
    report: RunReport | None
    """None without MagCache."""

    def seconds_of(self, reused: bool) -> list[float]:
        """Times of the steps that were reused, or of those that were computed."""
        events = self.report.events if self.report else ()
        return [spent for spent, event in zip(self.step_seconds, events, strict=True) if event.reused == reused]


@dataclass(frozen=True, slots=True)
class PlannedMode:
    """The mode of a run by a plan of the benchmark's own."""

    plan: Plan
    curve: str
    """Name of the curve that the plan was made from."""

    def setup(self, run: RunFacts, store: CurveStore) -> RunSetup:
        return RunSetup(self.plan, RunLabel("skipping", self.curve))


class _StoppedError(Exception):
    """Ends a run after its first step."""


class TimedEuler(comfy.samplers.KSAMPLER):
    """ComfyUI's Euler sampler with a stopwatch, a context and a callback around its loop.

    Its function is ComfyUI's own, so that MagCache recognises Euler as in an ordinary run. MagCache tries that function out on single
    numbers before `sample` is called: neither the stopwatch nor the context sees it.
    """

    def __init__(self, watch: Stopwatch, around: AbstractContextManager[Any], each: Callable[[], None]) -> None:
        super().__init__(sample_euler)
        self.seconds: list[float] = []
        """Of each step, and of what follows the last one."""
        self._watch, self._around, self._each = watch, around, each

    def sample(
        self, model_wrap: Any, sigmas: torch.Tensor, extra_args: dict[str, Any], callback: SamplerCallback | None, *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        def stepped(step: int, denoised: Any, x: Any, steps: int) -> None:
            if callback is not None:
                callback(step, denoised, x, steps)
            self._watch.mark()
            self._each()

        with self._around:
            self._watch.mark()
            result = super().sample(model_wrap, sigmas, extra_args, stepped, *args, **kwargs)
            self._watch.mark()
        self.seconds = self._watch.seconds()
        return result


@dataclass(frozen=True, slots=True)
class Subject:
    """A model patcher, plain or compiled, and the workload with which it is sampled."""

    workload: Workload
    device: Device
    patcher: Any

    def sigmas(self, steps: int | None = None) -> torch.Tensor:
        """The schedule with its closing 0, or only its first `steps` steps."""
        whole = comfy.samplers.calculate_sigmas(self.patcher.get_model_object("model_sampling"), "simple", self.workload.steps)
        return whole if steps is None else whole[: steps + 1]

    def compiled(self) -> Subject:
        """The same with torch.compile, which is set up as by ComfyUI's node Compile Model."""
        model = self.patcher.clone()
        mode = "default" if self.workload.backend == "inductor" else None
        set_torch_compile_wrapper(model, backend=self.workload.backend, mode=mode, fullgraph=False, dynamic=False)
        return Subject(self.workload, self.device, model)

    @torch.inference_mode()
    def sample(
        self,
        sigmas: torch.Tensor,
        plan: Plan | None = None,
        cache_device: CacheDevice = "device",
        around: AbstractContextManager[Any] | None = None,
        each: Callable[[], None] = lambda: None,
    ) -> SampledRun:
        """One run by `plan`, or without MagCache. `around` is entered for the sampler's loop, `each` is called after each step."""
        reports: list[RunReport] = []
        model, workload = self.patcher, self.workload
        if plan is not None:
            mode = PlannedMode(plan, workload.curve)
            model = MagCachePatch(mode, lambda report, _: reports.append(report), cache_device).attach(model)
        sampler = TimedEuler(Stopwatch(self.device), around or nullcontext(), each)
        empty = torch.zeros(workload.latent)
        positive, negative = workload.conditioning(1), workload.conditioning(2)
        _settle(self.device)
        latent = comfy.sample.sample_custom(
            model, noise(*workload.latent, seed=3), workload.cfg, sampler, sigmas, positive, negative, empty, disable_pbar=True, seed=1
        )
        report = reports[0] if reports else None
        return SampledRun(latent.cpu(), sampler.seconds[:-1], sum(sampler.seconds), _peak(self.device), report)

    def short(self, pairs: int, magcache: bool, **how: Any) -> SampledRun:
        """A full step, then `pairs` of a full and a skipped one. All are full without MagCache. `how` goes to `sample`."""
        sigmas = self.sigmas(1 + 2 * pairs)
        return self.sample(sigmas, alternating(sigmas.tolist()[:-1]) if magcache else None, **how)

    def first_step(self, sigmas: torch.Tensor) -> None:
        """Run the first step of a run over `sigmas`, without MagCache: what depends on the length of the schedule is compiled then."""

        def stop() -> None:
            raise _StoppedError

        with suppress(_StoppedError):
            self.sample(sigmas, each=stop)

    @contextmanager
    def block_calls(self) -> Iterator[list[int]]:
        """Within: the number of calls of any block so far, in a list of one."""
        calls = [0]

        def count(*_: Any) -> None:
            calls[0] += 1

        family, model = family_of(self.patcher), self.patcher.model.diffusion_model
        lists = [submodule(model, path) for path in family.blocks]
        handles = [block.register_forward_hook(count) for blocks in lists if blocks is not None for block in blocks.children()]
        try:
            yield calls
        finally:
            for handle in handles:
                handle.remove()


def alternating(sigmas: list[float]) -> Plan:
    """Compute the first step, whose residual nothing uses; then compute one and skip one."""
    reused = tuple(step > 0 and step % 2 == 0 for step in range(len(sigmas)))
    return Plan(tuple(sigmas), reused, (0.0,) * len(sigmas))


def waits(run: Callable[[AbstractContextManager[Any]], object]) -> dict[str, int]:
    """Number of calls, by name, that make the host wait for the device within a run's loop, of copies to the host, and of `READ`.

    `run` is called with a profiler, which it must enter around its loop. A CPU has only `READ`.
    """

    profiler = profile()
    run(profiler)
    found = {event.key: event.count for event in profiler.key_averages()}
    return {name: count for name, count in sorted(found.items()) if _waits(name)}


def _waits(name: str) -> bool:
    return name.endswith("Synchronize") or name in ("cudaMemcpy", "hipMemcpy", "cudaFree", "hipFree", READ) or "DtoH" in name


def _settle(device: Device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)


def _peak(device: Device) -> int | None:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
