"""Train two of the small models of the quality benchmark: a Flux for images and a Wan for videos.

    python -m benchmarks.small.train image
    python -m benchmarks.small.train video

Rectified flow with logit-normal sigmas (shift 3). Muon trains the matrices of the blocks and AdamW the rest, with a cosine learning
rate; a moving average of the weights is saved. One prompt in ten is left empty, for classifier-free guidance. Most of the training is
done with a part of the blocks (the video model starts with still pictures). Then the model grows to its full depth without changing its
function, and training continues. It is trained in diffusers' classes, because ComfyUI's Flux works in place and has no gradient, and
saved under the names that ComfyUI's stock loader reads.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from safetensors.torch import save_file

from benchmarks.small import shapes_world as world
from benchmarks.small import video_world
from benchmarks.small.models import IMAGE, VIDEO, Tensors, TrainableModel

SHIFT = 3.0
UNIFORM = 0.2
"""Fraction of the sigmas that is drawn uniformly, so that both ends are seen."""
DROPOUT = 0.1
"""Fraction of the prompts that is left empty."""
AVERAGE = 0.999
"""Decay of the moving average of the weights, a step."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of the training."""

    steps: int
    batch: int
    rate: float
    """Peak learning rate."""
    draw: Callable[[str, np.random.Generator], np.ndarray]
    grown: bool = False
    """Whether the model has all its blocks."""


class Name(str, Enum):
    image = "image"
    video = "video"


MODELS = {Name.image: IMAGE, Name.video: VIDEO}
STAGES = {
    Name.image: (Stage(3600, 32, 3e-3, world.draw), Stage(800, 32, 2e-3, world.draw, grown=True)),
    Name.video: (
        Stage(900, 128, 4e-3, video_world.draw_still),
        Stage(1200, 16, 3e-3, video_world.draw),
        Stage(900, 8, 2e-3, video_world.draw, grown=True),
    ),
}

console = Console()


def use_bfloat16(small: TrainableModel, model: torch.nn.Module) -> None:
    """Let the blocks compute in bfloat16. The rest stays in float32, where the timestep is not rounded to eight bits."""
    for block in small.blocks(model):
        block.forward = torch.autocast("cpu", torch.bfloat16)(block.forward)


def sample_sigmas(count: int) -> torch.Tensor:
    """Noise levels to train on: logit-normal, some of them uniform (`UNIFORM`), then shifted."""
    middle, anywhere = torch.sigmoid(torch.randn(count)), torch.rand(count)
    sigmas = torch.where(torch.rand(count) < UNIFORM, anywhere, middle)
    return SHIFT * sigmas / (1 + (SHIFT - 1) * sigmas)


def make_batch(small: TrainableModel, stage: Stage, rng: np.random.Generator) -> tuple[torch.Tensor, Tensors]:
    """Latents and encoded texts; some texts are left empty."""
    everything = small.prompts()
    prompts = [everything[rng.integers(len(everything))] for _ in range(stage.batch)]
    drawn = np.stack([stage.draw(prompt, rng) for prompt in prompts])
    text = small.encode(["" if rng.random() < DROPOUT else prompt for prompt in prompts])
    return torch.from_numpy(np.ascontiguousarray(small.to_latent(drawn))), text


def make_optimisers(small: TrainableModel, model: torch.nn.Module, rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the blocks, AdamW for all other weights."""
    matrices = [weight for block in small.blocks(model) for weight in block.parameters() if weight.dim() == 2]
    taken = {id(weight) for weight in matrices}
    others = [weight for weight in model.parameters() if id(weight) not in taken]
    return [
        torch.optim.Muon(matrices, lr=rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=rate / 2, weight_decay=0.01, betas=(0.9, 0.99)),
    ]


def rate_factor(step: int, steps: int) -> float:
    """Factor of the learning rate: a short linear warm-up, then a cosine that falls to 1/50."""
    warm_up = min(100, steps // 10 + 1)
    progress = min(1.0, step / steps)
    return min(1.0, (step + 1) / warm_up) * (0.02 + 0.98 * (1 + math.cos(math.pi * progress)) / 2)


def train(small: TrainableModel, model: torch.nn.Module, stage: Stage, out: Path, seed: int, bf16: bool) -> torch.nn.Module:
    """Train one stage and return the averaged weights, which are saved every 250 steps."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    average = copy.deepcopy(model)
    if bf16:
        use_bfloat16(small, model)
    optimisers = make_optimisers(small, model, stage.rate)
    schedules = [torch.optim.lr_scheduler.LambdaLR(each, lambda step: rate_factor(step, stage.steps)) for each in optimisers]
    began, losses = time.perf_counter(), []
    for step in range(1, stage.steps + 1):
        clean, text = make_batch(small, stage, rng)
        sigma = sample_sigmas(stage.batch)
        noise = torch.randn_like(clean)
        noisy = torch.lerp(clean, noise, sigma.view(-1, *[1] * (clean.dim() - 1)))
        loss = torch.nn.functional.mse_loss(small.velocity(model, noisy, sigma, text), noise - clean)
        model.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimiser, schedule in zip(optimisers, schedules, strict=True):
            optimiser.step()
            schedule.step()
        decay = min(AVERAGE, step / (step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)
        losses.append(loss.item())
        if step % 50 == 0 or step == stage.steps:
            console.print(f"step {step}/{stage.steps}  loss {np.mean(losses[-50:]):.4f}  {time.perf_counter() - began:.0f} s")
        if step % 250 == 0 or step == stage.steps:
            save(small, average, out, steps=step, seed=seed)
    return average


def save(small: TrainableModel, model: torch.nn.Module, out: Path, **made_with: int) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.half().contiguous() for name, tensor in small.to_original(model.state_dict()).items()}
    save_file(weights, out, metadata={"made_with": f"benchmarks/small/train.py {made_with}", "license": "Apache-2.0"})


def main(
    name: Name,
    out: Annotated[Path | None, typer.Option(help="File to write; by default the one that the benchmarks read.")] = None,
    start: Annotated[Path | None, typer.Option(help="A checkpoint to start the last stage with; earlier stages are left out.")] = None,
    scale: Annotated[float, typer.Option(help="Factor of the number of steps of every stage.")] = 1.0,
    seed: int = 0,
    bf16: Annotated[bool, typer.Option(help="Compute the blocks in bfloat16: faster on processors that support it.")] = True,
) -> None:
    small = MODELS[name]
    out = out or small.checkpoint
    torch.manual_seed(seed)
    model = small.load(start) if start else small.build(small.divisor)
    for index, stage in enumerate(STAGES[name]):
        if start and not stage.grown:
            continue
        stage = replace(stage, steps=max(1, round(stage.steps * scale)))
        console.print(f"stage {index + 1}: {stage.steps} steps of {stage.batch}")
        model = train(small, small.grow(model) if stage.grown else model, stage, out, seed + index, bf16)


if __name__ == "__main__":
    typer.run(main)
