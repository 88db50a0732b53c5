"""The models of `benchmarks.gpu`, built in ComfyUI with random weights on the device. ComfyUI must be importable."""

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
"""Weights are uniform in ±SPREAD: a layer's output is then about as large as its input."""


@dataclass(frozen=True, slots=True)
class Workload:
    """A model, its inputs, and how it is sampled."""

    name: str
    config: Callable[[dict[str, Any]], Any]
    """Class of the model's configuration in ComfyUI."""
    dimensions: dict[str, Any]
    """Arguments of the configuration."""
    latent: tuple[int, ...]
    """Shape of the latent, (1, channels, …, height, width)."""
    text: tuple[int, int]
    """Number of text tokens, and their width."""
    pooled: int | None
    """Width of the pooled text; None if the model takes none."""
    guidance: float | None
    """The distilled guidance; None if the model takes none."""
    cfg: float
    """CFG scale; 1 is without guidance."""
    steps: int
    curve: str
    """Name of the shipped curve."""
    pairs: int
    """Number of pairs of a full and a skipped step in a short run, after one full step."""
    dtype: torch.dtype = torch.bfloat16
    backend: str = "inductor"
    """Backend of torch.compile."""

    def describe(self) -> dict[str, Any]:
        """What the figures depend on, as JSON values."""
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
        """Random conditioning in the form in which ComfyUI's text encoders return it."""
        extras: dict[str, Any] = {} if self.pooled is None else {"pooled_output": noise(1, self.pooled, seed=seed + 100)}
        if self.guidance is not None:
            extras["guidance"] = self.guidance
        return [[noise(1, *self.text, seed=seed), extras]]


FLUX = Workload(
    name="flux",
    config=comfy.supported_models.Flux,
    dimensions={
        "image_model": "flux", "in_channels": 16, "out_channels": 16, "vec_in_dim": 768, "context_in_dim": 4096, "hidden_size": 3072,
        "mlp_ratio": 4.0, "num_heads": 24, "depth": 19, "depth_single_blocks": 38, "axes_dim": [16, 56, 56], "theta": 10000,
        "patch_size": 2, "qkv_bias": True, "guidance_embed": True, "txt_ids_dims": [],
    },
    latent=(1, 16, 128, 128), text=(512, 4096), pooled=768, guidance=3.5, cfg=1.0, steps=28, curve="flux", pairs=8,
)  # fmt: skip
WAN = Workload(
    name="wan",
    config=comfy.supported_models.WAN21_T2V,
    dimensions={
        "image_model": "wan2.1", "model_type": "t2v", "patch_size": (1, 2, 2), "freq_dim": 256, "text_dim": 4096, "in_dim": 16,
        "out_dim": 16, "dim": 5120, "ffn_dim": 13824, "num_heads": 40, "num_layers": 40, "qk_norm": True, "cross_attn_norm": True,
    },
    latent=(1, 16, 21, 60, 104), text=(512, 4096), pooled=None, guidance=None, cfg=5.0, steps=30, curve="wan2.1_t2v_14B", pairs=3,
)  # fmt: skip


def workload_of(name: str, tiny: bool) -> Workload:
    """The workload `flux` or `wan`, at full size or tiny."""
    workload = {"flux": FLUX, "wan": WAN}[name]
    return _tiny(workload) if tiny else workload


def _tiny(workload: Workload) -> Workload:
    """The same at a size that a CPU runs in milliseconds. torch.compile traces it but generates no code, which would take long."""
    shrunk: dict[str, dict[str, Any]] = {
        "flux": {"vec_in_dim": 64, "context_in_dim": 96, "hidden_size": 128, "num_heads": 1, "depth": 2, "depth_single_blocks": 2},
        "wan": {"text_dim": 96, "dim": 128, "ffn_dim": 256, "num_heads": 1, "num_layers": 3},
    }
    return replace(
        workload,
        dimensions={**workload.dimensions, **shrunk[workload.name]},
        latent=(*workload.latent[:2], *(3 for _ in workload.latent[4:]), 8, 8),
        text=(7, 96),
        pooled=None if workload.pooled is None else 64,
        pairs=2,
        dtype=torch.float32,
        backend="eager",
    )


def noise(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def build(workload: Workload, device: torch.device) -> comfy.model_patcher.ModelPatcher:
    """The model with all its weights on `device`, where they are made."""
    config = workload.config(dict(workload.dimensions))
    config.set_inference_dtype(workload.dtype, None)
    model = config.get_model({}, "", device=device)
    _fill(model.diffusion_model, device)
    patcher = comfy.model_patcher.CoreModelPatcher(model, load_device=device, offload_device=device)
    # Otherwise the loader, which does not know that the weights are there, might find too little memory for a second set of them.
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
