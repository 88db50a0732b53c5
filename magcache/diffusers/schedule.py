"""What a scheduler of diffusers is about to do: its noise levels as flow sigmas, one a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch


@dataclass(frozen=True, slots=True)
class Schedule:
    """The steps of one run. A run has begun anew when the scheduler holds another tensor of timesteps."""

    timesteps: torch.Tensor
    values: tuple[float, ...]
    """The timesteps as numbers."""
    sigmas: tuple[float, ...]
    """Flow sigmas, one a step, and the closing one."""

    @property
    def steps(self) -> int:
        return len(self.values)

    @property
    def falls(self) -> bool:
        """Whether every step has its own sigma, lower than the one before."""
        return all(after < before for before, after in pairwise(self.sigmas[:-1]))

    def sigma_at(self, part: float) -> float:
        """The sigma at a fraction of the schedule, from 0 at its begin to 1 at its end."""
        place = min(max(part, 0.0), 1.0) * self.steps
        step = min(int(place), self.steps - 1)
        return self.sigmas[step] + (place - step) * (self.sigmas[step + 1] - self.sigmas[step])


def schedule_of(scheduler: Any) -> Schedule:
    """The schedule that is set. Waits for the device, once a run."""
    timesteps: torch.Tensor = scheduler.timesteps
    values = _numbers(timesteps)
    return Schedule(timesteps, values, tuple(_flow_sigmas(scheduler, values)))


def _flow_sigmas(scheduler: Any, values: Sequence[float]) -> list[float]:
    """A noise level of the flow kind for each step and one for the end.

    Diffusion models scale signal and noise otherwise. Theirs is the flow sigma of the same signal-to-noise ratio, s / (1 + s), so that
    one curve serves both kinds of schedulers.
    """
    own = getattr(scheduler, "sigmas", None)
    if own is None:
        return [*(_from_alphas(scheduler, value) for value in values), 0.0]
    sigmas = list(_numbers(torch.as_tensor(own)))[: len(values) + 1]
    sigmas += [0.0] * (len(values) + 1 - len(sigmas))
    if sigmas[0] < sigmas[len(values) - 1]:  # Mochi counts from the picture to the noise.
        return [1 - sigma for sigma in sigmas]
    return [sigma / (1 + sigma) for sigma in sigmas] if _is_diffusion(scheduler) else sigmas


def _is_diffusion(scheduler: Any) -> bool:
    """Whether the sigmas of a scheduler are ratios of noise to signal."""
    config = scheduler.config
    if config.get("use_flow_sigmas") or config.get("prediction_type") == "flow_prediction":
        return False
    return hasattr(scheduler, "alphas_cumprod") or "sigma_data" in config


def _from_alphas(scheduler: Any, timestep: float) -> float:
    """The flow sigma of a timestep of a scheduler without sigmas."""
    alphas = scheduler.alphas_cumprod
    signal = float(alphas[min(max(round(timestep), 0), len(alphas) - 1)])
    noise, signal = (1 - signal) ** 0.5, signal**0.5
    return noise / (noise + signal)


def _numbers(tensor: torch.Tensor) -> tuple[float, ...]:
    return tuple(float(value) for value in tensor.detach().cpu().flatten())
