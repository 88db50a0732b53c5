"""Tiny pipelines that differ in kind: guidance in one batch, lists as outputs, other schedulers."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import (
    AutoencoderDC,
    AutoencoderKLCogVideoX,
    AutoencoderKLCosmos,
    AutoencoderKLLTXVideo,
    AutoencoderKLMochi,
    CogVideoXDDIMScheduler,
    CogVideoXPipeline,
    CogVideoXTransformer3DModel,
    CosmosTextToWorldPipeline,
    CosmosTransformer3DModel,
    DDIMScheduler,
    DiffusionPipeline,
    EDMEulerScheduler,
    Kandinsky5T2IPipeline,
    Kandinsky5Transformer3DModel,
    LTXPipeline,
    LTXVideoTransformer3DModel,
    Lumina2Pipeline,
    Lumina2Transformer2DModel,
    MochiPipeline,
    MochiTransformer3DModel,
    PixArtSigmaPipeline,
    PixArtTransformer2DModel,
    PRXPipeline,
    SanaPipeline,
    SanaTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    ZImagePipeline,
    ZImageTransformer2DModel,
)
from diffusers.models.transformers.transformer_prx import PRXTransformer2DModel
from torch import nn

from .tiny_parts import Pipe, flow, generator, latent, mask, noise, picture_vae, quiet, randomised

_NO_ENCODER = {"text_encoder": None, "tokenizer": None}


def embedded(channels: int, masks: str | None = "", **own: Any) -> Any:
    """A call with embeddings of the prompt and of an empty one; `masks` is the beginning of the name of their masks."""

    def call(seed: int = 0, steps: int = 12, prompt: int = 1, **more: Any) -> dict[str, Any]:
        text = {"prompt_embeds": noise(1, 8, channels, seed=prompt), "negative_prompt_embeds": noise(1, 8, channels, seed=9)}
        if masks is not None:
            text |= {f"{masks}attention_mask": mask(8), f"negative_{masks}attention_mask": mask(8)}
        return latent(num_inference_steps=steps, generator=generator(seed), guidance_scale=3.0) | text | own | more

    return call


_SQUARE = {"height": 16, "width": 16}


def _sd3() -> DiffusionPipeline:
    transformer = SD3Transformer2DModel(
        sample_size=16, patch_size=1, in_channels=4, num_layers=3, attention_head_dim=8, num_attention_heads=4, caption_projection_dim=32,
        joint_attention_dim=32, pooled_projection_dim=16, out_channels=4,
    )  # fmt: skip
    encoders = {f"{part}{number}": None for part in ("text_encoder", "tokenizer") for number in ("", "_2", "_3")}
    return quiet(StableDiffusion3Pipeline(scheduler=flow(), vae=picture_vae(), transformer=randomised(transformer), **encoders))


def _sd3_call(seed: int = 0, steps: int = 12, prompt: int = 1, **more: Any) -> dict[str, Any]:
    pooled = {"pooled_prompt_embeds": noise(1, 16, seed=prompt), "negative_pooled_prompt_embeds": noise(1, 16, seed=9)}
    return embedded(32, None, **_SQUARE)(seed, steps, prompt, **(pooled | more))


def _z_image() -> DiffusionPipeline:
    transformer = ZImageTransformer2DModel(
        all_patch_size=(2,), all_f_patch_size=(1,), in_channels=4, dim=32, n_layers=3, n_refiner_layers=1, n_heads=2, n_kv_heads=2,
        cap_feat_dim=16, axes_dims=[8, 4, 4], axes_lens=[256, 32, 32],
    )  # fmt: skip
    return quiet(ZImagePipeline(scheduler=flow(), vae=picture_vae(), transformer=randomised(transformer), **_NO_ENCODER))


def _z_image_call(seed: int = 0, steps: int = 12, prompt: int = 1, **more: Any) -> dict[str, Any]:
    own = {"prompt_embeds": [noise(8, 16, seed=prompt)], "negative_prompt_embeds": [noise(8, 16, seed=9)], "guidance_scale": 3.0}
    return latent(num_inference_steps=steps, generator=generator(seed)) | _SQUARE | own | more


def _ltx() -> DiffusionPipeline:
    transformer = LTXVideoTransformer3DModel(
        in_channels=8,
        out_channels=8,
        num_attention_heads=4,
        attention_head_dim=8,
        cross_attention_dim=32,
        num_layers=3,
        caption_channels=32,
    )
    vae = AutoencoderKLLTXVideo(
        latent_channels=8, block_out_channels=(8,) * 4, decoder_block_out_channels=(8,) * 4, layers_per_block=(1,) * 5,
        decoder_layers_per_block=(1,) * 5, spatio_temporal_scaling=(True, True, False, False),
        decoder_spatio_temporal_scaling=(True, True, False, False), patch_size=1,
    )  # fmt: skip
    return quiet(LTXPipeline(scheduler=flow(), vae=randomised(vae), transformer=randomised(transformer), **_NO_ENCODER))


def _cogvideox(scheduler: type = CogVideoXDDIMScheduler) -> DiffusionPipeline:
    transformer = CogVideoXTransformer3DModel(
        num_attention_heads=4, attention_head_dim=8, in_channels=4, out_channels=4, time_embed_dim=8, text_embed_dim=32, num_layers=3,
        sample_width=4, sample_height=4, sample_frames=9, max_text_seq_length=8,
    )  # fmt: skip
    vae = AutoencoderKLCogVideoX(
        down_block_types=("CogVideoXDownBlock3D",) * 4, up_block_types=("CogVideoXUpBlock3D",) * 4, block_out_channels=(4,) * 4,
        latent_channels=4, layers_per_block=1, norm_num_groups=2,
    )  # fmt: skip
    return quiet(CogVideoXPipeline(scheduler=scheduler(), vae=randomised(vae), transformer=randomised(transformer), **_NO_ENCODER))


def _mochi() -> DiffusionPipeline:
    transformer = MochiTransformer3DModel(
        num_attention_heads=2, attention_head_dim=8, num_layers=3, pooled_projection_dim=16, in_channels=12, text_embed_dim=32,
        time_embed_dim=8, max_sequence_length=8,
    )  # fmt: skip
    vae = AutoencoderKLMochi(
        latent_channels=12, encoder_block_out_channels=(32,) * 4, decoder_block_out_channels=(32,) * 4, layers_per_block=(1,) * 5
    )
    parts = {"scheduler": flow(invert_sigmas=True), "vae": vae.eval(), "transformer": randomised(transformer)}
    return quiet(MochiPipeline(**parts, **_NO_ENCODER))


def _sana() -> DiffusionPipeline:
    transformer = SanaTransformer2DModel(
        patch_size=1, in_channels=4, out_channels=4, num_layers=3, num_attention_heads=2, attention_head_dim=8,
        num_cross_attention_heads=2, cross_attention_head_dim=8, cross_attention_dim=16, caption_channels=8, sample_size=16,
    )  # fmt: skip
    vae = AutoencoderDC(
        in_channels=3, latent_channels=4, attention_head_dim=2, encoder_block_types="ResBlock", decoder_block_types="ResBlock",
        encoder_block_out_channels=(8, 8), decoder_block_out_channels=(8, 8), encoder_layers_per_block=(1, 1),
        decoder_layers_per_block=(1, 1), encoder_qkv_multiscales=((), ()), decoder_qkv_multiscales=((), ()),
    )  # fmt: skip
    return quiet(SanaPipeline(scheduler=flow(), vae=vae.eval(), transformer=randomised(transformer), **_NO_ENCODER))


def _pixart() -> DiffusionPipeline:
    transformer = PixArtTransformer2DModel(
        sample_size=8, num_layers=3, patch_size=2, attention_head_dim=8, num_attention_heads=3, caption_channels=32, in_channels=4,
        cross_attention_dim=24, out_channels=8,
    )  # fmt: skip
    return quiet(
        PixArtSigmaPipeline(
            scheduler=DDIMScheduler(clip_sample=False), vae=picture_vae(), transformer=randomised(transformer), **_NO_ENCODER
        )
    )


def _lumina2() -> DiffusionPipeline:
    transformer = Lumina2Transformer2DModel(
        sample_size=4, patch_size=2, in_channels=4, hidden_size=16, num_layers=3, num_refiner_layers=1, num_attention_heads=2,
        num_kv_heads=1, multiple_of=16, axes_dim_rope=(4, 2, 2), axes_lens=(32, 32, 32), cap_feat_dim=8,
    )  # fmt: skip
    return quiet(Lumina2Pipeline(scheduler=flow(), vae=picture_vae(), transformer=randomised(transformer), **_NO_ENCODER))


def _kandinsky5() -> DiffusionPipeline:
    transformer = Kandinsky5Transformer3DModel(
        in_visual_dim=4, in_text_dim=12, in_text_dim2=10, time_dim=16, out_visual_dim=4, model_dim=16, ff_dim=32, num_text_blocks=1,
        num_visual_blocks=3, axes_dims=(2, 2, 4),
    )  # fmt: skip
    encoders = {"text_encoder": None, "tokenizer": None, "text_encoder_2": None, "tokenizer_2": None}
    pipe = quiet(Kandinsky5T2IPipeline(scheduler=flow(), vae=picture_vae(), transformer=randomised(transformer), **encoders))
    pipe.resolutions = [(128, 128)]  # Its own are of a million pixels.
    return pipe


def _kandinsky5_call(seed: int = 0, steps: int = 12, prompt: int = 1, **more: Any) -> dict[str, Any]:
    return latent(
        prompt_embeds_qwen=noise(1, 6, 12, seed=prompt), prompt_embeds_clip=noise(1, 10, seed=prompt),
        prompt_cu_seqlens=torch.tensor([0, 6]), negative_prompt_embeds_qwen=noise(1, 6, 12, seed=9),
        negative_prompt_embeds_clip=noise(1, 10, seed=9),
        negative_prompt_cu_seqlens=torch.tensor([0, 6]), height=128, width=128, num_inference_steps=steps, generator=generator(seed),
    ) | more  # fmt: skip


def _prx() -> DiffusionPipeline:
    transformer = PRXTransformer2DModel(
        in_channels=4, patch_size=2, context_in_dim=8, hidden_size=16, num_heads=2, depth=3, axes_dim=[4, 4]
    )
    return quiet(PRXPipeline(scheduler=flow(), vae=picture_vae(), transformer=randomised(transformer), **_NO_ENCODER))


class _NoChecker(nn.Module):
    """In place of Cosmos' check of texts and videos, which is a model of its own."""

    device, dtype = torch.device("cpu"), torch.float32

    def check_text_safety(self, prompt: str) -> bool:
        return True

    def check_video_safety(self, video: Any) -> Any:
        return video


