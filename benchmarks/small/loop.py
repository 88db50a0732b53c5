"""A plain Euler loop over a small model in diffusers, without a step cache or with one. It counts the work."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from benchmarks.small.models import SmallModel, Tensors

_BLOCK_LISTS = ("transformer_blocks", "single_transformer_blocks", "blocks")
"""Names of the block lists of the small models, in the order in which a forward runs them."""


@dataclass(frozen=True, slots=True)
class CacheRun:
    """What a cache may know of the run for which it is attached."""

    steps: int
    branches: int
    """Forwards a step: 1, or 2 with guidance (cond, then uncond)."""
    ratios: tuple[float, ...]
    """This model's magnitude ratios, one a step, as `measure_ratios` returns them; empty where not measured."""


@dataclass(frozen=True, slots=True)
class CacheSetting:
    """One configuration of a cache."""

    label: str
    attach: Callable[[nn.Module, CacheRun], None]
    """Called with a copy of the model, which is dropped after the run: nothing has to be detached."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one run."""

    latents: torch.Tensor
    """Of the noise's shape."""
    nfe: float
    """Work done in the blocks, in full steps: a step that computes a part of them counts as that part."""


class Work(TorchFunctionMode):
    """Counts the multiply-adds of the blocks' linear layers and of attention (these models have attention in blocks only).

    What a cache itself computes (norms, differences, weighted sums, Fourier transforms) is not counted.
    """

    def __init__(self, small: SmallModel, model: nn.Module) -> None:
        super().__init__()
        self.done = 0
        """Multiply-adds so far."""
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
    """A copy of all modules that shares their weights. Patches and hooks on the copy do not affect `model`."""
    return copy.deepcopy(model, {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())})


def encode_branches(small: SmallModel, prompt: str, guidance: float) -> dict[str, Tensors]:
    """The texts of a step's forwards, by the name of the `cache_context` in which a cache keeps the state of that forward."""
    cond = {"cond": small.encode([prompt])}
    return cond if guidance == 1 else cond | {"uncond": small.encode([""])}


class Reuse(Protocol):
    """What stands in for the blocks at the steps that a plan does not compute. One object serves one branch of one run."""

    def learn(self, step: int, before: torch.Tensor, after: torch.Tensor) -> None:
        """Called at a computed step with the image's tokens before the first block and after the last, (batch, tokens, width)."""
        ...

    def replace(self, step: int, before: torch.Tensor) -> torch.Tensor:
        """Returns the tokens after the last block for a step that is not computed."""
        ...


class PlannedStack:
    """The blocks of a model, replaced at all steps but those that a plan computes. The model is a copy and stays like this."""

    def __init__(self, model: nn.Module, computed: Collection[int], reuses: Sequence[Reuse]) -> None:
        self.computed = computed
        self.reuses = reuses
        """One for each branch, in the order of a step's forwards."""
        self.forwards = 0
        """Number of forwards so far. Set it to continue at another step."""
        self._before: torch.Tensor | None = None
        lists = {name: getattr(model, name) for name in _BLOCK_LISTS if hasattr(model, name)}
        empty = {name: nn.ModuleList() for name in lists}

        def choose(_: nn.Module, __: tuple[Any, ...]) -> None:
            for name, blocks in (lists if self._step in self.computed else empty).items():
                setattr(model, name, blocks)

        def enter(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            self._before = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]

        model.register_forward_pre_hook(choose)
        next(iter(lists.values()))[0].register_forward_pre_hook(enter, with_kwargs=True)
        model.get_submodule("norm_out").register_forward_pre_hook(self._leave)

    @property
    def _step(self) -> int:
        return self.forwards // len(self.reuses)

    def _leave(self, _: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        step, reuse, tokens = self._step, self.reuses[self.forwards % len(self.reuses)], args[0]
        self.forwards += 1
        if step not in self.computed:
            return reuse.replace(step, tokens), *args[1:]
        assert self._before is not None
        reuse.learn(step, self._before, tokens)
        return args


def guide(velocities: list[torch.Tensor], guidance: float) -> torch.Tensor:
    """Classifier-free guidance of [cond, uncond]; [cond] alone is returned unchanged."""
    cond, uncond = velocities[0], velocities[-1]
    return cond if len(velocities) == 1 else uncond + guidance * (cond - uncond)


def euler_step(
    small: SmallModel, model: Any, branches: dict[str, Tensors], latents: torch.Tensor, sigmas: torch.Tensor, step: int, guidance: float
) -> torch.Tensor:
    """The latents after a step of a run along `sigmas`. The model's caches are told where in the run it is."""
    velocities, sigma = [], sigmas[step]
    for name, text in branches.items():
        with model.cache_context(name, step_index=step, sigma=float(sigma), num_inference_steps=len(sigmas) - 1):
            velocities.append(small.velocity(model, latents, sigma[None], text))
    return latents + (sigmas[step + 1] - sigma) * guide(velocities, guidance)


@torch.no_grad()
def sample(
    small: SmallModel,
    model: nn.Module,
    sigmas: torch.Tensor,
    noise: torch.Tensor,
    prompt: str,
    guidance: float,
    setting: CacheSetting | None = None,
    ratios: tuple[float, ...] = (),
) -> Outcome:
    """Sample one picture or video from `noise` (latents, batch of 1) along `sigmas`, (steps + 1,), which fall to a closing 0."""
    branches = encode_branches(small, prompt, guidance)
    attached: Any = copy_modules(model)
    if setting:
        setting.attach(attached, CacheRun(len(sigmas) - 1, len(branches), ratios))
    work, one_step, latents = Work(small, attached), 0, noise
    with work:
        for step in range(len(sigmas) - 1):
            latents = euler_step(small, attached, branches, latents, sigmas, step, guidance)
            one_step = one_step or work.done  # The first step is always computed in full.
    return Outcome(latents, work.done / one_step)


def measure_ratios(
    small: SmallModel, model: nn.Module, sigmas: torch.Tensor, noise: torch.Tensor, prompt: str, guidance: float
) -> tuple[float, ...]:
    """Magnitude ratios of the cond forwards of a full run, one a step, as diffusers' MagCache defines them.

    The ratio of a step is the mean over the image's tokens of |residual| / |residual of the step before|, and 1 for the first step.
    diffusers' own calibration mode prints the same numbers and does not return them.
    """
    inputs: list[torch.Tensor] = []
    residuals: list[torch.Tensor] = []

    def enter(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        inputs.append(kwargs["hidden_states"] if "hidden_states" in kwargs else args[0])

    def leave(_: nn.Module, __: tuple[Any, ...], output: Any) -> None:
        residuals.append((output if isinstance(output, torch.Tensor) else output[-1]) - inputs.pop())

    def listen(attached: nn.Module, _: CacheRun) -> None:
        first, *_, last = small.blocks(attached)
        first.register_forward_pre_hook(enter, with_kwargs=True)
        last.register_forward_hook(leave)

    sample(small, model, sigmas, noise, prompt, guidance, CacheSetting("ratios", listen))
    norms = [residual.norm(dim=-1) for residual in residuals[:: 1 if guidance == 1 else 2]]
    return (1.0, *((after / (before + 1e-8)).mean().item() for before, after in pairwise(norms)))
