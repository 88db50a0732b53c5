"""The emoji model: a Flux of hidden size 128 as diffusers builds it, its checkpoint, and a plain Euler sampler."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from diffusers import FluxTransformer2DModel
from safetensors.torch import load_file, save_file
from torch import nn

from benchmarks.small import convert
from benchmarks.small.models import FLUX_BLOCKS, SmallModel, Tensors, flux_velocity
from magcache.demo import world

CHECKPOINT = Path(world.__file__).parent / "checkpoints" / "magcache_demo_flux.safetensors"
HIDDEN, DOUBLE_BLOCKS, SINGLE_BLOCKS = 128, 1, 17
SHIFT, STEPS, GUIDANCE = 3.0, 28, 2.5


def build(double: int = DOUBLE_BLOCKS, single: int = SINGLE_BLOCKS) -> nn.Module:
    """Random weights; the first answer is zero."""
    model = FluxTransformer2DModel(
        patch_size=1,
        in_channels=4 * world.LATENT_CHANNELS,
        num_layers=double,
        num_single_layers=single,
        attention_head_dim=HIDDEN,
        num_attention_heads=1,
        joint_attention_dim=world.TEXT_WIDTH,
        pooled_projection_dim=world.POOLED_WIDTH,
        guidance_embeds=False,
        axes_dims_rope=(16, 56, 56),
    )
    nn.init.zeros_(model.proj_out.weight)
    nn.init.zeros_(model.proj_out.bias)
    return model


def save(model: nn.Module, path: Path, **made_with: object) -> None:
    """Half precision, under the names that ComfyUI's stock loader reads.

    All metadata is one entry: safetensors writes several in another order each time, and the same weights would give another file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = convert.flux_to_original({name: weight.detach().cpu() for name, weight in model.state_dict().items()})
    metadata = json.dumps({"license": "Apache-2.0", "art": "Noto Emoji, Apache-2.0", **made_with})
    save_file({name: weight.half().contiguous() for name, weight in weights.items()}, path, metadata={"made_with": metadata})


def load(path: Path = CHECKPOINT) -> nn.Module:
    """The trained model, in float32."""
    weights = convert.flux_to_diffusers({name: weight.float() for name, weight in load_file(path).items()})
    depths = (
        len({name.split(".")[1] for name in weights if name.startswith(f"{prefix}transformer_blocks.")}) for prefix in ("", "single_")
    )
    model = build(*depths)
    model.load_state_dict(weights)
    return model.eval()


def encode(prompts: list[str]) -> Tensors:
    """`tokens` (n, TEXT_TOKENS, TEXT_WIDTH) and `pooled` (n, POOLED_WIDTH)."""
    tokens, pooled = (torch.from_numpy(np.stack(part)) for part in zip(*map(world.encode, prompts), strict=True))
    return {"tokens": tokens, "pooled": pooled}


def sigmas(steps: int = STEPS, shift: float = SHIFT) -> torch.Tensor:
    """(steps + 1,), falling from 1 to 0."""
    straight = torch.linspace(1, 0, steps + 1)
    return shift * straight / (1 + (shift - 1) * straight)


@torch.no_grad()
def sample(model: nn.Module, prompts: list[str], noise: torch.Tensor, steps: int = STEPS, guidance: float = GUIDANCE) -> torch.Tensor:
    """Euler with classifier-free guidance, from `noise` (n, 16, h, w) to latents of that shape."""
    text = {name: part.to(noise.device) for name, part in encode(prompts + [""] * len(prompts)).items()}
    latents = noise
    for now, after in pairwise(sigmas(steps).tolist()):
        both = torch.cat([latents, latents])
        cond, uncond = flux_velocity(model, both, torch.full((len(both),), now, device=noise.device), text).chunk(2)
        latents = latents + (after - now) * (uncond + guidance * (cond - uncond))
    return latents


EMOJI = SmallModel(
    kind="flux",
    checkpoint=CHECKPOINT,
    build=lambda _: build(),
    block_lists=FLUX_BLOCKS,
    latent_shape=(world.LATENT_CHANNELS, world.SIDE // world.CELL, world.SIDE // world.CELL),
    prompts=world.prompts,
    from_latent=world.to_pictures,
    encode=encode,
    velocity=flux_velocity,
    to_diffusers=convert.flux_to_diffusers,
)
