"""Train the demo's image model: a small Flux that draws the prompts of `magcache.demo.world`.

    python -m benchmarks.train_image --out magcache/demo/checkpoints/magcache_demo_flux.safetensors

Rectified flow with logit-normal sigmas (shift 3), AdamW with a cosine, an average of the weights, and one prompt in ten left out
for classifier-free guidance. Trained in diffusers' Flux (ComfyUI's works in place and has no gradient) and saved under the names
that ComfyUI's stock loader reads. On two CPU cores it takes less than an hour.
"""

from __future__ import annotations

import copy
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from diffusers import FluxTransformer2DModel
from rich.console import Console
from safetensors.torch import load_file, save_file

from benchmarks.convert import to_diffusers, to_original
from magcache.demo import world

SHAPE = {
    "patch_size": 1,
    "in_channels": 64,
    "num_layers": 1,
    "num_single_layers": 5,
    "attention_head_dim": 128,
    "num_attention_heads": 1,
    "joint_attention_dim": world.TEXT_WIDTH,
    "pooled_projection_dim": world.POOLED_WIDTH,
    "guidance_embeds": False,
    "axes_dims_rope": (16, 56, 56),
}
SHIFT, UNIFORM, DROPOUT, AVERAGE = 3.0, 0.2, 0.1, 0.999
GRID = world.SIDE // 4
"""Tokens on a side: latent cells of 2 × 2 pixels, patches of 2 × 2 cells."""

console = Console()


def build_model() -> FluxTransformer2DModel:
    return FluxTransformer2DModel(**SHAPE)


def use_bfloat16(model: FluxTransformer2DModel) -> None:
    """Let the blocks compute in bfloat16. Only them: elsewhere the timestep would be rounded to eight bits."""
    for block in (*model.transformer_blocks, *model.single_transformer_blocks):
        block.forward = torch.autocast("cpu", torch.bfloat16)(block.forward)


def sample_sigmas(count: int) -> torch.Tensor:
    """Noise levels to train on: logit-normal, one in five uniform so that both ends are seen, then shifted."""
    middle, anywhere = torch.sigmoid(torch.randn(count)), torch.rand(count)
    sigmas = torch.where(torch.rand(count) < UNIFORM, anywhere, middle)
    return SHIFT * sigmas / (1 + (SHIFT - 1) * sigmas)


def pack(latents: torch.Tensor) -> torch.Tensor:
    """(n, 16, h, w) to Flux's tokens (n, h/2 · w/2, 64)."""
    n, channels, height, width = latents.shape
    cells = latents.view(n, channels, height // 2, 2, width // 2, 2).permute(0, 2, 4, 1, 3, 5)
    return cells.reshape(n, height * width // 4, channels * 4)


def positions() -> tuple[torch.Tensor, torch.Tensor]:
    """Position ids of text and image tokens."""
    image = torch.zeros(GRID, GRID, 3)
    image[..., 1] = torch.arange(GRID)[:, None]
    image[..., 2] = torch.arange(GRID)[None, :]
    return torch.zeros(world.TEXT_TOKENS, 3), image.reshape(-1, 3)


def make_batch(rng: np.random.Generator, size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Packed pictures (size, tokens, 64), text tokens and pooled text, some prompts left empty."""
    everything = world.prompts()
    prompts = [everything[rng.integers(len(everything))] for _ in range(size)]
    pictures = np.stack([world.draw(prompt, rng) for prompt in prompts])
    texts, pooled = zip(*(world.encode("" if rng.random() < DROPOUT else prompt) for prompt in prompts), strict=True)
    return pack(torch.from_numpy(world.to_latent(pictures))), torch.from_numpy(np.stack(texts)), torch.from_numpy(np.stack(pooled))


def train(out: Path, start: Path | None, steps: int, batch: int, rate: float, seed: int, bf16: bool) -> None:
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = build_model()
    if start:
        model.load_state_dict(to_diffusers({name: tensor.float() for name, tensor in load_file(start).items()}))
    average = copy.deepcopy(model)
    if bf16:
        use_bfloat16(model)
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01, betas=(0.9, 0.99))
    warm_up = min(100, steps // 10 + 1)
    schedule = torch.optim.lr_scheduler.SequentialLR(
        optimiser,
        [
            torch.optim.lr_scheduler.LinearLR(optimiser, 0.01, total_iters=warm_up),
            torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(1, steps - warm_up), eta_min=rate / 50),
        ],
        [warm_up],
    )
    text_ids, image_ids = positions()
    began, losses = time.perf_counter(), []
    for step in range(1, steps + 1):
        clean, text, pooled = make_batch(rng, batch)
        sigma = sample_sigmas(batch)
        noise = torch.randn_like(clean)
        noisy = torch.lerp(clean, noise, sigma[:, None, None])
        velocity = model(noisy, text, pooled, sigma, image_ids, text_ids, return_dict=False)[0]
        loss = torch.nn.functional.mse_loss(velocity, noise - clean)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        decay = min(AVERAGE, step / (step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)
        losses.append(loss.item())
        if step % 50 == 0 or step == steps:
            console.print(f"step {step}/{steps}  loss {np.mean(losses[-50:]):.4f}  {time.perf_counter() - began:.0f} s")
        if step % 250 == 0 or step == steps:
            save(average, out, steps=step, seed=seed)


def save(model: torch.nn.Module, out: Path, **made_with: int) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.half().contiguous() for name, tensor in to_original(model.state_dict()).items()}
    save_file(weights, out, metadata={"made_with": f"benchmarks/train_image.py {made_with}", "license": "Apache-2.0"})


def main(
    out: Annotated[Path, typer.Option(help="Where the checkpoint goes.")],
    start: Annotated[Path | None, typer.Option(help="A checkpoint to go on from.")] = None,
    steps: Annotated[int, typer.Option(min=1)] = 3600,
    batch: Annotated[int, typer.Option(min=1)] = 32,
    rate: Annotated[float, typer.Option(help="Peak learning rate.")] = 1.5e-3,
    seed: int = 0,
    bf16: Annotated[bool, typer.Option(help="bfloat16 arithmetic: faster where the processor has it.")] = True,
) -> None:
    train(out, start, steps, batch, rate, seed, bf16)


if __name__ == "__main__":
    typer.run(main)
