"""How tiny random models are built, with what they are sampled with, and those of the models whose curves were published.

The other kinds are in the files `zoo_….py`; `zoo.EVERY` has them all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import comfy.model_patcher
import comfy.ops
import comfy.sd
import comfy.supported_models
import torch
from comfy.ldm.flux.model import Flux
from comfy.ldm.hunyuan_video.model import HunyuanVideo
from comfy.ldm.modules.diffusionmodules.mmdit import MMDiT
from comfy.ldm.wan.model import VaceWanModel, WanModel
from comfy.nested_tensor import NestedTensor
from safetensors.torch import save_file
from torch import nn

CPU = torch.device("cpu")


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@dataclass(frozen=True, slots=True)
class Tiny:
    """A model and the shapes it takes."""

    model: comfy.model_patcher.ModelPatcher
    latent: tuple[int, ...]
    width: int
    """Channels of the text."""
    extras: dict[str, Any] = field(default_factory=dict)
    """What a conditioning carries besides its text."""
    sound: tuple[int, ...] | None = None
    """Shape of the sound's latent, for a model of video with sound."""
    single: bool = False
    """Whether it takes one row at a time only, or never both conditionings in one batch."""

    def noise(self, batch: int, seed: int) -> Any:
        """Random latents of its kind."""
        picture = noise(batch, *self.latent, seed=seed)
        return picture if self.sound is None else NestedTensor([picture, noise(batch, *self.sound, seed=seed + 100)])

    def empty(self, batch: int = 1, size: tuple[int, int] | None = None) -> Any:
        """A latent of zeros, as ComfyUI's nodes make it; `size` is another height and width."""
        picture = torch.zeros(batch, *(self.latent if size is None else (*self.latent[:-2], *size)))
        return picture if self.sound is None else NestedTensor([picture, torch.zeros(batch, *self.sound)])

    def conditioning(self, seed: int, tokens: int = 7, **extras: Any) -> list[list[Any]]:
        """As ComfyUI's text encoders return it."""
        return [[noise(1, tokens, self.width, seed=seed), {**self.extras, **extras}]]

    @property
    def positive(self) -> list[list[Any]]:
        return self.conditioning(1)

    @property
    def negative(self) -> list[list[Any]]:
        return self.conditioning(2)

    @property
    def dit(self) -> nn.Module:
        return self.model.model.diffusion_model


class MaskedText(Tiny):
    """Its text encoder returns a mask, off which the model reads the length of the text."""

    def conditioning(self, seed: int, tokens: int = 7, **extras: Any) -> list[list[Any]]:
        return Tiny.conditioning(self, seed, tokens, attention_mask=torch.ones(1, tokens, dtype=torch.long), **extras)


def loaded(kind: Callable[..., nn.Module], seed: int = 0, **dimensions: Any) -> comfy.model_patcher.ModelPatcher:
    """Through a file and ComfyUI's own loader, which reads the dimensions off the weights."""
    model = randomised(kind(dtype=torch.float32, device="cpu", operations=comfy.ops.disable_weight_init, **dimensions), seed)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        save_file({name: value.contiguous().clone() for name, value in model.state_dict().items()}, path)
        return comfy.sd.load_diffusion_model(str(path))


def built(kind: Callable[..., Any], **dimensions: Any) -> comfy.model_patcher.ModelPatcher:
    """Without the loader, for models of which it knows one size only."""
    config = kind(dimensions)
    config.set_inference_dtype(torch.float32, None)
    model = config.get_model({}, "", device="cpu")
    randomised(model.diffusion_model)
    return comfy.model_patcher.CoreModelPatcher(model, load_device=CPU, offload_device=CPU)


