"""Tiny pipelines of videos: Wan and what is built upon it, and the HunyuanVideo family."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from diffusers import (
    AutoencoderKLHunyuanVideo,
    AutoencoderKLHunyuanVideo15,
    AutoencoderKLWan,
    ClassifierFreeGuidance,
    DiffusionPipeline,
    HunyuanVideo15Pipeline,
    HunyuanVideo15Transformer3DModel,
    HunyuanVideoFramepackPipeline,
    HunyuanVideoFramepackTransformer3DModel,
    HunyuanVideoPipeline,
    HunyuanVideoTransformer3DModel,
    SkyReelsV2Pipeline,
    SkyReelsV2Transformer3DModel,
    WanImageToVideoPipeline,
    WanPipeline,
    WanTransformer3DModel,
    WanVACEPipeline,
    WanVACETransformer3DModel,
    WanVideoToVideoPipeline,
)
from torch import nn
from transformers import SiglipImageProcessor, SiglipVisionConfig, SiglipVisionModel

from .tiny_parts import Pipe, flow, generator, latent, mask, noise, picture, quiet, randomised, unipc, video_vae

_WAN: dict[str, Any] = {
    "patch_size": (1, 2, 2), "num_attention_heads": 2, "attention_head_dim": 12, "in_channels": 16, "out_channels": 16, "text_dim": 32,
    "freq_dim": 32, "ffn_dim": 32, "num_layers": 3, "rope_max_seq_len": 32,
}  # fmt: skip
_HUNYUAN: dict[str, Any] = {
    "in_channels": 4, "out_channels": 4, "num_attention_heads": 2, "attention_head_dim": 10, "num_layers": 2, "num_single_layers": 2,
    "num_refiner_layers": 1, "patch_size": 2, "patch_size_t": 1, "text_embed_dim": 16, "pooled_projection_dim": 8,
    "rope_axes_dim": (2, 4, 4),
}  # fmt: skip


def wan_transformer(seed: int = 0, kind: Callable[..., nn.Module] = WanTransformer3DModel, **more: Any) -> nn.Module:
    return randomised(kind(**(_WAN | more)), seed)


def wan(kind: type[DiffusionPipeline] = WanPipeline, **parts: Any) -> DiffusionPipeline:
    """`parts` replace its own: transformers, scheduler, `boundary_ratio` and so on."""
    own = {"tokenizer": None, "text_encoder": None, "vae": video_vae(), "scheduler": unipc(), "transformer": wan_transformer()}
    return quiet(kind(**(own | parts)))


def wan_call(seed: int = 0, steps: int = 12, prompt: int = 1, **more: Any) -> dict[str, Any]:
    return latent(
        prompt_embeds=noise(1, 8, 32, seed=prompt), negative_prompt_embeds=noise(1, 8, 32, seed=9), height=32, width=32, num_frames=5,
        guidance_scale=3.0, num_inference_steps=steps, generator=generator(seed),
    ) | more  # fmt: skip


def wan_two(**parts: Any) -> DiffusionPipeline:
    """With an expert for much noise and another for little."""
    return wan(transformer=wan_transformer(), transformer_2=wan_transformer(1), **({"boundary_ratio": 0.875} | parts))


def _wan_i2v() -> DiffusionPipeline:
    return wan(WanImageToVideoPipeline, transformer=wan_transformer(in_channels=36))


def _wan_i2v_call(seed: int = 0, steps: int = 12, **more: Any) -> dict[str, Any]:
    return wan_call(seed, steps, **({"image": picture()} | more))


def _wan_vace() -> DiffusionPipeline:
    transformer = wan_transformer(kind=WanVACETransformer3DModel, vace_layers=[0, 2], vace_in_channels=96)
    return wan(WanVACEPipeline, transformer=transformer, scheduler=flow())


def _wan_vace_call(seed: int = 0, steps: int = 12, **more: Any) -> dict[str, Any]:
    return wan_call(seed, steps, **({"reference_images": [picture()]} | more))


def _wan_ti2v() -> DiffusionPipeline:
    vae = AutoencoderKLWan(
        base_dim=3, z_dim=48, in_channels=12, out_channels=12, is_residual=True, patch_size=2, latents_mean=[0.0] * 48,
        latents_std=[1.0] * 48, dim_mult=[1, 1, 1, 1], num_res_blocks=1, scale_factor_spatial=16, scale_factor_temporal=4,
        temperal_downsample=[False, True, True],
    )  # fmt: skip
    transformer = wan_transformer(in_channels=48, out_channels=48)
    return wan(WanImageToVideoPipeline, vae=randomised(vae), transformer=transformer, expand_timesteps=True)


def _wan_ti2v_call(seed: int = 0, steps: int = 12, **more: Any) -> dict[str, Any]:
    return wan_call(seed, steps, **({"image": picture(64), "height": 64, "width": 64} | more))


def _wan_v2v_call(seed: int = 0, steps: int = 12, **more: Any) -> dict[str, Any]:
    own = {"video": [picture(seed=frame) for frame in range(5)], "strength": 0.75}
    arguments = wan_call(seed, steps, **(own | more))
    arguments.pop("num_frames")
    return arguments


def _skyreels() -> DiffusionPipeline:
    return wan(SkyReelsV2Pipeline, transformer=wan_transformer(kind=SkyReelsV2Transformer3DModel))


def _hunyuan_vae() -> AutoencoderKLHunyuanVideo:
    return randomised(
        AutoencoderKLHunyuanVideo(
            latent_channels=4, down_block_types=("HunyuanVideoDownBlock3D",) * 4, up_block_types=("HunyuanVideoUpBlock3D",) * 4,
            block_out_channels=(4,) * 4, layers_per_block=1, norm_num_groups=2,
        )
    )  # fmt: skip


def _hunyuan() -> DiffusionPipeline:
    transformer = randomised(HunyuanVideoTransformer3DModel(**_HUNYUAN, guidance_embeds=True))
    encoders = {"text_encoder": None, "tokenizer": None, "text_encoder_2": None, "tokenizer_2": None}
    return quiet(HunyuanVideoPipeline(scheduler=flow(shift=7.0), vae=_hunyuan_vae(), transformer=transformer, **encoders))


def _hunyuan_call(seed: int = 0, steps: int = 12, prompt: int = 1, **more: Any) -> dict[str, Any]:
    return latent(
        prompt_embeds=noise(1, 7, 16, seed=prompt), pooled_prompt_embeds=noise(1, 8, seed=prompt), prompt_attention_mask=mask(7),
        height=32, width=32, num_frames=9, num_inference_steps=steps, generator=generator(seed),
    ) | more  # fmt: skip


def framepack() -> DiffusionPipeline:
    transformer = HunyuanVideoFramepackTransformer3DModel(
        **_HUNYUAN, guidance_embeds=True, image_condition_type=None, has_image_proj=True, image_proj_dim=16, has_clean_x_embedder=True
    )
    eye = SiglipVisionConfig(hidden_size=16, intermediate_size=24, num_attention_heads=2, num_hidden_layers=1, image_size=32, patch_size=16)
    parts = {"text_encoder": None, "tokenizer": None, "text_encoder_2": None, "tokenizer_2": None, "vae": _hunyuan_vae()}
    parts["feature_extractor"] = SiglipImageProcessor(size={"height": 32, "width": 32})
    parts["image_encoder"] = randomised(SiglipVisionModel(eye))
    return quiet(HunyuanVideoFramepackPipeline(scheduler=flow(shift=7.0), transformer=randomised(transformer), **parts))


def framepack_call(seed: int = 0, steps: int = 12, **more: Any) -> dict[str, Any]:
    """Two sections of 9 frames each."""
    return _hunyuan_call(seed, steps, **({"image": picture(), "num_frames": 10, "latent_window_size": 3} | more))


def _framepack_f1_call(seed: int = 0, steps: int = 12, **more: Any) -> dict[str, Any]:
    return framepack_call(seed, steps, **({"sampling_type": "vanilla"} | more))


def _hunyuan_15() -> DiffusionPipeline:
    transformer = HunyuanVideo15Transformer3DModel(
        in_channels=9, out_channels=4, num_attention_heads=2, attention_head_dim=8, num_layers=3, num_refiner_layers=1, mlp_ratio=2.0,
        patch_size=1, patch_size_t=1, text_embed_dim=16, text_embed_2_dim=12, image_embed_dim=12, rope_axes_dim=(2, 2, 4),
        target_size=16, task_type="t2v",
    )  # fmt: skip
    vae = AutoencoderKLHunyuanVideo15(
        latent_channels=4, block_out_channels=(8, 8), layers_per_block=1, spatial_compression_ratio=4, temporal_compression_ratio=2,
        downsample_match_channel=False, upsample_match_channel=False,
    )  # fmt: skip
    encoders = {"text_encoder": None, "tokenizer": None, "text_encoder_2": None, "tokenizer_2": None}
    guider = ClassifierFreeGuidance(guidance_scale=3.0)
    parts = {"vae": randomised(vae), "transformer": randomised(transformer), "guider": guider, **encoders}
    pipe = quiet(HunyuanVideo15Pipeline(scheduler=flow(shift=7.0), **parts))
    pipe.vision_num_semantic_tokens = 5  # Of a start image; 729, and most of the time, otherwise.
    return pipe


def _hunyuan_15_call(seed: int = 0, steps: int = 12, prompt: int = 1, **more: Any) -> dict[str, Any]:
    positive = {
        "prompt_embeds": noise(1, 7, 16, seed=prompt), "prompt_embeds_mask": mask(7), "prompt_embeds_2": noise(1, 5, 12, seed=prompt),
        "prompt_embeds_mask_2": mask(5),
    }  # fmt: skip
    negative = {f"negative_{name}": value.roll(1, -1) if value.ndim == 3 else value for name, value in positive.items()}
    own = latent(height=16, width=16, num_frames=5, num_inference_steps=steps, generator=generator(seed))
    return own | positive | negative | more


VIDEOS: dict[str, Pipe] = {
    "hunyuan_video": Pipe(_hunyuan, _hunyuan_call),
    "framepack": Pipe(framepack, framepack_call, runs=2),
    "framepack_f1": Pipe(framepack, _framepack_f1_call, runs=2),
    "hunyuan_video_15": Pipe(_hunyuan_15, _hunyuan_15_call, branches=2),
    "wan21_t2v": Pipe(wan, wan_call, branches=2),
    "wan21_i2v": Pipe(_wan_i2v, _wan_i2v_call, branches=2),
    "wan21_vace": Pipe(_wan_vace, _wan_vace_call, branches=2),
    "wan22_unipc": Pipe(wan_two, wan_call, branches=2),
    "wan22_euler": Pipe(lambda: wan_two(scheduler=flow()), wan_call, branches=2),
    "wan22_ti2v": Pipe(_wan_ti2v, _wan_ti2v_call, branches=2),
    "wan_v2v": Pipe(lambda: wan(WanVideoToVideoPipeline), _wan_v2v_call, branches=2, fraction=0.75),
    "skyreels_v2": Pipe(_skyreels, wan_call, branches=2),
}
