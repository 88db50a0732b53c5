"""What two processes do in the tests of divided models. Each job returns plain values."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
import torch.distributed as dist
from diffusers import ContextParallelConfig
from torch import nn

import magcache.diffusers as mc
from magcache import MagCacheError, MagnitudeCurve
from magcache.diffusers.facts import known_family
from magcache.diffusers.parallel import Processes, gathered, is_divided, shard
from magcache.reports.run_report import RunReport
from magcache.runtime.block_stack import BlockStack
from magcache.runtime.residuals import bytes_of

from ..pipelines import PIPES
from ..tiny_parts import mask, noise
from ..watching import RULE, models_of, watched
from ..zoo import EVERY

TEXTS: dict[str, dict[str, Any]] = {
    "flux": {"prompt_embeds": noise(1, 8, 32, seed=1)},
    "flux2": {"prompt_embeds": noise(1, 8, 24, seed=1)},
    "qwen_image": {
        "prompt_embeds": noise(1, 8, 16, seed=1), "prompt_embeds_mask": mask(8),
        "negative_prompt_embeds": noise(1, 6, 16, seed=9), "negative_prompt_embeds_mask": mask(6),
    },
}  # fmt: skip
"""Prompts of an even number of tokens, where they are divided too."""
ODD = {"prompt_embeds": noise(1, 7, 32, seed=1)}
"""7 tokens of text. Pictures of an odd number of tokens cannot be put together again by gloo."""
_SOUND = {
    "audio_hidden_states": noise(1, 4, 6, seed=1), "timestep_indices": torch.tensor([1] * 8 + [0] * 4 + [1] * 4),
    "token_tags": torch.tensor([2] * 4 + [1] * 4 + [0] * 8), "position_ids": torch.arange(48).view(16, 3).float(),
    "text_indices": torch.arange(4), "audio_indices": torch.arange(4, 8), "video_indices": torch.arange(8, 16),
}  # fmt: skip
_ARGUMENTS: dict[str, dict[str, Any]] = {
    "minimax_h3": _SOUND,
    "ltxv": {"encoder_hidden_states": noise(2, 6, 16, seed=1), "encoder_attention_mask": None},
}
"""An even number of tokens, and no mask, with which LTX fails in diffusers itself."""


def divide(model: nn.Module, **options: Any) -> None:
    """Divide a model's tokens among all processes."""
    model.enable_parallelism(config=ContextParallelConfig(ulysses_degree=dist.get_world_size(), **options))  # pyright: ignore


def pipeline(name: str, folder: str, odd: bool = False, unknown: bool = False) -> dict[str, Any]:
    """A pipeline with a cache, in each process by itself and then divided. `unknown`: its model's class is not known."""
    kind = PIPES[name]
    call = ODD if odd else TEXTS.get(name, {})
    with _no_family() if unknown else nullcontext():
        pipe = kind.build()
        plain = kind.run(pipe, **call)
        cache = mc.apply(pipe, folder=folder, **RULE)
        alone = kind.run(pipe, **call)
        before = cache.report()
        for model in models_of(pipe).values():
            divide(model, ulysses_anything=odd)
        with watched(pipe) as seen:
            divided = kind.run(pipe, **call)
        report = cache.report()
    return {
        "skipping changes": apart(alone, plain), "apart": apart(divided, alone), "steps": steps(report), "steps alone": steps(before),
        "seen": seen.steps(kind.branches), "same plan": report.plan == before.plan, "disturbed": bool(report.disturbances),
        "bytes": report.residual_bytes, "bytes alone": before.residual_bytes,
    }  # fmt: skip


def skip(name: str) -> dict[str, Any]:
    """A forward of a model without its blocks, with the residual of another one, in each process by itself and then divided."""
    case = EVERY[name]
    arguments = _ARGUMENTS.get(name, {})

    def skipped() -> tuple[list[torch.Tensor], int]:
        family = known_family(case.model)
        assert family is not None
        stack = BlockStack(case.model, family, shard if is_divided(case.model) else None)
        with stack.watched() as capture:
            case(0, **arguments)
            residual = capture.residual
        assert residual is not None
        with stack.skipped(residual):
            return case(1, **arguments), bytes_of(residual)

    plain = case(1, **arguments)
    alone, size = skipped()
    divide(case.model)
    divided, part = skipped()
    return {"skipping changes": apart(alone, plain), "apart": apart(divided, alone), "bytes": part, "bytes alone": size}


