"""Models of video, some of them with sound."""

from ...runtime.family import Family, Stream
from .wan import WAN

WAN_DANCER = Family(
    name="wan_dancer",
    classes=("WanDancerModel",),
    blocks=("blocks",),
    streams=(Stream("x", tail=("head", "head_global")),),  # One for 30 frames a second, the other for keyframes.
    refuses=WAN.refuses,
    models=("WanDancer",),
)
"""Stands in front of the other Wan models, which it is derived from."""

LTX2 = Family(
    name="ltx2",
    classes=("LTXAVModel",),
    blocks=("transformer_blocks",),
    streams=(
        Stream("x", tail="norm_out", index=0, name="video"),
        Stream("x", tail="audio_norm_out", index=1, name="sound"),  # A reference for the voice may stand in front.
    ),
    anchors=("patchify_proj.bias", "adaln_single.linear.bias", "transformer_blocks.0.attn1.to_out.0.bias", "proj_out.bias"),
    models=("LTX-2", "LTX-2.3"),
)
"""Stands in front of LTXV, which it is derived from."""

LTXV = Family(
    name="ltxv",
    classes=("LTXVModel",),
    blocks=("transformer_blocks",),
    streams=(Stream("x", tail="norm_out"),),
    anchors=("patchify_proj.bias", "adaln_single.linear.bias", "transformer_blocks.0.attn1.to_out.0.bias", "proj_out.bias"),
    models=("LTX-Video 2B", "LTX-Video 13B"),
)

COSMOS = Family(
    name="cosmos",
    classes=("GeneralDIT",),
    blocks=("blocks",),
    # The tokens are (frames, height, width, rows, channels). The forward asks the first block for this layout: one must be there.
    streams=(Stream("x", tail=None, batch=3),),
    anchors=(
        "affline_norm.weight",
        "blocks.block0.blocks.0.block.attn.to_q.1.weight",
        "blocks.block0.blocks.0.block.attn.to_k.1.weight",
        "blocks.block0.blocks.1.block.attn.to_q.1.weight",
    ),
    models=("Cosmos 1 Text2World", "Cosmos 1 Video2World"),
)

MOCHI = Family(
    name="mochi",
    classes=("AsymmDiTJoint",),
    blocks=("blocks",),
    streams=(Stream("x", tail="final_layer"),),
    anchors=("x_embedder.proj.bias", "t5_yproj.bias", "blocks.0.mod_x.bias", "final_layer.linear.bias"),
    models=("Mochi 1",),
)

COGVIDEOX = Family(
    name="cogvideox",
    classes=("CogVideoXTransformer3DModel",),
    blocks=("blocks",),
    streams=(Stream("hidden_states", tail="norm_final"),),
    anchors=("patch_embed.text_proj.bias", "blocks.0.attn_out.bias", "norm_final.weight", "proj_out.bias"),
    models=("CogVideoX 2B", "CogVideoX 5B", "CogVideoX 1.5 5B"),
)

MINIMAX_H3 = Family(
    name="minimax_h3",
    classes=("MiniMaxH3Model",),
    blocks=("blocks",),
    streams=(  # Text, references, sound and video are one sequence, without a batch.
        Stream("x", tail="final_layer", segment=2, name="video"),
        Stream("x", tail="final_layer", segment=3, name="sound"),
    ),
    anchors=("video_patch_proj.bias", "condition_proj.bias", "blocks.0.norm1.weight", "final_layer.video_out.bias"),
    models=("MiniMax H3",),
)

VIDEOS: tuple[Family, ...] = (WAN_DANCER, LTX2, LTXV, COSMOS, MOCHI, COGVIDEOX, MINIMAX_H3)
