"""Sampling for `benchmarks.gpu.__main__`: one run in ComfyUI with a clock, a profiler or a count of blocks in its loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import comfy.sample
import comfy.samplers
import torch
from comfy.k_diffusion.sampling import sample_euler
from comfy_api.torch_helpers import set_torch_compile_wrapper
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu.models import Case, noise
from magcache.comfyui.patch import MagCachePatch, Outline, family_of
from magcache.planning.plan import Plan
from magcache.reports.run_report import RunReport
from magcache.runtime.stopwatch import Stopwatch
from magcache.settings import CacheDevice

Device = torch.device


@dataclass(frozen=True, slots=True)
class Sampled:
    """What one run made and what it took. The loop is the sampler's own, without loading and preparing."""

    latent: torch.Tensor
    step_seconds: list[float]
    loop_seconds: float
    peak_bytes: int | None
    """Most memory of the device in use; None on a CPU."""
    report: RunReport | None
    """None without MagCache."""

    def seconds_of(self, decision: bool) -> list[float]:
        """Of the steps that were reused, or of those that were not."""
        events = self.report.events if self.report else ()
        return [spent for spent, event in zip(self.step_seconds, events, strict=True) if event.reused == decision]


@dataclass(slots=True)
class _Loop:
    """Euler's sampler with a stopwatch."""

    watch: Stopwatch
    around: AbstractContextManager[Any]
    each: Callable[[], None]
    seconds: list[float] = field(default_factory=list)

    def __call__(self, denoise: Any, x: torch.Tensor, sigmas: torch.Tensor, extra_args: Any = None, **_: Any) -> torch.Tensor:
        def step_done(_: dict[str, Any]) -> None:
            self.watch.mark()
            self.each()

        with self.around:
            self.watch.mark()
            result = sample_euler(denoise, x, sigmas, extra_args=extra_args, callback=step_done, disable=True)
            self.watch.mark()
        self.seconds = self.watch.seconds()
        return result


@dataclass(frozen=True, slots=True)
class Subject:
    """A model patcher, plain or compiled, that is sampled as `case` says."""

    case: Case
    device: Device
    patcher: Any

    def sigmas(self, steps: int | None = None) -> torch.Tensor:
        """The schedule, or its first `steps`."""
        whole = comfy.samplers.calculate_sigmas(self.patcher.get_model_object("model_sampling"), "simple", self.case.steps)
        return whole if steps is None else whole[: steps + 1]

    def compiled(self) -> Subject:
        """The same through torch.compile, as the node Compile Model does it."""
        model = self.patcher.clone()
        mode = "default" if self.case.backend == "inductor" else None
        set_torch_compile_wrapper(model, backend=self.case.backend, mode=mode, fullgraph=False, dynamic=False)
        return Subject(self.case, self.device, model)

    @torch.inference_mode()
    def sample(
        self,
        sigmas: torch.Tensor,
        plan: Plan | None = None,
        cache_device: CacheDevice = "device",
        around: AbstractContextManager[Any] | None = None,
        each: Callable[[], None] = lambda: None,
    ) -> Sampled:
        """One run by `plan`, or without MagCache. `around` is entered for the loop, `each` is called after each step."""
        reports: list[RunReport] = []
        model = self.patcher
        if plan is not None:
            outline = Outline(plan, self.case.curve)
            model = MagCachePatch(lambda *_: outline, lambda report, _: reports.append(report), cache_device).attach(model)
        loop = _Loop(Stopwatch(self.device), around or nullcontext(), each)
        empty = torch.zeros(self.case.latent)
        positive, negative = self.case.conditioning(1), self.case.conditioning(2)
        _settle(self.device)
        latent = comfy.sample.sample_custom(
            model, noise(*self.case.latent, seed=3), self.case.cfg, comfy.samplers.KSAMPLER(loop), sigmas, positive, negative, empty,
            disable_pbar=True, seed=1,
        )  # fmt: skip
        report = reports[0] if reports else None
        return Sampled(latent.cpu(), loop.seconds[:-1], sum(loop.seconds), _peak(self.device), report)

    def short(self, pairs: int, magcache: bool, **how: Any) -> Sampled:
        """A full step, then `pairs` of a full and a skipped one; all full without MagCache."""
        sigmas = self.sigmas(1 + 2 * pairs)
        return self.sample(sigmas, alternating(sigmas.tolist()[:-1]) if magcache else None, **how)

    @contextmanager
    def block_calls(self) -> Iterator[list[int]]:
        """The number of calls of any block so far, in a list of one."""
        calls = [0]

        def count(*_: Any) -> None:
            calls[0] += 1

        family, dit = family_of(self.patcher), self.patcher.model.diffusion_model
        handles = [block.register_forward_hook(count) for name in (family.blocks if family else ()) for block in getattr(dit, name)]
        try:
            yield calls
        finally:
            for handle in handles:
                handle.remove()


def alternating(sigmas: list[float]) -> Plan:
    """Compute the first step, of which no residual is kept; then compute one and skip one."""
    reused = tuple(step > 0 and step % 2 == 0 for step in range(len(sigmas)))
    return Plan(tuple(sigmas), reused, (0.0,) * len(sigmas))


def waits(run: Callable[[AbstractContextManager[Any]], object]) -> dict[str, int]:
    """How often each runtime call that makes the host wait for the device came in a run's loop, and copies to the host."""
    profiler = profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA])
    run(profiler)
    found = {event.key: event.count for event in profiler.key_averages()}
    return {name: count for name, count in sorted(found.items()) if _waits(name)}


def _waits(name: str) -> bool:
    return name.endswith("Synchronize") or name in ("cudaMemcpy", "hipMemcpy", "cudaFree", "hipFree") or "DtoH" in name


def _settle(device: Device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)


def _peak(device: Device) -> int | None:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
