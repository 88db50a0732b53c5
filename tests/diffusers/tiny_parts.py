"""What the tiny random pipelines are made of: random weights, embeddings in place of prompts, and autoencoders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any, TypeVar

import torch
from diffusers import AutoencoderKL, AutoencoderKLWan, DiffusionPipeline, FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler
from PIL import Image
from torch import nn

Model = TypeVar("Model", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class Pipe:
    """A kind of pipeline: how it is built, what it is called with, and how often it evaluates its transformer."""

    build: Callable[[], DiffusionPipeline]
    call: Callable[..., dict[str, Any]]
    """Arguments of a call, from `seed` and `steps`. Further ones replace its own; `prompt` is the seed of another prompt."""
    branches: int = 1
    """Forwards of the transformer in a step."""
    rows: int = 1
    """Samples in one forward, 2 if guidance is batched; the most of them where forwards differ."""
    runs: int = 1
    """Sampling runs in a call, such as the sections of FramePack."""
    fraction: float = 1.0
    fraction: float = 1.0
    """Share of the steps that are run, as with a strength."""
    adds_noise: bool = False
    """Whether its scheduler does, so that it cannot be calibrated."""

    def run(self, pipe: DiffusionPipeline, seed: int = 0, steps: int = 12, **more: Any) -> list[torch.Tensor]:
        """What a call of `pipe` returns, without gradients."""
        with torch.no_grad():
            return tensors(pipe(**self.call(seed, steps, **more)))

    def forwards(self, steps: int = 12) -> int:
        """Forwards of the transformer in a call."""
        return self.evaluations(steps) * self.branches

    def evaluations(self, steps: int = 12) -> int:
        """Steps in a call, over all its runs."""
        return int(steps * self.fraction) * self.runs


def tensors(output: Any) -> list[torch.Tensor]:
    """The tensors of an output, in order."""
    if isinstance(output, torch.Tensor):
        return [output]
    parts = output.values() if isinstance(output, dict) else output
    return [found for part in parts if part is not None for found in tensors(part)]


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    """Whether two outputs are equal bit for bit, and finite."""
    return len(one) == len(other) and all(map(torch.equal, one, other)) and all(bool(part.isfinite().all()) for part in one)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def mask(tokens: int, rows: int = 1) -> torch.Tensor:
    """Of a text without padding."""
    return torch.ones(rows, tokens, dtype=torch.long)


def picture(size: int = 32, seed: int = 0) -> Image.Image:
    """A few coloured squares."""
    colours = (noise(4, 4, 3, seed=seed).sigmoid() * 255).byte()
    return Image.fromarray(colours.numpy(), "RGB").resize((size, size), Image.Resampling.NEAREST)


def randomised(model: Model, seed: int = 0) -> Model:
    """With random weights everywhere, also where a model begins with zeros, and sized so that every block is seen in the output."""
    source = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        values = torch.randn(parameter.shape, generator=source) * (prod(parameter.shape[1:]) ** -0.5 if parameter.ndim > 1 else 0.1)
        if parameter.ndim == 1 and name.endswith(("weight", "gamma")):
            values += 1
        parameter.data = values.to(parameter.dtype)
        parameter.requires_grad_(False)
    return model.eval()


def quiet(pipe: DiffusionPipeline) -> DiffusionPipeline:
    """Without a progress bar."""
    pipe.set_progress_bar_config(disable=True)
    return pipe


def flow(**options: Any) -> FlowMatchEulerDiscreteScheduler:
    return FlowMatchEulerDiscreteScheduler(**{"shift": 3.0, **options})


def unipc() -> UniPCMultistepScheduler:
    return UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)


def picture_vae(channels: int = 4, **more: Any) -> AutoencoderKL:
    """Without compression: a cell a pixel."""
    return randomised(
        AutoencoderKL(
            sample_size=32, block_out_channels=(4,), layers_per_block=1, latent_channels=channels, norm_num_groups=1,
            use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.06, scaling_factor=1.5, **more,
        )
    )  # fmt: skip


def video_vae() -> AutoencoderKLWan:
    """Wan's, with its compression of 8 in space and 4 in time."""
    return randomised(
        AutoencoderKLWan(base_dim=3, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True])
    )


latent = partial(dict[str, Any], output_type="latent")
"""Arguments of a call that returns latents."""