def randomised(model: nn.Module, seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        values = torch.randn(parameter.shape, generator=generator) * 0.05
        if parameter.ndim == 1 and "norm" in name and name.endswith(("weight", "scale")):
            values += 1
        parameter.data = values
        parameter.requires_grad_(False)
    for name, buffer in model.named_buffers():
        if name == "pos_embed":  # Weights in all but name, and left uninitialised.
            buffer.copy_(torch.randn(buffer.shape, generator=generator) * 0.05)
    return model


def amplified(model: comfy.model_patcher.ModelPatcher, factor: float, part: str = "") -> comfy.model_patcher.ModelPatcher:
    """With weights so much larger, all or those of a part, for narrow models whose blocks would hardly be seen in the picture."""
    for parameter in model.model.diffusion_model.get_submodule(part).parameters():
        if parameter.ndim > 1:
            parameter.data *= factor
    return model


@cache
def _flux_model(guidance: bool) -> comfy.model_patcher.ModelPatcher:
    return loaded(
        Flux, in_channels=16, out_channels=16, vec_in_dim=64, context_in_dim=96, hidden_size=128, mlp_ratio=4.0, num_heads=1, depth=2,
        depth_single_blocks=2, axes_dim=[16, 56, 56], theta=10000, patch_size=2, qkv_bias=True, guidance_embed=guidance, txt_ids_dims=[],
    )  # fmt: skip


def flux_dev() -> Tiny:
    return Tiny(_flux_model(True), (16, 8, 8), 96, {"pooled_output": noise(1, 64, seed=3), "guidance": 3.5})


def flux_schnell() -> Tiny:
    return Tiny(_flux_model(False), (16, 8, 8), 96, {"pooled_output": noise(1, 64, seed=3)})


def flux_kontext() -> Tiny:
    dev = flux_dev()
    return Tiny(dev.model, dev.latent, dev.width, {**dev.extras, "reference_latents": [noise(1, 16, 8, 8, seed=4)]})


@cache
def chroma() -> Tiny:
    model = built(
        comfy.supported_models.Chroma, image_model="chroma", in_channels=64, out_channels=64, context_in_dim=64, hidden_size=128,
        mlp_ratio=4.0, num_heads=1, depth=2, depth_single_blocks=2, axes_dim=[16, 56, 56], theta=10000, patch_size=2, qkv_bias=True,
        in_dim=64, out_dim=128, hidden_dim=64, n_layers=1, txt_ids_dims=[], vec_in_dim=None,
    )  # fmt: skip
    return Tiny(model, (16, 8, 8), 64, {"pooled_output": None})


@cache
def hunyuan_video() -> Tiny:
    model = loaded(
        HunyuanVideo, in_channels=16, out_channels=16, vec_in_dim=768, context_in_dim=64, depth=2, depth_single_blocks=2,
        axes_dim=[16, 56, 56], patch_size=[1, 2, 2], hidden_size=128, mlp_ratio=4.0, num_heads=1, theta=256, qkv_bias=True,
        guidance_embed=True, byt5=False, meanflow=False, use_cond_type_embedding=False, vision_in_dim=None, meanflow_sum=False,
    )  # fmt: skip
    return Tiny(model, (16, 3, 8, 8), 64, {"pooled_output": noise(1, 768, seed=3), "guidance": 6.0})


@cache
def hunyuan_video15() -> Tiny:
    model = loaded(
        HunyuanVideo, in_channels=65, out_channels=32, vec_in_dim=None, context_in_dim=64, depth=2, depth_single_blocks=0,
        axes_dim=[16, 56, 56], patch_size=[1, 1, 1], hidden_size=128, mlp_ratio=4.0, num_heads=1, theta=256, qkv_bias=True,
        guidance_embed=False, byt5=True, meanflow=False, use_cond_type_embedding=True, vision_in_dim=1152, meanflow_sum=True,
    )  # fmt: skip
    extras = {
        "pooled_output": None,
        "conditioning_byt5small": noise(1, 4, 1472, seed=3),
        "clip_vision_output": SimpleNamespace(last_hidden_state=noise(1, 5, 1152, seed=4)),
    }
    return Tiny(model, (32, 3, 4, 4), 64, extras)


def _wan(kind: Callable[..., nn.Module], **dimensions: Any) -> comfy.model_patcher.ModelPatcher:
    shared: dict[str, Any] = {
        "patch_size": (1, 2, 2), "freq_dim": 256, "text_dim": 4096, "out_dim": 16, "num_heads": 1, "dim": 128, "ffn_dim": 256,
        "num_layers": 3, "qk_norm": True, "cross_attn_norm": True,
    }  # fmt: skip
    return loaded(kind, **{**shared, **dimensions})


@cache
def wan_t2v(seed: int = 0) -> Tiny:
    return Tiny(_wan(WanModel, seed=seed, model_type="t2v", in_dim=16), (16, 3, 8, 8), 4096)


@cache
def wan_i2v() -> Tiny:
    extras = {
        "clip_vision_output": SimpleNamespace(penultimate_hidden_states=noise(1, 257, 1280, seed=3)),
        "concat_latent_image": noise(1, 16, 3, 8, 8, seed=4),
        "concat_mask": torch.ones(1, 1, 3, 8, 8),
    }
    return Tiny(_wan(WanModel, model_type="i2v", in_dim=36), (16, 3, 8, 8), 4096, extras)


@cache
def wan_vace() -> Tiny:
    extras = {
        "vace_frames": [noise(1, 32, 3, 8, 8, seed=3)],
        "vace_mask": [torch.ones(1, 64, 3, 8, 8)],
        "vace_strength": [1.0],
    }
    model = _wan(VaceWanModel, model_type="vace", in_dim=16, vace_layers=2, vace_in_dim=96, num_layers=4)
    return Tiny(model, (16, 3, 8, 8), 4096, extras)


@cache
def wan22_ti2v() -> Tiny:
    return Tiny(_wan(WanModel, model_type="t2v", in_dim=48, out_dim=48), (48, 3, 8, 8), 4096)


@cache
def qwen_image() -> Tiny:
    model = built(
        comfy.supported_models.QwenImage, image_model="qwen_image", in_channels=64, num_layers=3, num_attention_heads=1,
        attention_head_dim=128, joint_attention_dim=64,
    )  # fmt: skip
    return Tiny(model, (16, 1, 8, 8), 64)


def qwen_image_edit() -> Tiny:
    text = qwen_image()
    return Tiny(text.model, text.latent, text.width, {"reference_latents": [noise(1, 16, 1, 8, 8, seed=4)]})


@cache
def sd3() -> Tiny:
    """A transformer without a published curve."""
    model = loaded(
        MMDiT, input_size=None, patch_size=2, in_channels=16, out_channels=16, depth=2, pos_embed_max_size=16, num_patches=256,
        adm_in_channels=64, context_embedder_config={"target": "torch.nn.Linear", "params": {"in_features": 64, "out_features": 128}},
    )  # fmt: skip
    return Tiny(model, (16, 8, 8), 64, {"pooled_output": noise(1, 64, seed=3)})


ALL: dict[str, Callable[[], Tiny]] = {
    "flux dev": flux_dev,
    "flux schnell": flux_schnell,
    "flux kontext": flux_kontext,
    "chroma": chroma,
    "hunyuan_video": hunyuan_video,
    "hunyuan_video1.5": hunyuan_video15,
    "wan t2v": wan_t2v,
    "wan i2v": wan_i2v,
    "wan vace": wan_vace,
    "wan2.2 ti2v": wan22_ti2v,
    "qwen_image": qwen_image,
    "qwen_image edit": qwen_image_edit,
}
