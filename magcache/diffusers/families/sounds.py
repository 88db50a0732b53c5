"""Models of music, speech and other sound."""

from __future__ import annotations

from ...runtime.family import Family, Stream

ACE_STEP15 = Family(
    name="ace_step15",
    classes=("AceStepTransformer1DModel",),
    blocks=("layers",),
    streams=(Stream("hidden_states", tail=None),),  # The forward reads an attribute of the first block: one must be there.
    guided_rows=("cond", "uncond"),
    anchors=("condition_embedder.bias", "layers.0.self_attn_norm.weight", "norm_out.weight", "proj_out_conv.bias"),
    models=("ACE-Step 1.5", "ACE-Step 1.5 Turbo", "ACE-Step 1.5 XL"),
)

LONGCAT_AUDIO = Family(
    name="longcat_audio",
    classes=("LongCatAudioDiTTransformer",),
    blocks=("blocks",),
    streams=(Stream("hidden_states", tail=None),),  # Between the last block and the next module the first tokens are added once more.
    models=("LongCat-AudioDiT",),
)

MINIMAX_MUSIC3 = Family(
    name="minimax_music3",
    classes=("MiniMaxMusic3Transformer1DModel",),
    blocks=("transformer_blocks",),
    streams=(Stream("hidden_states", tail="proj_out"),),  # The time step is a token in front, which is dropped before the tail.
    models=("MiniMax Music 3",),
)

STABLE_AUDIO = Family(
    name="stable_audio",
    classes=("StableAudioDiTModel",),
    blocks=("transformer_blocks",),
    streams=(Stream("hidden_states", tail="proj_out"),),
    guided_rows=("uncond", "cond"),
    anchors=("timestep_proj.0.bias", "timestep_proj.2.bias", "transformer_blocks.0.norm1.weight", "transformer_blocks.0.norm3.weight"),
    models=("Stable Audio Open 1.0",),
)

STABLE_AUDIO3 = Family(
    name="stable_audio",
    classes=("StableAudio3DiTModel",),
    blocks=("transformer_blocks",),
    streams=(Stream("x", tail="proj_out"),),  # Memory tokens in front of the others are dropped before it.
    guided_rows=("uncond", "cond"),
    anchors=(
        "to_timestep_embed.0.bias", "to_timestep_embed.2.bias", "transformer_blocks.0.pre_norm.gamma", "transformer_blocks.0.ff_norm.gamma",
    ),
    models=("Stable Audio 3",),
)  # fmt: skip

SOUNDS: tuple[Family, ...] = (ACE_STEP15, LONGCAT_AUDIO, MINIMAX_MUSIC3, STABLE_AUDIO, STABLE_AUDIO3)
