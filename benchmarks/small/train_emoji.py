"""Train the emoji model, on a GPU in minutes.

    python -m benchmarks.small.train_emoji --device cuda

Rectified flow with logit-normal sigmas (shift 3), Muon for the blocks' matrices and AdamW for the rest, a cosine, an average of the
weights, and one prompt in ten left out for classifier-free guidance. Pictures are painted on the device. Blocks compute in bfloat16
on a GPU. The same seed, device and software give the same file, unless the run was cut short by `--seconds`.
"""

from __future__ import annotations

import copy
import math
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import torch
import torch._inductor.config
import typer
from rich.console import Console
from torch import nn

from benchmarks.small import emoji_art, emoji_model
from benchmarks.small.emoji_samples import draw_sheet
from benchmarks.small.gradients import GraphedLearn, Task, learn
from benchmarks.small.muon import Muon
from magcache.demo import world

BEGAN = time.monotonic()
"""Compilation counts towards `--seconds`."""
UNIFORM, DROPOUT, AVERAGE = 0.2, 0.1, 0.999
SAVE_EVERY_S, LOG_EVERY, EASE_OUT = 60.0, 100, 0.75

console = Console(width=120)


class Schedule:
    """A short way up, then a cosine over the steps down to a fiftieth; it ends sooner if time would run out."""

    def __init__(self, steps: int, seconds: float) -> None:
        self.steps, self._seconds = steps, seconds
        self._cut: tuple[int, float] | None = None
        self._checked = (0, 0.0)

    @property
    def cut_short(self) -> bool:
        return self._cut is not None

    def check(self, step: int, elapsed: float) -> None:
        """Call now and then. Late in the time allowed, a run that is too slow gets as many steps as it can still do."""
        before, then = self._checked
        self._checked = (step, elapsed)
        if elapsed < EASE_OUT * self._seconds or self.cut_short:
            return
        possible = step + max(0, int(0.95 * (self._seconds - elapsed) * (step - before) / (elapsed - then)))
        if possible < self.steps:
            self._cut, self.steps = (step, step / self.steps), possible

    def factor(self, step: int) -> float:
        """What the peak learning rate is multiplied by."""
        progress = step / self.steps
        if self._cut:
            start, done = self._cut
            progress = done + (1 - done) * (step - start) / max(1, self.steps - start)
        warm_up = min(100, self.steps // 10 + 1)
        return min(1.0, (step + 1) / warm_up) * (0.02 + 0.98 * (1 + math.cos(math.pi * min(1.0, progress))) / 2)


class Batches:
    """Draws latents and texts on the device, everything from one seed."""

    def __init__(self, art: Path, device: torch.device, seed: int) -> None:
        self._painter = emoji_art.Painter(emoji_art.load_art(art), device)
        self._encoder = emoji_art.Encoder(world.cells(), device)
        text = emoji_model.encode([*world.prompts(), ""])
        self._tokens, self._pooled = text["tokens"].to(device), text["pooled"].to(device)
        self.rng = torch.Generator(device).manual_seed(seed)

    def draw(self, count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Latents, tokens and pooled texts; some prompts are left empty."""
        pictures, which = emoji_art.paint_any(self._painter, count, self.rng)
        dropped = torch.rand(count, generator=self.rng, device=self.rng.device) < DROPOUT
        which = torch.where(dropped, len(self._tokens) - 1, which)
        return self._encoder(pictures), self._tokens[which], self._pooled[which]

    def sigmas(self, count: int) -> torch.Tensor:
        """Noise levels to train on: logit-normal, one in five uniform so that both ends are seen, then shifted."""
        anywhere, choice = torch.rand(2, count, generator=self.rng, device=self.rng.device)
        middle = torch.sigmoid(torch.randn(count, generator=self.rng, device=self.rng.device))
        sigmas = torch.where(choice < UNIFORM, anywhere, middle)
        return emoji_model.SHIFT * sigmas / (1 + (emoji_model.SHIFT - 1) * sigmas)

    def noise(self, like: torch.Tensor) -> torch.Tensor:
        return torch.randn(like.shape, generator=self.rng, device=self.rng.device)


class Optimisers:
    """Muon for the matrices of the blocks, AdamW at half the rate for everything else."""

    def __init__(self, model: nn.Module) -> None:
        matrices = [weight for block in emoji_model.EMOJI.blocks(model) for weight in block.parameters() if weight.dim() == 2]
        taken = {id(weight) for weight in matrices}
        others = [weight for weight in model.parameters() if id(weight) not in taken]
        self._muon = Muon(matrices)
        self._adam = torch.optim.AdamW(others, weight_decay=0.01, betas=(0.9, 0.99), fused=True)

    def step(self, rate: float) -> None:
        self._muon.step(rate)
        for group in self._adam.param_groups:
            group["lr"] = rate / 2
        self._adam.step()


def be_deterministic() -> None:
    """The same arithmetic in every run, and only attention kernels that can be trusted with it."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)  # With warn_only, attention's backward pass would not be.
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch._inductor.config.deterministic = True
    torch.backends.cuda.enable_cudnn_sdp(False)  # Its backward pass fails on 260 tokens (torch 2.11 on an H200).
    torch.set_float32_matmul_precision("high")


def speed_up(model: nn.Module, device: torch.device, compile_blocks: bool) -> None:
    """Everything but the blocks stays out of autocast: there the timestep would be rounded to eight bits."""
    for name, child in model.named_children():
        if "blocks" not in name:
            child.forward = torch.autocast(device.type, enabled=False)(child.forward)
    if compile_blocks:
        for block in emoji_model.EMOJI.blocks(model):
            block.compile(fullgraph=True, dynamic=False)


def draw_task(batches: Batches, batch: int) -> Task:
    clean, tokens, pooled = batches.draw(batch)
    sigma, noise = batches.sigmas(batch), batches.noise(clean)
    return Task(torch.lerp(clean, noise, sigma.view(-1, 1, 1, 1)), sigma, tokens, pooled, noise - clean)


@dataclass(frozen=True, slots=True)
class TrainSettings:
    steps: int
    batch: int
    rate: float
    seed: int
    compile_blocks: bool
    graph: bool


def _software(device: torch.device) -> dict[str, str]:
    return {"device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type, "torch": torch.__version__}


def train(batches: Batches, settings: TrainSettings, seconds: float, out: Path) -> nn.Module:
    """The average of the weights, saved now and then and at the end."""
    device = batches.rng.device
    torch.manual_seed(settings.seed)
    model = emoji_model.build().to(device)
    average = copy.deepcopy(model).requires_grad_(False)
    speed_up(model, device, settings.compile_blocks)
    optimisers, schedule = Optimisers(model), Schedule(settings.steps, seconds)
    take_gradients = GraphedLearn() if settings.graph and device.type == "cuda" else learn
    losses, step, saved, logged = torch.zeros(LOG_EVERY, device=device), 0, time.monotonic(), time.monotonic()
    while step < schedule.steps:
        losses[step % LOG_EVERY] = take_gradients(model, draw_task(batches, settings.batch))
        optimisers.step(settings.rate * schedule.factor(step))
        step += 1
        torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - min(AVERAGE, step / (step + 10)))
        if step % LOG_EVERY and step < schedule.steps:
            continue
        loss, now = losses[:step].mean().item(), time.monotonic()
        schedule.check(step, now - BEGAN)
        pace = (now - logged) / ((step - 1) % LOG_EVERY + 1)
        logged = now
        console.print(f"step {step}/{schedule.steps}  loss {loss:.4f}  {1000 * pace:.1f} ms/step  {now - BEGAN:.0f} s")
        if now - saved > SAVE_EVERY_S or step >= schedule.steps:
            saved = now
            done = {"steps": step, "cut_short": schedule.cut_short, "loss": round(loss, 4)}
            emoji_model.save(average, out, **asdict(settings) | done | _software(device))
    return average


def main(
    steps: int = 2800,
    batch: int = 256,
    device: str = "cuda",
    rate: Annotated[float, typer.Option(help="Peak learning rate.")] = 4e-3,
    seed: int = 0,
    seconds: Annotated[float, typer.Option(help="End sooner, but properly, if it would take longer than this.")] = math.inf,
    compile_blocks: Annotated[bool, typer.Option("--compile/--no-compile", help="torch.compile the blocks.")] = True,
    graph: Annotated[bool, typer.Option(help="On a GPU, replay a CUDA graph a step: three times as many steps in the same time.")] = True,
    out: Annotated[Path, typer.Option(help="Where the checkpoint goes.")] = emoji_model.CHECKPOINT,
    sheet: Annotated[Path | None, typer.Option(help="A PNG of samples to write at the end.")] = None,
    art: Annotated[Path, typer.Option(help="Where fetched art is kept.")] = emoji_art.CACHE,
) -> None:
    be_deterministic()
    where = torch.device(device)
    average = train(Batches(art, where, seed), TrainSettings(steps, batch, rate, seed, compile_blocks, graph), seconds, out)
    if sheet:
        draw_sheet(average, sheet, seed=seed)
    console.print(f"{out}  {time.monotonic() - BEGAN:.0f} s in all")


if __name__ == "__main__":
    typer.run(main)
