"""Tiny FLUX, Chroma, Qwen-Image and their relatives: image tokens in one sequence, packed by the pipeline."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from .tiny import Case, built, noise

BFLOAT16 = torch.bfloat16


def at(value: float, rows: int = 1) -> torch.Tensor:
    """A time for every row."""
    return torch.full((rows,), float(value))


def places(side: int, frame: int = 0, columns: int = 3) -> torch.Tensor:
    """Positions of the tokens of a square picture: frame, row, column, …."""
    row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    rest = [torch.zeros(side * side)] * (columns - 3)
    return torch.stack([torch.full((side * side,), frame), row.flatten(), column.flatten(), *rest], dim=-1).float()


def text_places(count: int, columns: int = 3) -> torch.Tensor:
    return torch.zeros(count, columns)


def _flux_kind(name: str, columns: int = 3, **config: Any) -> Any:
    return built(
        name, patch_size=1, in_channels=4, num_layers=2, num_single_layers=2, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=32, axes_dims_rope=[4, 4, 8], **config,
    )  # fmt: skip


def _packed(seed: int, rows: int = 1, side: int = 4, channels: int = 4, text: int = 5, width: int = 32) -> dict[str, Any]:
    return {
        "hidden_states": noise(rows, side * side, channels, seed=seed),
        "encoder_hidden_states": noise(rows, text, width, seed=seed + 50),
        "timestep": at(0.5, rows),
        "img_ids": places(side),
        "txt_ids": text_places(text),
    }


def _flux(seed: int, rows: int = 1, control: bool = False, reference: bool = False) -> dict[str, Any]:
    arguments = {**_packed(seed, rows), "pooled_projections": noise(rows, 32, seed=3), "guidance": at(3.5, rows)}
    if control:
        arguments["controlnet_block_samples"] = [noise(rows, 16, 32, seed=8 + place) for place in range(2)]
        arguments["controlnet_single_block_samples"] = [noise(rows, 16, 32, seed=9)]
    if reference:
        arguments["hidden_states"] = noise(rows, 32, 4, seed=seed)
        arguments["img_ids"] = torch.cat([places(4), places(4, frame=1)])
    return arguments


def _flux2(seed: int, reference: bool = False) -> dict[str, Any]:
    arguments = {**_packed(seed), "img_ids": places(4, columns=4), "txt_ids": text_places(5, 4), "guidance": at(3.5)}
    if reference:
        arguments["hidden_states"] = noise(1, 32, 4, seed=seed)
        arguments["img_ids"] = torch.cat([places(4, columns=4), places(4, frame=10, columns=4)])
    return arguments


def _flux3(seed: int, reference: bool = False) -> dict[str, Any]:
    arguments = {**_packed(seed), "img_ids": places(4, columns=4).long(), "txt_ids": text_places(5, 4).long()}
    if reference:
        arguments |= {"image_cond_hidden_states": noise(1, 9, 4, seed=seed + 7), "image_cond_ids": places(3, 1, 4).long()}
    return arguments


def _chroma(seed: int, control: bool = False) -> dict[str, Any]:
    arguments = {**_packed(seed), "attention_mask": torch.ones(1, 21, dtype=torch.bool)}
    if control:
        arguments["controlnet_block_samples"] = [noise(1, 16, 32, seed=8 + place) for place in range(2)]
    return arguments


def _bria_fibo(seed: int) -> dict[str, Any]:
    return {**_packed(seed), "text_encoder_layers": [noise(1, 5, 24, seed=place) for place in range(4)]}


def _qwen(seed: int, control: bool = False, edit: bool = False) -> dict[str, Any]:
    shape = [(1, 4, 4), (1, 4, 4)] if edit else [(1, 4, 4)]
    arguments = {
        "hidden_states": noise(1, 32 if edit else 16, 16, seed=seed),
        "encoder_hidden_states": noise(1, 7, 16, seed=seed + 50),
        "encoder_hidden_states_mask": torch.ones(1, 7, dtype=torch.bool),
        "timestep": at(0.5),
        "img_shapes": [shape],
    }
    if control:
        arguments["controlnet_block_samples"] = [noise(1, 16, 32, seed=8 + place) for place in range(2)]
    return arguments


def _qwen21(seed: int) -> dict[str, Any]:
    return {
        "hidden_states": noise(1, 16, 8, seed=seed),
        "encoder_hidden_states": noise(1, 5, 12, seed=seed + 50),
        "timestep": at(0.5),
        "img_shapes": [[(1, 4, 4)]],
        "img_mask": torch.tensor([[False] * 5 + [True] * 4]),  # One place of the text's sequence for every 2 × 2 tokens.
    }


def flux(**config: Any) -> Any:
    return _flux_kind("FluxTransformer2DModel", pooled_projection_dim=32, guidance_embeds=True, **config)


def flux2() -> Any:
    return built(
        "Flux2Transformer2DModel", in_channels=4, num_layers=2, num_single_layers=2, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=32, timestep_guidance_channels=32, axes_dims_rope=(4, 4, 4, 4),
    )  # fmt: skip


def flux3() -> Any:
    return built(
        "Flux3Transformer2DModel", in_channels=4, cond_in_channels=4, num_layers=2, num_single_layers=2, attention_head_dim=16,
        num_attention_heads=2, joint_attention_dim=32, timestep_channels=16, axes_dims_rope=(4, 4, 4, 4),
    )  # fmt: skip


def chroma() -> Any:
    return _flux_kind("ChromaTransformer2DModel", approximator_num_channels=8, approximator_hidden_dim=32, approximator_layers=1)


def qwen_image() -> Any:
    return built(
        "QwenImageTransformer2DModel", patch_size=2, in_channels=16, out_channels=4, num_layers=2, attention_head_dim=16,
        num_attention_heads=2, joint_attention_dim=16, axes_dims_rope=(4, 6, 6),
    )  # fmt: skip


def qwen_image21() -> Any:
    return built(
        "QwenImage21Transformer2DModel", in_channels=8, out_channels=8, num_layers=2, attention_head_dim=16, num_attention_heads=2,
        context_in_dim=12, axes_dims_rope=(4, 6, 6),
    )  # fmt: skip


IMAGES: dict[str, Case] = {
    "flux": Case(flux, _flux),
    "flux, two rows": Case(flux, partial(_flux, rows=2)),
    "flux with a ControlNet": Case(flux, partial(_flux, control=True)),
    "flux kontext": Case(flux, partial(_flux, reference=True)),
    "flux, bfloat16": Case(flux, _flux, BFLOAT16),
    "flux2": Case(flux2, _flux2),
    "flux2 with a reference": Case(flux2, partial(_flux2, reference=True)),
    "flux3": Case(flux3, _flux3),
    "flux3 with a reference": Case(flux3, partial(_flux3, reference=True)),
    "chroma": Case(chroma, _chroma),
    "chroma with a ControlNet": Case(chroma, partial(_chroma, control=True)),
    "bria": Case(lambda: _flux_kind("BriaTransformer2DModel", pooled_projection_dim=32), _packed),
    "bria_fibo": Case(lambda: _flux_kind("BriaFiboTransformer2DModel", text_encoder_dim=24), _bria_fibo),
    "longcat_image": Case(lambda: _flux_kind("LongCatImageTransformer2DModel", pooled_projection_dim=32), _packed),
    "ovis_image": Case(lambda: _flux_kind("OvisImageTransformer2DModel", out_channels=4), _packed),
    "qwen_image": Case(qwen_image, _qwen),
    "qwen_image edit": Case(qwen_image, partial(_qwen, edit=True)),
    "qwen_image with a ControlNet": Case(qwen_image, partial(_qwen, control=True)),
    "qwen_image, bfloat16": Case(qwen_image, _qwen, BFLOAT16),
    "qwen_image2.1": Case(qwen_image21, _qwen21),
}