def failing_check(folder: str) -> dict[str, Any]:
    """A model that embeds its tokens anew at each forward, in the last process only: a skip does not give what the blocks gave there."""
    kind = PIPES["flux"]
    pipe = kind.build()
    divide(pipe.transformer)
    if dist.get_rank():
        pipe.transformer.x_embedder.register_forward_hook(lambda _, __, output: output + 0.1 * torch.rand_like(output))
    cache = mc.apply(pipe, folder=folder, **RULE)
    kind.run(pipe, **TEXTS["flux"])
    return {"steps": steps(cache.report()), "disturbances": [found.name for found in cache.report().disturbances]}


def unknown_curve(folder: str) -> str:
    """A curve whose file is lost in the first process only. Returns the error."""
    kind = PIPES["flux"]
    own = Path(folder) / f"own{dist.get_rank()}"
    curve = MagnitudeCurve(name="mine", family="flux", sigmas=(1.0, 0.5, 0.1), ratios={"cond": (1.0, 1.0, 1.0)})
    curve.save(own / "mine.json")
    pipe = kind.build()
    divide(pipe.transformer)
    mc.apply(pipe, folder=own, curve="mine", threshold=0.1)
    if not dist.get_rank():
        (own / "mine.json").unlink()
    try:
        kind.run(pipe, **TEXTS["flux"])
    except MagCacheError as error:
        return f"{error} ({type(error).__name__})"
    return ""


def report_of_one(folder: str) -> str:
    """A transformer without its pipeline, whose report only the first process asks for, between two pictures."""
    kind = PIPES["flux"]
    pipe = kind.build()
    divide(pipe.transformer)
    cache = mc.apply(pipe.transformer, 2.0, scheduler=pipe.scheduler, folder=folder)
    kind.run(pipe, steps=20, **TEXTS["flux"])
    if not dist.get_rank():
        assert cache.report().label.kind == "calibrating"
    kind.run(pipe, steps=20, **TEXTS["flux"])
    return steps(cache.report())


def groups(rank: int) -> tuple[list[int], bool]:
    """Which of four processes run a picture together with `rank`, if there are two pictures; and whether `rank` decides for them."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.testing._internal.distributed.fake_pg import FakeStore

    dist.init_process_group("fake", rank=rank, world_size=4, store=FakeStore())
    mesh = init_device_mesh("cpu", (2, 1, 2), mesh_dim_names=("picture", "ring", "ulysses"))
    model = EVERY["flux"].model
    model.enable_parallelism(config=ContextParallelConfig(ulysses_degree=2, mesh=mesh))  # pyright: ignore
    processes = Processes(model)
    assert processes._group is not None
    return dist.get_process_group_ranks(processes._group), processes.first


def lone_groups() -> tuple[str, bool]:
    """Two groups of one process each, as if each made a picture of its own: what the first of a group says, and whether it is the first."""
    own = [dist.new_group([rank]) for rank in range(dist.get_world_size())][dist.get_rank()]
    mesh = SimpleNamespace(get_group=lambda: own)
    model: Any = nn.Module()
    model._parallel_config = SimpleNamespace(context_parallel_config=SimpleNamespace(_flattened_mesh=mesh))
    return Processes(model).share(f"said by {dist.get_rank()}"), Processes(model).first


def gather() -> tuple[list[list[float]], int]:
    """A residual of two rows, of which the processes have two and three tokens; and the size of one of more tokens than are gathered."""
    rank = dist.get_rank()
    mine = torch.arange(2 + rank).float()[None, :, None] + torch.tensor([10.0, 20.0])[:, None, None] + 100 * rank
    group = dist.group.WORLD
    assert group is not None
    whole = gathered(mine.to(torch.bfloat16), group)
    return whole[:, :, 0].float().tolist(), gathered(torch.zeros(1, 5000 + rank, 1), group).shape[1]


def apart(one: list[torch.Tensor], other: list[torch.Tensor]) -> float:
    """The largest difference relative to the largest value."""
    assert [part.shape for part in one] == [part.shape for part in other]
    return max(float((first - second).abs().max() / second.abs().max()) for first, second in zip(one, other, strict=True))


def steps(report: RunReport) -> str:
    return "".join("r" if event.reused else "c" for event in report.events)


@contextmanager
def _no_family() -> Iterator[None]:
    """As if no class were known."""
    with patch("magcache.diffusers.facts.known_family", lambda _: None), patch("magcache.diffusers.cache.known_family", lambda _: None):
        yield
