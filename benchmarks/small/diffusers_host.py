"""The small models in pipelines of diffusers, as users have them. Text embeddings take the place of encoders; there is no autoencoder."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import DiffusionPipeline, FlowMatchEulerDiscreteScheduler, FluxPipeline, WanPipeline

from benchmarks.small.loop import Outcome, Work
from benchmarks.small.models import SmallModel, pack, unpack

_CELL = 8
"""Pixels of a latent cell along each side, as the pipelines have it without an autoencoder."""
_FRAMES = 4
"""Frames of a latent frame, but for the first, which holds one."""


class GivenSigmas(FlowMatchEulerDiscreteScheduler):
    """diffusers' Euler scheduler along sigmas of one's own, one a step. WanPipeline has no argument for them."""

    given: list[float]

    def set_timesteps(self, *_: Any, device: Any = None, sigmas: Any = None, **__: Any) -> None:
        super().set_timesteps(sigmas=self.given, device=device)


def along(sigmas: list[float]) -> GivenSigmas:
    """A scheduler along `sigmas`, falling, one a step, without the closing 0."""
    scheduler = GivenSigmas()
    scheduler.given = sigmas
    return scheduler


class PipelineHost:
    """One small model in its pipeline: a Flux with "true" CFG, or a Wan."""

    def __init__(self, small: SmallModel, scheduler: FlowMatchEulerDiscreteScheduler) -> None:
        self.small = small
        parts: dict[str, Any] = {"scheduler": scheduler, "transformer": small.load().eval(), "vae": None}
        parts |= {"text_encoder": None, "tokenizer": None}
        if small.kind == "flux":
            self.pipe: DiffusionPipeline = FluxPipeline(**parts, text_encoder_2=None, tokenizer_2=None)
        else:
            self.pipe = WanPipeline(**parts)
        self.pipe.set_progress_bar_config(disable=True)

    def arguments(self, prompt: str, noise: torch.Tensor, steps: int, guidance: float) -> dict[str, Any]:
        """Arguments of a call of the pipeline that begins at `noise`, latents in a batch of 1, and returns latents."""
        cond, uncond = self.small.encode([prompt]), self.small.encode([""])
        found: dict[str, Any] = {
            "prompt_embeds": cond["tokens"],
            "height": noise.shape[-2] * _CELL,
            "width": noise.shape[-1] * _CELL,
            "num_inference_steps": steps,
            "output_type": "latent",
        }
        if self.small.kind == "wan":
            frames = 1 + _FRAMES * (noise.shape[2] - 1)
            more = {"latents": noise, "num_frames": frames, "guidance_scale": guidance, "negative_prompt_embeds": uncond["tokens"]}
            return found | more
        found |= {"latents": pack(noise), "pooled_prompt_embeds": cond["pooled"]}
        if guidance != 1:
            found |= {"negative_prompt_embeds": uncond["tokens"], "negative_pooled_prompt_embeds": uncond["pooled"]}
            found |= {"true_cfg_scale": guidance}
        return found

    @torch.no_grad()
    def sample(self, prompt: str, noise: torch.Tensor, steps: int, guidance: float) -> Outcome:
        """What the pipeline makes of `noise`, with whatever is on its transformer."""
        work, done = Work(self.small, self.pipe.transformer), []

        def stepped(_: Any, __: int, ___: Any, given: dict[str, Any]) -> dict[str, Any]:
            done.append(work.done)
            return given

        with work:
            (made,) = self.pipe(**self.arguments(prompt, noise, steps, guidance), callback_on_step_end=stepped, return_dict=False)
        latents = unpack(made, *noise.shape[-2:]) if self.small.kind == "flux" else made
        return Outcome(latents, done[-1] / done[0])  # The first step is always computed in full.
