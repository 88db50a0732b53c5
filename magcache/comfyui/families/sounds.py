"""Sound and 3D shapes: ACE-Step, Stable Audio, Hunyuan3D, TripoSplat."""

from ...runtime.family import Family, Stream

ACE_STEP = Family(
    name="ace_step",
    classes=("ACEStepTransformer2DModel",),
    blocks=("transformer_blocks",),
    streams=(Stream("hidden_states", tail="final_layer"),),
    models=("ACE-Step 1.0",),
)

ACE_STEP15 = Family(
    name="ace_step15",
    classes=("AceStepConditionGenerationModel",),
    blocks=("decoder.layers",),
    streams=(Stream("hidden_states", tail="decoder.norm_out"),),
    anchors=(
        "decoder.condition_embedder.bias",
        "decoder.layers.0.self_attn_norm.weight",
        "decoder.norm_out.weight",
        "decoder.proj_out.1.bias",
    ),
    models=("ACE-Step 1.5", "ACE-Step 1.5 Turbo", "ACE-Step 1.5 XL"),
)

STABLE_AUDIO = Family(
    name="stable_audio",
    classes=("AudioDiffusionTransformer",),
    blocks=("transformer.layers",),
    streams=(Stream("x", tail="transformer.project_out"),),  # Memory tokens in front of the others are dropped before it.
    anchors=(
        "to_timestep_embed.0.bias",
        "to_timestep_embed.2.bias",
        "transformer.layers.0.pre_norm.gamma",
        "transformer.layers.0.ff_norm.gamma",
    ),
    models=("Stable Audio Open 1.0", "Stable Audio Open Small", "Stable Audio 2.5", "Stable Audio 3"),
)

HUNYUAN3D = Family(
    name="hunyuan3d",
    classes=("Hunyuan3Dv2",),
    blocks=("double_blocks", "single_blocks"),
    streams=(Stream("img", tail="final_layer"),),
    models=("Hunyuan3D 2.0", "Hunyuan3D 2.0 Turbo", "Hunyuan3D 2 mini", "Hunyuan3D 2mv"),
)

HUNYUAN3D21 = Family(
    name="hunyuan3d21",
    classes=("HunYuanDiTPlain",),
    blocks=("blocks",),
    streams=(Stream("hidden_states", tail="final_layer"),),
    models=("Hunyuan3D 2.1",),
)

TRIPOSPLAT = Family(
    name="triposplat",
    classes=("LatentSeqMMFlowModel",),
    blocks=("blocks",),  # Not repo_layers, which the forward looks up by the place of a block.
    streams=(Stream("x", tail=None),),
    models=("TripoSplat",),
)

SOUNDS: tuple[Family, ...] = (ACE_STEP, ACE_STEP15, STABLE_AUDIO, HUNYUAN3D, HUNYUAN3D21, TRIPOSPLAT)
