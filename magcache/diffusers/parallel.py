"""A model that several processes run together, its tokens divided among them: context parallelism of diffusers.

Within each block they wait for each other, so a process that skipped a step alone would leave the others waiting for ever. Hence one
process, the first of the group, finds the curve, plans the run, draws the conclusion and writes what was measured; the others are told the
plan. What depends on a process's own tokens is agreed upon. Residuals stay where their tokens are.

Nothing is exchanged after the last forward of a run: a report may be asked for in one process alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from ..errors import MagCacheError
from ..planning.plan import Plan
from ..reports.run_report import RunLabel
from ..runtime.recorder import Recorder
from ..runtime.residuals import Residual
from ..runtime.run_setup import RunSetup

_MOST_TOKENS = 4096
"""A process gives a curve at most so many tokens of a residual, an even choice: those of a whole picture, but not of a whole video."""
_COMPILED = "_orig_mod"


def shard(tokens: torch.Tensor, block: nn.Module, name: str) -> torch.Tensor:
    """This process's part of the tokens that a first block takes as `name`, or as its first argument, if it is the block that divides them.

    Its own hook does it, as it would in a step that is computed.
    """
    registry: Any = vars(getattr(block, _COMPILED, block)).get("_diffusers_hook")
    for hook in registry.hooks.values() if registry is not None else ():
        divided = getattr(hook, "metadata", None)
        if hasattr(hook, "_prepare_cp_input") and isinstance(divided, dict):
            how = divided.get(name or _first_argument(type(getattr(block, _COMPILED, block))))
            tokens = tokens if how is None else hook._prepare_cp_input(tokens, how)
    return tokens


@lru_cache(maxsize=64)
def _first_argument(kind: type[nn.Module]) -> str:
    return list(inspect.signature(kind.forward).parameters)[1]


def group_of(model: nn.Module) -> dist.ProcessGroup | None:
    """The processes that run `model` together, this one among them; None if it runs in one process.

    They are those of its own mesh, not all there are: beside them others may run other pictures.
    """
    config: Any = getattr(model, "_parallel_config", None)
    if config is None or not dist.is_available() or not dist.is_initialized():
        return None
    context = getattr(config, "context_parallel_config", None)
    mesh = context._flattened_mesh if context is not None else config.tensor_parallel_config._mesh
    return mesh.get_group()


def is_divided(model: nn.Module) -> bool:
    """Whether several processes run this model together."""
    return group_of(model) is not None


class Processes:
    """The processes that run one model together. Where it is one alone, nothing is exchanged."""

    def __init__(self, model: nn.Module) -> None:
        self._group = group_of(model)

    @property
    def first(self) -> bool:
        """Whether this process decides."""
        return self._group is None or dist.get_rank(self._group) == 0

    def share(self, value: Any) -> Any:
        """The `value` of the first process, in all of them."""
        if self._group is None:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=dist.get_global_rank(self._group, 0), group=self._group)
        return box[0]

    def agree(self, holds: torch.Tensor) -> torch.Tensor:
        """Whether a check holds in all of them, as a tensor. A device is not waited for."""
        if self._group is None:
            return holds
        least = holds.to(torch.int32)
        dist.all_reduce(least, op=dist.ReduceOp.MIN, group=self._group)
        return least.bool()

    def decide(self, decide: Callable[[], RunSetup]) -> RunSetup:
        """How a run goes. Only the first process calls `decide`; if that fails, the others raise `MagCacheError`."""
        if self._group is None:
            return decide()
        setup = self._first_decides(decide) if self.first else self._follow()
        return setup if setup.recorder is None else replace(setup, recorder=_Gathering(setup.recorder, self._group, keep=self.first))

    def _first_decides(self, decide: Callable[[], RunSetup]) -> RunSetup:
        try:
            setup = decide()
        except Exception as error:
            self.share(str(error))
            raise
        self.share(_Told(setup.plan, setup.label, setup.ratios, setup.recorder is not None))
        return setup

    def _follow(self) -> RunSetup:
        told: _Told | str = self.share(None)
        if isinstance(told, str):
            raise MagCacheError(f"The first of the processes that run this model together could not begin a run: {told}")
        return RunSetup(told.plan, told.label, told.ratios, recorder=Recorder() if told.measures else None)


@dataclass(frozen=True, slots=True)
class _Told:
    """What the first process tells the others of a run."""

    plan: Plan
    label: RunLabel
    ratios: tuple[float, ...]
    measures: bool


class _Gathering(Recorder):
    """Hands the tokens of all processes to a recorder, so that a curve is that of the whole picture. Only the first process keeps them."""

    def __init__(self, recorder: Recorder, group: dist.ProcessGroup, keep: bool) -> None:
        super().__init__()
        self._recorder = recorder
        self._group = group
        self._keep = keep

    def observe(self, sigma: float, branch: str, member: Hashable, residual: Residual) -> None:
        whole = tuple(gathered(stream, self._group) if stream.numel() else stream for stream in residual)
        if self._keep:
            self._recorder.observe(sigma, branch, member, whole)


def gathered(stream: torch.Tensor, group: dist.ProcessGroup) -> torch.Tensor:
    """The tokens (rows, tokens, channels) of all processes of a group, at most 4096 of each. They may have different numbers of them."""
    tokens = stream.flatten(1, -2)
    count = min(tokens.shape[1], _MOST_TOKENS)
    chosen = torch.linspace(0, tokens.shape[1] - 1, count, device=tokens.device).round().long()
    counts = [torch.empty(1, dtype=torch.int64, device=tokens.device) for _ in range(dist.get_world_size(group))]
    dist.all_gather(counts, torch.full_like(counts[0], count), group=group)
    numbers = [int(number) for number in counts]
    own = nn.functional.pad(tokens[:, chosen], (0, 0, 0, max(numbers) - count)).contiguous()
    parts = [torch.empty_like(own) for _ in numbers]
    dist.all_gather(parts, own, group=group)
    return torch.cat([part[:, :number] for part, number in zip(parts, numbers, strict=True)], dim=1)
