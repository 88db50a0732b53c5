"""Small models on which quality is measured: a Flux for images, a Wan for videos, in diffusers' classes. emoji_model.py has a third."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from diffusers import FluxTransformer2DModel, WanTransformer3DModel
from safetensors.torch import load_file
from torch import nn

from benchmarks.small import convert, video_world
from benchmarks.small import shapes_world as world

Tensors = dict[str, torch.Tensor]

CHECKPOINTS = Path(__file__).parents[1] / "checkpoints"
FLUX_BLOCKS = ("transformer_blocks", "single_transformer_blocks")


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallModel:
    """What measuring needs to know of a small model."""

    kind: Literal["flux", "wan"]
    checkpoint: Path
    build: Callable[[int], nn.Module]
    """Builds the model with random weights and its number of blocks divided by the argument."""
    divisor: int = 1
    """Training starts with the number of blocks divided by this."""
    block_lists: tuple[str, ...]
    """Names of the block lists, in the order in which the forward runs them."""
    latent_shape: tuple[int, ...]
    """Of a picture (channels, height, width), or of a video (channels, frames, height, width)."""
    prompts: Callable[[], list[str]]
    from_latent: Callable[[np.ndarray], np.ndarray]
    encode: Callable[[list[str]], Tensors]
    velocity: Callable[[nn.Module, torch.Tensor, torch.Tensor, Tensors], torch.Tensor]
    """Runs the model at (latents, sigmas (n,), text) and returns its estimate of noise − picture, in the latents' shape."""
    to_diffusers: Callable[[Tensors], Tensors]

    def blocks(self, model: nn.Module) -> Iterator[nn.Module]:
        """All blocks, in the order in which the forward runs them."""
        for name in self.block_lists:
            yield from getattr(model, name)

    def load(self, checkpoint: Path | None = None) -> nn.Module:
        """The model with the weights of a checkpoint, by default the trained one, in float32."""
        weights = self.to_diffusers({name: tensor.float() for name, tensor in load_file(checkpoint or self.checkpoint).items()})
        for divisor in (1, self.divisor):
            model = self.build(divisor)
            if set(model.state_dict()) == set(weights):
                model.load_state_dict(weights)
                return model
        raise ValueError(
            f"{checkpoint or self.checkpoint} fits this model neither with all of its blocks nor with a part of them. Train it again."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainableModel(SmallModel):
    """A small model that `benchmarks.small.train` trains."""

    outputs: tuple[str, ...]
    """Layers whose outputs a block adds to its tokens; a block has some of them."""
    draw: Callable[[str, np.random.Generator], np.ndarray]
    """Draws a picture (3, height, width) or a video (3, frames, height, width) of a prompt, in [-1, 1]."""
    to_latent: Callable[[np.ndarray], np.ndarray]
    to_original: Callable[[Tensors], Tensors]

    def grow(self, model: nn.Module) -> nn.Module:
        """The same function with all blocks: the new ones are copies of their neighbours whose output layers are zero."""
        if model.config["num_layers"] == self.build(1).config["num_layers"]:  # type: ignore[index]
            return model
        grown = self.build(1)
        loaded = grown.load_state_dict(model.state_dict(), strict=False)
        assert not loaded.unexpected_keys
        for name in self.block_lists:
            small, large = getattr(model, name), getattr(grown, name)
            for index in range(len(large)):
                block = large[index] = copy.deepcopy(small[index // self.divisor])
                if index % self.divisor:
                    for layer in (block.get_submodule(output) for output in self.outputs if _has(block, output)):
                        nn.init.zeros_(layer.weight)  # type: ignore[arg-type]
                        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        return grown


def _has(block: nn.Module, name: str) -> bool:
    return any(name == path for path, _ in block.named_modules())


def _build_flux(divisor: int) -> nn.Module:
    return FluxTransformer2DModel(
        patch_size=1,
        in_channels=64,
        num_layers=2 // divisor,
        num_single_layers=10 // divisor,
        attention_head_dim=128,
        num_attention_heads=1,
        joint_attention_dim=world.TEXT_WIDTH,
        pooled_projection_dim=world.POOLED_WIDTH,
        guidance_embeds=False,
        axes_dims_rope=(16, 56, 56),
    )


def _build_wan(divisor: int) -> nn.Module:
    return WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=1,
        attention_head_dim=128,
        in_channels=16,
        out_channels=16,
        text_dim=video_world.TEXT_WIDTH,
        freq_dim=256,
        ffn_dim=512,
        num_layers=12 // divisor,
        cross_attn_norm=True,
        qk_norm="rms_norm_across_heads",
        rope_max_seq_len=64,
    )


def pack(latents: torch.Tensor) -> torch.Tensor:
    """Latents (n, 16, h, w) as Flux's tokens (n, h/2 · w/2, 64)."""
    n, channels, height, width = latents.shape
    cells = latents.view(n, channels, height // 2, 2, width // 2, 2).permute(0, 2, 4, 1, 3, 5)
    return cells.reshape(n, height * width // 4, channels * 4)


def unpack(tokens: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """The inverse of `pack`, for latents of height × width."""
    n, _, values = tokens.shape
    cells = tokens.view(n, height // 2, width // 2, values // 4, 2, 2).permute(0, 3, 1, 4, 2, 5)
    return cells.reshape(n, values // 4, height, width)


def flux_velocity(model: nn.Module, latents: torch.Tensor, sigma: torch.Tensor, text: Tensors) -> torch.Tensor:
    """A Flux at latents (n, 16, h, w) and sigmas (n,): noise minus picture, of the latents' shape."""
    height, width = latents.shape[2:]
    rows, columns = (torch.arange(side // 2, dtype=torch.float32, device=latents.device) for side in (height, width))
    image_ids = torch.cartesian_prod(torch.zeros(1, device=latents.device), rows, columns)
    text_ids = torch.zeros(text["tokens"].shape[1], 3, device=latents.device)
    output: Any = model(pack(latents), text["tokens"], text["pooled"], sigma, image_ids, text_ids, return_dict=False)
    return unpack(output[0], height, width)


def _wan_velocity(model: nn.Module, latents: torch.Tensor, sigma: torch.Tensor, text: Tensors) -> torch.Tensor:
    return model(latents, sigma * 1000, text["tokens"], return_dict=False)[0]


def _flux_text(prompts: list[str]) -> Tensors:
    tokens, pooled = zip(*(world.encode(prompt) for prompt in prompts), strict=True)
    return {"tokens": torch.from_numpy(np.stack(tokens)), "pooled": torch.from_numpy(np.stack(pooled))}


def _wan_text(prompts: list[str]) -> Tensors:
    return {"tokens": torch.from_numpy(np.stack([video_world.encode(prompt) for prompt in prompts]))}


IMAGE = TrainableModel(
    kind="flux",
    checkpoint=CHECKPOINTS / "small_flux.safetensors",
    build=_build_flux,
    divisor=2,
    block_lists=FLUX_BLOCKS,
    latent_shape=(world.LATENT_CHANNELS, world.SIDE // 2, world.SIDE // 2),
    outputs=("attn.to_out.0", "attn.to_add_out", "ff.net.2", "ff_context.net.2", "proj_out"),
    draw=world.draw,
    prompts=world.prompts,
    to_latent=world.to_latent,
    from_latent=world.to_pictures,
    encode=_flux_text,
    velocity=flux_velocity,
    to_original=convert.flux_to_original,
    to_diffusers=convert.flux_to_diffusers,
)

VIDEO = TrainableModel(
    kind="wan",
    checkpoint=CHECKPOINTS / "small_wan.safetensors",
    build=_build_wan,
    divisor=3,
    block_lists=("blocks",),
    latent_shape=(world.LATENT_CHANNELS, video_world.FRAMES, video_world.SIDE // 2, video_world.SIDE // 2),
    outputs=("attn1.to_out.0", "attn2.to_out.0", "ffn.net.2"),
    draw=video_world.draw,
    prompts=video_world.prompts,
    to_latent=video_world.to_latent,
    from_latent=video_world.to_videos,
    encode=_wan_text,
    velocity=_wan_velocity,
    to_original=convert.wan_to_original,
    to_diffusers=convert.wan_to_diffusers,
)