def _cosmos() -> DiffusionPipeline:
    transformer = CosmosTransformer3DModel(
        in_channels=4, out_channels=4, num_attention_heads=2, attention_head_dim=16, num_layers=3, mlp_ratio=2, text_embed_dim=32,
        adaln_lora_dim=4, max_size=(4, 32, 32), patch_size=(1, 2, 2), rope_scale=(2.0, 1.0, 1.0), extra_pos_embed_type="learnable",
    )  # fmt: skip
    vae = AutoencoderKLCosmos(
        latent_channels=4, encoder_block_out_channels=(8,) * 4, decode_block_out_channels=(8,) * 4, attention_resolutions=(8,),
        resolution=64, num_layers=2, spatial_compression_ratio=4, temporal_compression_ratio=4, scaling_factor=1.0,
    )  # fmt: skip
    scheduler = EDMEulerScheduler(sigma_schedule="karras", prediction_type="epsilon", final_sigmas_type="sigma_min")
    parts = {"vae": vae.eval(), "transformer": randomised(transformer), "safety_checker": _NoChecker()}
    return quiet(CosmosTextToWorldPipeline(scheduler=scheduler, **parts, **_NO_ENCODER))


_VIDEO = {"height": 32, "width": 32, "num_frames": 9}

OTHERS: dict[str, Pipe] = {
    "sd3": Pipe(_sd3, _sd3_call, rows=2),
    "z_image": Pipe(_z_image, _z_image_call, rows=2),
    "ltx": Pipe(_ltx, embedded(32, "prompt_", **_VIDEO), rows=2),
    "cogvideox": Pipe(_cogvideox, embedded(32, None, **_VIDEO), rows=2),
    "mochi": Pipe(_mochi, embedded(32, "prompt_", **(_VIDEO | {"num_frames": 7})), rows=2),
    "sana": Pipe(_sana, embedded(8, "prompt_", height=32, width=32, negative_prompt=None, use_resolution_binning=False), rows=2),
    "pixart": Pipe(_pixart, embedded(32, "prompt_", **_SQUARE, negative_prompt=None, use_resolution_binning=False), rows=2),
    "lumina2": Pipe(_lumina2, embedded(8, "prompt_", height=64, width=64), branches=2),
    "kandinsky5": Pipe(_kandinsky5, _kandinsky5_call, branches=2),
    "prx": Pipe(_prx, embedded(8, "prompt_", **_SQUARE, use_resolution_binning=False), rows=2),
    "cosmos": Pipe(_cosmos, embedded(32, None, **_VIDEO), branches=2),
}
