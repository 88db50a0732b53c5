"""Tiny transformers of pictures whose sequences or outputs need a second look, and both Kandinskys with their videos."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from diffusers.models.attention_dispatch import AttentionBackendName

from .tiny import Case, built, noise
from .zoo_images import BFLOAT16, at


def _bria_fibo2(seed: int, context: bool = False, lengths: tuple[int, ...] = (6,)) -> dict[str, Any]:
    rows = len(lengths)
    arguments: dict[str, Any] = {
        "hidden_states": noise(rows, 4, 8, 8, seed=seed),
        "timestep": at(0.5, rows),
        "encoder_hidden_states": noise(rows, 2, max(lengths), 12, seed=seed + 50),
    }
    if rows > 1:
        arguments["encoder_attention_mask"] = torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]
    return {**arguments, "context_latents": [noise(rows, 4, 6, 8, seed=seed + 60)]} if context else arguments


def _ernie(seed: int) -> dict[str, Any]:
    return {
        "hidden_states": noise(2, 4, 4, 6, seed=seed),
        "timestep": at(500, 2),
        "text_bth": noise(2, 5, 16, seed=seed + 50),
        "text_lens": torch.tensor([3, 5]),
    }


def _ideogram(seed: int) -> dict[str, Any]:
    from diffusers.models.transformers.transformer_ideogram4 import LLM_TOKEN_INDICATOR, OUTPUT_IMAGE_INDICATOR

    place = torch.arange(21)[None, :, None].expand(1, -1, 3)
    return {
        "hidden_states": noise(1, 21, 4, seed=seed),
        "timestep": at(0.5),
        "encoder_hidden_states": noise(1, 21, 12, seed=seed + 50),
        "position_ids": place,
        "segment_ids": torch.ones(1, 21, dtype=torch.long),
        "indicator": torch.tensor([[LLM_TOKEN_INDICATOR] * 5 + [OUTPUT_IMAGE_INDICATOR] * 16]),
    }


def _joyimage(seed: int) -> dict[str, Any]:
    return {"hidden_states": noise(1, 4, 2, 8, 8, seed=seed), "timestep": at(500), "encoder_hidden_states": noise(1, 7, 16, seed=seed + 50)}


def _joyimage_plus(seed: int) -> dict[str, Any]:
    return {
        "hidden_states": noise(1, 22, 4, 1, 2, 2, seed=seed),  # The picture's 16 patches, and 6 of a reference.
        "timestep": at(500),
        "encoder_hidden_states": noise(1, 7, 16, seed=seed + 50),
        "encoder_hidden_states_mask": torch.ones(1, 7),
        "shape_list": [[(1, 4, 4), (1, 2, 3)]],
    }


def _kandinsky5(seed: int, frames: int = 1, side: int = 4) -> dict[str, Any]:
    return {
        "hidden_states": noise(1, frames, 2 * side, 2 * side, 4, seed=seed),
        "encoder_hidden_states": noise(1, 5, 12, seed=seed + 50),
        "timestep": at(500),
        "pooled_projections": noise(1, 10, seed=seed + 60),
        "visual_rope_pos": [torch.arange(frames), torch.arange(side), torch.arange(side)],
        "text_rope_pos": torch.arange(5),
    }


def _kandinsky5_sparse(seed: int) -> dict[str, Any]:
    blocks = torch.ones(1, 1, 4, 4, dtype=torch.bool)
    return {**_kandinsky5(seed, side=16), "sparse_params": {"to_fractal": True, "sta_mask": blocks, "P": 0.9}}


def _kandinsky6(seed: int, sound: bool = True) -> dict[str, Any]:
    arguments = {
        "hidden_states": noise(1, 2, 4, 4, 4, seed=seed),
        "encoder_hidden_states": noise(1, 5, 12, seed=seed + 50),
        "timestep": at(500),
        "pooled_projections": noise(1, 10, seed=seed + 60),
    }
    return {**arguments, "audio_hidden_states": noise(1, 7, 6, seed=seed + 70)} if sound else arguments


def _krea2(seed: int) -> dict[str, Any]:
    return {
        "hidden_states": noise(1, 16, 4, seed=seed),
        "encoder_hidden_states": noise(1, 5, 2, 16, seed=seed + 50),
        "timestep": at(0.5),
        "position_ids": torch.arange(21)[:, None].expand(-1, 3),
    }


def _nucleus(seed: int) -> dict[str, Any]:
    return {
        "hidden_states": noise(1, 16, 16, seed=seed),
        "img_shapes": [(1, 4, 4)],
        "encoder_hidden_states": noise(1, 7, 16, seed=seed + 50),
        "timestep": at(0.5),
    }


def _omnigen(seed: int) -> dict[str, Any]:
    return {
        "hidden_states": noise(1, 4, 8, 8, seed=seed),
        "timestep": at(0.5),
        "input_ids": torch.arange(7)[None] + seed,
        "input_img_latents": [noise(1, 4, 4, 4, seed=seed + 50)],
        "input_image_sizes": {0: [[2, 6]]},
        "attention_mask": torch.ones(1, 24, 24),
        "position_ids": torch.arange(24)[None],
    }


def _prx(seed: int) -> dict[str, Any]:
    return {
        "hidden_states": noise(1, 4, 8, 8, seed=seed),
        "timestep": at(0.5),
        "encoder_hidden_states": noise(1, 7, 16, seed=seed + 50),
        "attention_mask": torch.ones(1, 7, dtype=torch.bool),
    }


def _sana_wm(seed: int) -> dict[str, Any]:
    return {
        "hidden_states": noise(1, 4, 3, 4, 4, seed=seed),
        "timestep": torch.full((1, 1, 3), 500.0),
        "encoder_hidden_states": noise(1, 1, 7, 16, seed=seed + 50),
        "encoder_attention_mask": torch.ones(1, 7),
        "chunk_plucker": noise(1, 6, 3, 4, 4, seed=seed + 60),
        "camera_conditions": torch.cat([torch.eye(4).flatten(), torch.tensor([4.0, 4.0, 2.0, 2.0])]).expand(1, 3, 20),
    }


def _prior(seed: int) -> dict[str, Any]:
    return {
        "hidden_states": noise(1, 8, seed=seed),
        "timestep": torch.tensor([500 - 100 * seed]),
        "proj_embedding": noise(1, 8, seed=seed + 50),
        "encoder_hidden_states": noise(1, 7, 8, seed=seed + 60),
    }


def bria_fibo2() -> Any:
    return built(
        "BriaFibo2Transformer2DModel", in_channels=4, dim=32, n_layers=3, n_refiner_layers=1, n_heads=2, cap_feat_dim=12,
        injection_layer_ids=(1,), perceiver_num_layers=1, min_num_gist_tokens=4, max_num_gist_tokens=8, gist_step=4,
        gist_min_text_len=4, gist_max_text_len=16, axes_dims=(4, 6, 6), axes_lens=(64, 32, 32),
    )  # fmt: skip


def joyimage(name: str) -> Any:
    return built(
        name, in_channels=4, out_channels=4, hidden_size=32, num_attention_heads=2, text_dim=16, num_layers=2, rope_dim_list=[4, 6, 6]
    )


def kandinsky5(sparse: bool = False) -> Any:
    model = built(
        "Kandinsky5Transformer3DModel", in_visual_dim=4, in_text_dim=12, in_text_dim2=10, time_dim=16, out_visual_dim=4, model_dim=32,
        ff_dim=32, num_text_blocks=1, num_visual_blocks=2, axes_dims=(4, 6, 6),
    )  # fmt: skip
    for module in model.modules() if sparse else ():
        if hasattr(module, "processor"):  # `set_attention_backend` would set it for every other model as well.
            module.processor._attention_backend = AttentionBackendName.FLEX
    return model


def kandinsky6() -> Any:
    return built(
        "Kandinsky6Transformer3DModel", in_visual_dim=4, out_visual_dim=4, in_text_dim=12, in_text_dim2=10, time_dim=16, model_dim=16,
        ff_dim=32, num_text_blocks=1, num_visual_blocks=2, axes_dims=(4, 6, 6), visual_cond=False, in_audio_dim=6, out_audio_dim=6,
    )  # fmt: skip


def kandinsky6_sr() -> Any:
    return built(
        "Kandinsky6SRTransformer3DModel", in_visual_dim=4, out_visual_dim=4, time_dim=16, model_dim=64, ff_dim=64, num_visual_blocks=2,
        axes_dims=(16, 24, 24),
    )  # fmt: skip


def krea2() -> Any:
    return built(
        "Krea2Transformer2DModel", in_channels=4, num_layers=2, attention_head_dim=12, num_attention_heads=2, num_key_value_heads=1,
        intermediate_size=32, timestep_embed_dim=16, text_hidden_dim=16, num_text_layers=2, text_num_attention_heads=2,
        text_num_key_value_heads=2, text_intermediate_size=32, num_layerwise_text_blocks=1, num_refiner_text_blocks=1,
        axes_dims_rope=(4, 4, 4),
    )  # fmt: skip


def nucleus() -> Any:
    return built(
        "NucleusMoEImageTransformer2DModel", patch_size=2, in_channels=16, out_channels=4, num_layers=5, attention_head_dim=16,
        num_attention_heads=2, num_key_value_heads=1, joint_attention_dim=16, axes_dims_rope=(4, 6, 6), num_experts=4,
        moe_intermediate_dim=16, capacity_factors=2.0,
    )  # fmt: skip


def omnigen() -> Any:
    return built(
        "OmniGenTransformer2DModel", in_channels=4, hidden_size=32, num_attention_heads=2, num_key_value_heads=1, intermediate_size=32,
        num_layers=2, pad_token_id=0, vocab_size=100, time_step_dim=16, pos_embed_max_size=16,
        rope_scaling={"long_factor": [1.0] * 8, "short_factor": [1.0] * 8},
    )  # fmt: skip


def prx() -> Any:
    return built(
        "PRXTransformer2DModel", in_channels=4, context_in_dim=16, hidden_size=32, num_heads=2, depth=2, axes_dim=[8, 8], mlp_ratio=2.0
    )


def sana_wm() -> Any:
    return built(
        "SanaWMTransformer3DModel", in_channels=4, num_layers=4, hidden_size=32, num_attention_heads=2, linear_head_dim=16,
        chunk_plucker_channels=6, chunk_plucker_post_attn_blocks=2, caption_channels=16, mlp_ratio=2.0,
    )  # fmt: skip


def prior() -> Any:
    return built("PriorTransformer", num_attention_heads=2, attention_head_dim=8, num_layers=2, embedding_dim=8, num_embeddings=7)


MORE_PICTURES: dict[str, Case] = {
    "bria_fibo2": Case(bria_fibo2, _bria_fibo2),
    "bria_fibo2 with a context": Case(bria_fibo2, partial(_bria_fibo2, context=True)),
    "bria_fibo2 with a context, bfloat16": Case(bria_fibo2, partial(_bria_fibo2, context=True), BFLOAT16),
    "bria_fibo2, prompts of two lengths": Case(bria_fibo2, partial(_bria_fibo2, lengths=(6, 16))),
    "ernie_image, two rows": Case(
        lambda: built(
            "ErnieImageTransformer2DModel",
            hidden_size=32,
            num_attention_heads=2,
            num_layers=2,
            ffn_hidden_size=32,
            in_channels=4,
            out_channels=4,
            text_in_dim=16,
            rope_axes_dim=(4, 6, 6),
        ),
        _ernie,
    ),
    "ideogram4": Case(
        lambda: built(
            "Ideogram4Transformer2DModel",
            in_channels=4,
            num_layers=2,
            attention_head_dim=16,
            num_attention_heads=2,
            intermediate_size=32,
            adaln_dim=16,
            llm_features_dim=12,
            mrope_section=(4, 2, 2),
        ),
        _ideogram,
    ),
    "joyimage": Case(lambda: joyimage("JoyImageEditTransformer3DModel"), _joyimage),
    "joyimage plus": Case(lambda: joyimage("JoyImageEditPlusTransformer3DModel"), _joyimage_plus),
    "kandinsky5 image": Case(kandinsky5, _kandinsky5),
    "kandinsky5 video": Case(kandinsky5, partial(_kandinsky5, frames=2)),
    "kandinsky5 with sparse attention": Case(partial(kandinsky5, True), _kandinsky5_sparse),
    "kandinsky6 with sound": Case(kandinsky6, _kandinsky6, found=False),
    "kandinsky6": Case(kandinsky6, partial(_kandinsky6, sound=False)),
    "kandinsky6_sr": Case(kandinsky6_sr, lambda seed: {"hidden_states": noise(1, 2, 16, 16, 9, seed=seed), "timestep": at(500)}),
    "krea2": Case(krea2, _krea2),
    "nucleus": Case(nucleus, _nucleus),
    "omnigen": Case(omnigen, _omnigen),
    "prx": Case(prx, _prx),
    "sana_wm": Case(sana_wm, _sana_wm),
    "prior": Case(prior, _prior),
}
