"""The models of `benchmarks.gpu.__main__`, built in ComfyUI with random weights right on the device. ComfyUI must be on the path."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import comfy.model_management
import comfy.model_patcher
import comfy.supported_models
import torch
from torch import nn

SPREAD = 0.03
"""Weights are uniform in ±SPREAD: each layer then about keeps the size of what goes through it."""


@dataclass(frozen=True, slots=True)
class Case:
    """A model, what it is sampled with and how."""

    name: str
    config: Callable[[dict[str, Any]], Any]
    """ComfyUI's configuration of the model."""
    dimensions: dict[str, Any]
    latent: tuple[int, ...]
    text: tuple[int, int]
    """Tokens and their width."""
    pooled: int | None
    """Width of the pooled text."""
    guidance: float | None
    """The distilled guidance."""
    cfg: float
    steps: int
    curve: str
    pairs: int
    """A short run has one step to warm up and so many pairs of a full and a skipped one."""
    dtype: torch.dtype = torch.bfloat16
    backend: str = "inductor"

    def describe(self) -> dict[str, Any]:
        return {
            **self.dimensions,
            "latent": list(self.latent),
            "text_tokens": self.text[0],
            "cfg": self.cfg,
            "steps": self.steps,
            "dtype": str(self.dtype).removeprefix("torch."),
            "compile_backend": self.backend,
        }

    def conditioning(self, seed: int) -> list[list[Any]]:
        """As ComfyUI's text encoders return it."""
        extras: dict[str, Any] = {} if self.pooled is None else {"pooled_output": noise(1, self.pooled, seed=seed + 100)}
        if self.guidance is not None:
            extras["guidance"] = self.guidance
        return [[noise(1, *self.text, seed=seed), extras]]


FLUX = Case(
    name="flux",
    config=comfy.supported_models.Flux,
    dimensions={
        "image_model": "flux", "in_channels": 16, "out_channels": 16, "vec_in_dim": 768, "context_in_dim": 4096, "hidden_size": 3072,
        "mlp_ratio": 4.0, "num_heads": 24, "depth": 19, "depth_single_blocks": 38, "axes_dim": [16, 56, 56], "theta": 10000,
        "patch_size": 2, "qkv_bias": True, "guidance_embed": True, "txt_ids_dims": [],
    },
    latent=(1, 16, 128, 128), text=(512, 4096), pooled=768, guidance=3.5, cfg=1.0, steps=28, curve="flux", pairs=8,
)  # fmt: skip
WAN = Case(
    name="wan",
    config=comfy.supported_models.WAN21_T2V,
    dimensions={
        "image_model": "wan2.1", "model_type": "t2v", "patch_size": (1, 2, 2), "freq_dim": 256, "text_dim": 4096, "in_dim": 16,
        "out_dim": 16, "dim": 5120, "ffn_dim": 13824, "num_heads": 40, "num_layers": 40, "qk_norm": True, "cross_attn_norm": True,
    },
    latent=(1, 16, 21, 60, 104), text=(512, 4096), pooled=None, guidance=None, cfg=5.0, steps=30, curve="wan2.1_t2v_14B", pairs=3,
)  # fmt: skip


def case_of(name: str, tiny: bool) -> Case:
    case = {"flux": FLUX, "wan": WAN}[name]
    return _tiny(case) if tiny else case


def _tiny(case: Case) -> Case:
    """The same at a size that a CPU runs in milliseconds. Code generation is left out: tracing takes long enough."""
    shrunk: dict[str, dict[str, Any]] = {
        "flux": {"vec_in_dim": 64, "context_in_dim": 96, "hidden_size": 128, "num_heads": 1, "depth": 2, "depth_single_blocks": 2},
        "wan": {"text_dim": 96, "dim": 128, "ffn_dim": 256, "num_heads": 1, "num_layers": 3},
    }
    return replace(
        case,
        dimensions={**case.dimensions, **shrunk[case.name]},
        latent=(*case.latent[:2], *(3 for _ in case.latent[4:]), 8, 8),
        text=(7, 96),
        pooled=None if case.pooled is None else 64,
        pairs=2,
        dtype=torch.float32,
        backend="eager",
    )


def noise(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def build(case: Case, device: torch.device) -> comfy.model_patcher.ModelPatcher:
    """The model, whole on `device`; its weights have never been anywhere else."""
    config = case.config(dict(case.dimensions))
    config.set_inference_dtype(case.dtype, None)
    model = config.get_model({}, "", device=device)
    _fill(model.diffusion_model, device)
    patcher = comfy.model_patcher.CoreModelPatcher(model, load_device=device, offload_device=device)
    # Or the loader, which cannot know that the weights are there, might find too little memory for a second set of them.
    comfy.model_management.load_models_gpu([patcher], force_full_load=True)
    return patcher


@torch.no_grad()
def _fill(model: nn.Module, device: torch.device) -> None:
    generator = torch.Generator(device).manual_seed(0)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1 and "norm" in name and name.endswith(("weight", "scale")):
            parameter.fill_(1)
        else:
            parameter.uniform_(-SPREAD, SPREAD, generator=generator)
