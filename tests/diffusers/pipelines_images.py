"""Tiny pipelines of pictures: Flux and its relatives, Chroma, Qwen-Image."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import (
    AutoencoderKLFlux2,
    AutoencoderKLQwenImage,
    ChromaPipeline,
    ChromaTransformer2DModel,
    DiffusionPipeline,
    Flux2Pipeline,
    Flux2Transformer2DModel,
    FluxImg2ImgPipeline,
    FluxKontextPipeline,
    FluxPipeline,
    FluxTransformer2DModel,
    QwenImageEditPipeline,
    QwenImageEditPlusPipeline,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
)

from .tiny_parts import Pipe, flow, generator, latent, mask, noise, picture, picture_vae, quiet, randomised

_NO_ENCODERS = {"text_encoder": None, "tokenizer": None, "text_encoder_2": None, "tokenizer_2": None}


def flux_transformer(seed: int = 0) -> FluxTransformer2DModel:
    return randomised(
        FluxTransformer2DModel(
            patch_size=1, in_channels=16, num_layers=2, num_single_layers=2, attention_head_dim=16, num_attention_heads=2,
            joint_attention_dim=32, pooled_projection_dim=32, axes_dims_rope=(4, 4, 8), guidance_embeds=True,
        ),
        seed,
    )  # fmt: skip


def flux(kind: type[DiffusionPipeline] = FluxPipeline, seed: int = 0) -> DiffusionPipeline:
    scheduler = flow(use_dynamic_shifting=True)
    return quiet(kind(scheduler=scheduler, vae=picture_vae(), transformer=flux_transformer(seed), **_NO_ENCODERS))


def flux_call(seed: int = 0, steps: int = 12, prompt: int = 1, **more: Any) -> dict[str, Any]:
    return latent(
        prompt_embeds=noise(1, 7, 32, seed=prompt), pooled_prompt_embeds=noise(1, 32, seed=prompt), height=16, width=16,
        num_inference_steps=steps, generator=generator(seed),
    ) | more  # fmt: skip


def _img2img_call(seed: int = 0, steps: int = 12, **more: Any) -> dict[str, Any]:
    return flux_call(seed, steps, **({"image": picture(16), "strength": 0.75} | more))


def _kontext_call(seed: int = 0, steps: int = 12, **more: Any) -> dict[str, Any]:
    return flux_call(seed, steps, **({"image": picture(16), "max_area": 256, "_auto_resize": False} | more))


def _flux2() -> DiffusionPipeline:
    transformer = Flux2Transformer2DModel(
        patch_size=1, in_channels=16, num_layers=2, num_single_layers=2, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=24, axes_dims_rope=(4, 4, 4, 4),
    )  # fmt: skip
    vae = AutoencoderKLFlux2(
        sample_size=32, down_block_types=("DownEncoderBlock2D",), up_block_types=("UpDecoderBlock2D",), block_out_channels=(4,),
        layers_per_block=1, latent_channels=4, norm_num_groups=1, use_quant_conv=False, use_post_quant_conv=False,
    )  # fmt: skip
    encoders = {"text_encoder": None, "tokenizer": None}
    return quiet(Flux2Pipeline(scheduler=flow(), vae=randomised(vae), transformer=randomised(transformer), **encoders))


def _flux2_call(seed: int = 0, steps: int = 12, prompt: int = 1, **more: Any) -> dict[str, Any]:
    text = noise(1, 7, 24, seed=prompt)
    return latent(prompt_embeds=text, height=16, width=16, num_inference_steps=steps, generator=generator(seed)) | more


def _chroma() -> DiffusionPipeline:
    transformer = ChromaTransformer2DModel(
        patch_size=1, in_channels=16, num_layers=2, num_single_layers=2, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=32, axes_dims_rope=(4, 4, 8), approximator_num_channels=16, approximator_hidden_dim=32,
        approximator_layers=1,
    )  # fmt: skip
    encoders = {"text_encoder": None, "tokenizer": None}
    return quiet(ChromaPipeline(scheduler=flow(), vae=picture_vae(), transformer=randomised(transformer), **encoders))


def _chroma_call(seed: int = 0, steps: int = 12, prompt: int = 1, **more: Any) -> dict[str, Any]:
    return latent(
        prompt_embeds=noise(1, 7, 32, seed=prompt), prompt_attention_mask=mask(7).bool(), negative_prompt_embeds=noise(1, 7, 32, seed=9),
        negative_prompt_attention_mask=mask(7).bool(), height=16, width=16, num_inference_steps=steps, generator=generator(seed),
    ) | more  # fmt: skip


class _Pooling(AutoencoderKLQwenImage):
    """Encodes a picture as its means over squares of 128 pixels: the edit pipelines make every picture a million pixels large."""

    def encode(self, x: torch.Tensor, return_dict: bool = True) -> Any:
        cells = torch.nn.functional.avg_pool3d(x, (1, 128, 128))
        moments = torch.cat([cells, cells.mean(1, True), torch.zeros_like(cells), torch.zeros_like(cells[:, :1])], 1)
        from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
        from diffusers.models.modeling_outputs import AutoencoderKLOutput

        return AutoencoderKLOutput(latent_dist=DiagonalGaussianDistribution(moments))


def qwen_transformer() -> QwenImageTransformer2DModel:
    return randomised(
        QwenImageTransformer2DModel(
            patch_size=2, in_channels=16, out_channels=4, num_layers=3, attention_head_dim=16, num_attention_heads=2,
            joint_attention_dim=16, axes_dims_rope=(8, 4, 4),
        )
    )  # fmt: skip


def _qwen(kind: type[DiffusionPipeline] = QwenImagePipeline, **parts: Any) -> DiffusionPipeline:
    edits = kind is not QwenImagePipeline
    levels = 7 if edits else 2
    vae = (_Pooling if edits else AutoencoderKLQwenImage)(
        base_dim=2, z_dim=4, dim_mult=[1] * (levels + 1), num_res_blocks=1, temperal_downsample=[False] * levels,
        latents_mean=[0.0] * 4, latents_std=[1.0] * 4,
    )  # fmt: skip
    encoders = {"text_encoder": None, "tokenizer": None, **parts}
    return quiet(kind(scheduler=flow(), vae=randomised(vae), transformer=qwen_transformer(), **encoders))


def _qwen_call(seed: int = 0, steps: int = 12, prompt: int = 1, **more: Any) -> dict[str, Any]:
    return latent(
        prompt_embeds=noise(1, 7, 16, seed=prompt), prompt_embeds_mask=mask(7), negative_prompt_embeds=noise(1, 5, 16, seed=9),
        negative_prompt_embeds_mask=mask(5), true_cfg_scale=3.0, height=32, width=32, num_inference_steps=steps,
        generator=generator(seed),
    ) | more  # fmt: skip


def _edit_call(seed: int = 0, steps: int = 12, **more: Any) -> dict[str, Any]:
    return _qwen_call(seed, steps, **({"image": picture(), "height": 1024, "width": 1024} | more))


def _edit_plus_call(seed: int = 0, steps: int = 12, **more: Any) -> dict[str, Any]:
    return _edit_call(seed, steps, **({"image": [picture(), picture(seed=1)]} | more))


IMAGES: dict[str, Pipe] = {
    "flux": Pipe(flux, flux_call),
    "flux_img2img": Pipe(lambda: flux(FluxImg2ImgPipeline), _img2img_call, fraction=0.75),
    "flux_kontext": Pipe(lambda: flux(FluxKontextPipeline), _kontext_call),
    "flux2": Pipe(_flux2, _flux2_call),
    "chroma": Pipe(_chroma, _chroma_call, branches=2),
    "qwen_image": Pipe(_qwen, _qwen_call, branches=2),
    "qwen_image_edit": Pipe(lambda: _qwen(QwenImageEditPipeline, processor=None), _edit_call, branches=2),
    "qwen_image_edit_plus": Pipe(lambda: _qwen(QwenImageEditPlusPipeline, processor=None), _edit_plus_call, branches=2),
}
