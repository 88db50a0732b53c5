"""Tiny pipelines of sound, and of video with sound, which is a second stream of tokens."""

from __future__ import annotations

from typing import Any

from diffusers import (
    AutoencoderKLLTX2Audio,
    AutoencoderKLLTX2Video,
    AutoencoderOobleck,
    CosineDPMSolverMultistepScheduler,
    DiffusionPipeline,
    LTX2Pipeline,
    LTX2VideoTransformer3DModel,
    StableAudioDiTModel,
    StableAudioPipeline,
)
from diffusers.pipelines.ltx2 import LTX2TextConnectors
from diffusers.pipelines.ltx2.vocoder import LTX2Vocoder
from diffusers.pipelines.stable_audio import StableAudioProjectionModel

from .pipelines_others import embedded
from .tiny_parts import Pipe, flow, quiet, randomised


def _stable_audio() -> DiffusionPipeline:
    transformer = StableAudioDiTModel(
        sample_size=8, in_channels=3, num_layers=3, attention_head_dim=4, num_attention_heads=2, num_key_value_attention_heads=2,
        out_channels=3, cross_attention_dim=4, time_proj_dim=8, global_states_input_dim=8, cross_attention_input_dim=4,
    )  # fmt: skip
    vae = AutoencoderOobleck(
        encoder_hidden_size=6, downsampling_ratios=[1, 2], decoder_channels=3, decoder_input_channels=3, audio_channels=2,
        channel_multiples=[2, 4], sampling_rate=4,
    )  # fmt: skip
    projection = StableAudioProjectionModel(text_encoder_dim=4, conditioning_dim=4, min_value=0, max_value=32)
    parts = {"vae": randomised(vae), "projection_model": randomised(projection), "transformer": randomised(transformer)}
    scheduler = CosineDPMSolverMultistepScheduler(
        solver_order=2, prediction_type="v_prediction", sigma_data=1.0, sigma_schedule="exponential"
    )
    return quiet(StableAudioPipeline(scheduler=scheduler, text_encoder=None, tokenizer=None, **parts))


def _ltx2() -> DiffusionPipeline:
    transformer = LTX2VideoTransformer3DModel(
        in_channels=4, out_channels=4, num_attention_heads=2, attention_head_dim=8, cross_attention_dim=16, audio_in_channels=4,
        audio_out_channels=4, audio_num_attention_heads=2, audio_attention_head_dim=4, audio_cross_attention_dim=8, num_layers=2,
        caption_channels=16, rope_double_precision=False, rope_type="split",
    )  # fmt: skip
    connectors = LTX2TextConnectors(
        caption_channels=16, text_proj_in_factor=2, video_connector_num_attention_heads=4, video_connector_attention_head_dim=4,
        video_connector_num_layers=1, video_connector_num_learnable_registers=None, audio_connector_num_attention_heads=4,
        audio_connector_attention_head_dim=4, audio_connector_num_layers=1, audio_connector_num_learnable_registers=None,
        connector_rope_base_seq_len=8, rope_theta=10000.0, rope_double_precision=False, causal_temporal_positioning=False,
        rope_type="split",
    )  # fmt: skip
    vae = AutoencoderKLLTX2Video(
        latent_channels=4, block_out_channels=(8, 8), decoder_block_out_channels=(8, 8), layers_per_block=(1, 1),
        decoder_layers_per_block=(1, 1, 1), spatio_temporal_scaling=(True, True), decoder_spatio_temporal_scaling=(True, True),
        decoder_inject_noise=(False,) * 3,
        downsample_type=("spatial", "spatial"), upsample_residual=(False, False), upsample_factor=(1, 1), patch_size=1,
        patch_size_t=1,
    )  # fmt: skip
    sound = AutoencoderKLLTX2Audio(
        base_channels=4, output_channels=2, ch_mult=(1,), num_res_blocks=1, in_channels=2, resolution=32, latent_channels=2, mel_bins=8,
        attn_resolutions=None,
    )  # fmt: skip
    vocoder = LTX2Vocoder(
        in_channels=16, hidden_channels=32, out_channels=2, upsample_kernel_sizes=[4, 4], upsample_factors=[2, 2],
        resnet_kernel_sizes=[3], resnet_dilations=[[1, 3, 5]],
    )  # fmt: skip
    parts = {"vae": vae.eval(), "audio_vae": sound.eval(), "vocoder": vocoder, "text_encoder": None, "tokenizer": None}
    models = {"transformer": randomised(transformer), "connectors": randomised(connectors)}
    return quiet(LTX2Pipeline(scheduler=flow(), **models, **parts))


def _ltx2_call(seed: int = 0, steps: int = 12, prompt: int = 1, **more: Any) -> dict[str, Any]:
    own = {"height": 32, "width": 32, "num_frames": 5, "frame_rate": 25.0, "spatio_temporal_guidance_blocks": [1]}
    scales = {f"{stream}{name}": scale for stream in ("", "audio_") for name, scale in (("stg_scale", 0.0), ("modality_scale", 1.0))}
    return embedded(32, "prompt_", **own, **scales)(seed, steps, prompt, **more)


def _guided_call(seed: int = 0, steps: int = 12, **more: Any) -> dict[str, Any]:
    """With a forward that leaves attention out of a block, and one in which video and sound do not see each other."""
    scales = {"stg_scale": 1.0, "audio_stg_scale": 1.0, "modality_scale": 2.0, "audio_modality_scale": 2.0}
    return _ltx2_call(seed, steps, **(scales | more))


SOUNDS: dict[str, Pipe] = {
    "stable_audio": Pipe(_stable_audio, embedded(4, "", audio_end_in_s=2.0), rows=2, adds_noise=True),
    "ltx2": Pipe(_ltx2, _ltx2_call, rows=2),
    "ltx2_guided": Pipe(_ltx2, _guided_call, branches=3, rows=2),
}
