"""How many graphs torch.compile makes of a transformer of diffusers under each step cache: in all, and anew in later runs.

    python -m benchmarks.graphs

Prints JSON. The models are tiny and random, the backend compiles nothing: only graphs, graph breaks and recompilations are counted, which
do not depend on size, weights or device. A run is one call of the pipeline; every cache runs the same number of steps.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import diffusers
import torch
import typer
from diffusers import DiffusionPipeline
from torch._dynamo.utils import counters

import magcache.diffusers

STEPS, RUNS = 12, 3
_NO_ENCODERS = {"text_encoder": None, "tokenizer": None}


@dataclass(frozen=True, slots=True)
class Graphs:
    """What torch.compile made of a transformer, without and with `fullgraph=True`."""

    graphs: list[int]
    """New graphs in each run."""
    breaks: int
    """Places at which a graph had to end."""
    fullgraph: str
    """`works`, or the name of the error."""


class Counting:
    """A backend that counts the graphs it is given, and runs them as they are."""

    def __init__(self) -> None:
        self.graphs = 0

    def __call__(self, graph: torch.fx.GraphModule, _: list[torch.Tensor]) -> Callable[..., Any]:
        self.graphs += 1
        return graph.forward


def flux() -> DiffusionPipeline:
    transformer = diffusers.FluxTransformer2DModel(
        patch_size=1, in_channels=16, num_layers=2, num_single_layers=2, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=32, pooled_projection_dim=32, axes_dims_rope=(4, 4, 8), guidance_embeds=True,
    )  # fmt: skip
    vae = diffusers.AutoencoderKL(block_out_channels=(4,), layers_per_block=1, norm_num_groups=1)
    parts = {"scheduler": diffusers.FlowMatchEulerDiscreteScheduler(), "vae": vae, "transformer": transformer.eval()}
    return diffusers.FluxPipeline(**parts, **_NO_ENCODERS, text_encoder_2=None, tokenizer_2=None)


def wan() -> DiffusionPipeline:
    transformer = diffusers.WanTransformer3DModel(
        num_attention_heads=2, attention_head_dim=12, text_dim=32, freq_dim=32, ffn_dim=32, num_layers=3, rope_max_seq_len=32
    )
    vae = diffusers.AutoencoderKLWan(base_dim=3, dim_mult=[1, 1, 1, 1], num_res_blocks=1)
    parts = {"scheduler": diffusers.FlowMatchEulerDiscreteScheduler(), "vae": vae, "transformer": transformer.eval()}
    return diffusers.WanPipeline(**parts, **_NO_ENCODERS)


def _noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


CALLS: dict[Callable[[], DiffusionPipeline], Callable[[], dict[str, Any]]] = {
    flux: lambda: {"prompt_embeds": _noise(1, 7, 32), "pooled_prompt_embeds": _noise(1, 32), "height": 16, "width": 16},
    wan: lambda: {
        "prompt_embeds": _noise(1, 7, 32),
        "negative_prompt_embeds": _noise(1, 7, 32),
        "height": 32,
        "width": 32,
        "num_frames": 5,
    },
}
"""What each pipeline is called with."""


def _magcache(pipe: DiffusionPipeline) -> None:
    magcache.diffusers.apply(pipe, curve=[1.0] * STEPS, threshold=0.1, max_skip=2, folder=tempfile.gettempdir())


def _hook(pipe: DiffusionPipeline) -> None:
    ratios = torch.ones(STEPS)
    pipe.transformer.enable_cache(diffusers.MagCacheConfig(0.1, max_skip_steps=2, num_inference_steps=STEPS, mag_ratios=ratios))


METHODS: dict[str, Callable[[DiffusionPipeline], None]] = {
    "no cache": lambda pipe: None,
    "MagCache": _magcache,
    "diffusers' MagCache": _hook,
    "diffusers' FirstBlockCache": lambda pipe: pipe.transformer.enable_cache(diffusers.FirstBlockCacheConfig(threshold=0.5)),
    "diffusers' TaylorSeer": lambda pipe: pipe.transformer.enable_cache(
        diffusers.TaylorSeerCacheConfig(cache_interval=3, disable_cache_before_step=2)
    ),
}


def count(build: Callable[[], DiffusionPipeline], method: Callable[[DiffusionPipeline], None], first: str = "compile") -> Graphs:
    """Count the graphs of a pipeline under a cache; `first` is what is done first, to `compile` the transformer or to `apply` the cache."""
    graphs, breaks = graphs_of_runs(build, method, first)
    try:
        graphs_of_runs(build, method, first, fullgraph=True)
        works = "works"
    except Exception as error:  # noqa: BLE001 - whatever it is, its name is what is asked for
        works = type(error).__name__
    return Graphs(graphs, breaks, works)


def graphs_of_runs(
    build: Callable[[], DiffusionPipeline], method: Callable[[DiffusionPipeline], None], first: str = "compile", fullgraph: bool = False
) -> tuple[list[int], int]:
    """New graphs in each of some runs, and the graph breaks in all of them."""
    torch._dynamo.reset()
    counters.clear()
    torch.manual_seed(0)
    backend, pipe = Counting(), build()
    pipe.set_progress_bar_config(disable=True)
    if first == "apply":
        method(pipe)
    pipe.transformer.compile(backend=backend, fullgraph=fullgraph)
    if first != "apply":
        method(pipe)
    made = [0]
    for _ in range(RUNS):
        pipe(**CALLS[build](), num_inference_steps=STEPS, output_type="latent", generator=torch.Generator().manual_seed(0))
        made.append(backend.graphs)
    return [after - before for before, after in pairwise(made)], sum(counters["graph_break"].values())


def main() -> None:
    found = {
        build.__name__: {name: asdict(count(build, method)) for name, method in METHODS.items()}
        for build in CALLS
    }  # fmt: skip
    typer.echo(json.dumps(found, indent=2))


if __name__ == "__main__":
    diffusers.utils.logging.set_verbosity_error()
    typer.run(main)
