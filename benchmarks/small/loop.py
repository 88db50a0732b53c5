"""A plain Euler loop over a small model, with somebody's step cache attached or none, that counts the work done."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from benchmarks.small.models import SmallModel, Tensors


@dataclass(frozen=True, slots=True)
class Run:
    """What a cache is told of the run that it is attached for."""

    steps: int
    branches: int
    """Forwards a step, in this order: cond, then uncond where there is guidance."""
    ratios: tuple[float, ...]
    """This model's magnitude ratios, one a step, as `measure_ratios` returns them; empty where not measured."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One way to run a cache."""

    label: str
    attach: Callable[[nn.Module, Run], None]
    """Is given a copy of the model that is dropped after the run: nothing has to be detached."""


@dataclass(frozen=True, slots=True)
class Outcome:
    latents: torch.Tensor
    """Of the noise's shape."""
    nfe: float
    """Full passes through the blocks, on average over the branches, that would have been the same work."""


class Work(TorchFunctionMode):
    """Counts the multiply-adds of the blocks' linear layers and of attention, which only the blocks have.

    The little that a cache itself computes is left out: norms, differences and sums, no matrix products.
    """

    def __init__(self, small: SmallModel, model: nn.Module) -> None:
        super().__init__()
        self.done = 0
        self._weights = {id(layer.weight) for block in small.blocks(model) for layer in block.modules() if isinstance(layer, nn.Linear)}

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        if func is functional.linear and id(args[1]) in self._weights:
            self.done += output.numel() * args[1].shape[1]
        elif func is functional.scaled_dot_product_attention:
            query, key, value = (*args, *(kwargs[name] for name in ("query", "key", "value") if name in kwargs))[:3]
            self.done += query.numel() * key.shape[-2] + output.numel() * value.shape[-2]
        return output


def copy_modules(model: nn.Module) -> nn.Module:
    """The same model on the same weights. Whatever is patched or hooked on the copy leaves the model as it is."""
    return copy.deepcopy(model, {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())})


def encode_branches(small: SmallModel, prompt: str, guidance: float) -> dict[str, Tensors]:
    """The texts of a step's forwards, by the name of the context in which a cache keeps that forward's state."""
    cond = {"cond": small.encode([prompt])}
    return cond if guidance == 1 else cond | {"uncond": small.encode([""])}


def guide(velocities: list[torch.Tensor], guidance: float) -> torch.Tensor:
    """Classifier-free guidance over [cond, uncond]; [cond] passes unchanged."""
    cond, uncond = velocities[0], velocities[-1]
    return cond if len(velocities) == 1 else uncond + guidance * (cond - uncond)


@torch.no_grad()
def sample(
    small: SmallModel,
    model: nn.Module,
    sigmas: torch.Tensor,
    noise: torch.Tensor,
    prompt: str,
    guidance: float,
    setting: Setting | None = None,
    ratios: tuple[float, ...] = (),
) -> Outcome:
    """One picture or video, from `noise` (latents, batch of 1) along `sigmas` (steps + 1,), falling to a closing 0."""
    branches = encode_branches(small, prompt, guidance)
    attached: Any = copy_modules(model)
    if setting:
        setting.attach(attached, Run(len(sigmas) - 1, len(branches), ratios))
    work, one_step, latents = Work(small, attached), 0, noise
    with work:
        for now, after in pairwise(sigmas):
            velocities = []
            for context, text in branches.items():
                with attached.cache_context(context):
                    velocities.append(small.velocity(attached, latents, now[None], text))
            latents = latents + (after - now) * guide(velocities, guidance)
            one_step = one_step or work.done  # The first step is a full one: there is nothing yet to reuse.
    return Outcome(latents, work.done / one_step)


def measure_ratios(
    small: SmallModel, model: nn.Module, sigmas: torch.Tensor, noise: torch.Tensor, prompt: str, guidance: float
) -> tuple[float, ...]:
    """Magnitude ratios of the cond forwards of a full run, one a step, as diffusers' MagCache defines them.

    That is the mean over tokens of |residual| / |residual of the step before|, 1 for the first step, of the image's tokens only.
    Its own calibration mode prints the same numbers and forgets them.
    """
    inputs: list[torch.Tensor] = []
    residuals: list[torch.Tensor] = []

    def enter(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        inputs.append(kwargs["hidden_states"] if "hidden_states" in kwargs else args[0])

    def leave(_: nn.Module, __: tuple[Any, ...], output: Any) -> None:
        residuals.append((output if isinstance(output, torch.Tensor) else output[-1]) - inputs.pop())

    def listen(attached: nn.Module, _: Run) -> None:
        first, *_, last = small.blocks(attached)
        first.register_forward_pre_hook(enter, with_kwargs=True)
        last.register_forward_hook(leave)

    sample(small, model, sigmas, noise, prompt, guidance, Setting("ratios", listen))
    norms = [residual.norm(dim=-1) for residual in residuals[:: 1 if guidance == 1 else 2]]
    return (1.0, *((after / (before + 1e-8)).mean().item() for before, after in pairwise(norms)))
