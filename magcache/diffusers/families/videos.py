"""Models of video, some of them with sound."""

from __future__ import annotations

from ...runtime.family import Family, Stream
from .hunyuan_video import MORE_HUNYUANS
from .wan import MORE_WANS

_NEGATIVE_FIRST = ("uncond", "cond")
_TOKENS = Stream("hidden_states", tail="norm_out")

LTXV = Family(
    name="ltxv",
    classes=("LTXVideoTransformer3DModel",),
    blocks=("transformer_blocks",),
    streams=(_TOKENS,),
    guided_rows=_NEGATIVE_FIRST,
    anchors=("proj_in.bias", "time_embed.linear.bias", "transformer_blocks.0.attn1.to_out.0.bias", "proj_out.bias"),
    models=("LTX-Video 2B", "LTX-Video 13B"),
)

LTX2 = Family(
    name="ltx2",
    classes=("LTX2VideoTransformer3DModel",),
    blocks=("transformer_blocks",),
    streams=(
        Stream("hidden_states", tail="norm_out", name="video"),
        Stream("audio_hidden_states", tail="audio_norm_out", position=1, name="sound"),
    ),
    guided_rows=_NEGATIVE_FIRST,
    anchors=LTXV.anchors,
    models=("LTX-2", "LTX-2.3"),
)

MOCHI = Family(
    name="mochi",
    classes=("MochiTransformer3DModel",),
    blocks=("transformer_blocks",),
    streams=(_TOKENS,),
    guided_rows=_NEGATIVE_FIRST,
    anchors=("patch_embed.proj.bias", "time_embed.caption_proj.bias", "transformer_blocks.0.norm1.linear.bias", "proj_out.bias"),
    models=("Mochi 1",),
)

COGVIDEOX = Family(
    name="cogvideox",
    classes=("CogVideoXTransformer3DModel",),
    blocks=("transformer_blocks",),
    streams=(Stream("hidden_states", tail="norm_final"),),
    guided_rows=_NEGATIVE_FIRST,
    anchors=("patch_embed.text_proj.bias", "transformer_blocks.0.attn1.to_out.0.bias", "norm_final.weight", "proj_out.bias"),
    models=("CogVideoX 2B", "CogVideoX 5B", "CogVideoX 1.5 5B"),
)

CONSISID = Family(
    name="consisid",
    classes=("ConsisIDTransformer3DModel",),
    blocks=("transformer_blocks",),  # Not perceiver_cross_attention, which runs between them and only then.
    streams=(Stream("hidden_states", tail="norm_final"),),  # The tail gets the text as well, in front.
    guided_rows=_NEGATIVE_FIRST,
    models=("ConsisID",),
)

COSMOS = Family(
    name="cosmos",
    classes=("CosmosTransformer3DModel",),
    blocks=("transformer_blocks",),
    streams=(_TOKENS,),
    anchors=(
        "time_embed.norm.weight", "transformer_blocks.0.attn1.norm_q.weight", "transformer_blocks.0.attn1.norm_k.weight",
        "transformer_blocks.0.attn2.norm_q.weight",
    ),
    models=(
        "Cosmos 1 Text2World", "Cosmos 1 Video2World", "Cosmos Predict2 Text2Image", "Cosmos Predict2 Video2World", "Cosmos Predict2.5",
    ),
)  # fmt: skip

COSMOS3 = Family(
    name="cosmos3",
    classes=("Cosmos3OmniTransformer",),
    blocks=("layers",),
    streams=(Stream("gen_seq", tail="norm_moe_gen", position=1),),  # Frames, sound and actions in one sequence, without a batch.
    models=("Cosmos 3",),
)

MINIMAX_H3 = Family(
    name="minimax_h3",
    classes=("MiniMaxH3Transformer3DModel",),
    blocks=("transformer_blocks",),
    streams=(_TOKENS,),  # Text, sound and video in one sequence.
    anchors=("proj_in.bias", "context_embedder.bias", "transformer_blocks.0.norm1.weight", "proj_out.bias"),
    models=("MiniMax H3",),
)

SANA_VIDEO = Family(
    name="sana_video",
    classes=("SanaVideoTransformer3DModel",),
    blocks=("transformer_blocks",),
    streams=(_TOKENS,),
    guided_rows=_NEGATIVE_FIRST,
    models=("SANA-Video", "LongSANA"),
)

SANA_WM = Family(
    name="sana_wm",
    classes=("SanaWMTransformer3DModel",),
    blocks=("blocks",),
    streams=(Stream("x", tail="final_layer"),),
    guided_rows=_NEGATIVE_FIRST,
    models=("SANA-WM",),
)

SANA_WM_REFINER = Family(
    name="sana_wm_refiner",
    classes=("SanaWMLTX2RefinerTransformer3DModel",),
    blocks=("transformer_blocks",),
    streams=(_TOKENS,),
    refuses=lambda options: options.get("kv_cache") is not None,  # Which is as long as the list of blocks has to be.
    models=("SANA-WM Refiner",),
)

ALLEGRO = Family(
    name="allegro",
    classes=("AllegroTransformer3DModel",),
    blocks=("transformer_blocks",),
    streams=(_TOKENS,),
    guided_rows=_NEGATIVE_FIRST,
    models=("Allegro",),
)

ANYFLOW = Family(
    name="anyflow",
    classes=("AnyFlowTransformer3DModel",),
    blocks=("blocks",),
    streams=(_TOKENS,),
    guided_rows=_NEGATIVE_FIRST,
    models=("AnyFlow",),
)

ANYFLOW_FAR = Family(
    name="anyflow_far",
    classes=("AnyFlowFARTransformer3DModel",),
    blocks=("blocks",),
    streams=(_TOKENS,),
    guided_rows=_NEGATIVE_FIRST,
    refuses=lambda options: bool((options.get("kv_cache_flag") or {}).get("is_cache_step")),  # The blocks write what later chunks read.
    models=("AnyFlow FAR",),
)

EASYANIMATE = Family(
    name="easyanimate",
    classes=("EasyAnimateTransformer3DModel",),
    blocks=("transformer_blocks",),
    streams=(Stream("hidden_states", tail="norm_final"),),
    guided_rows=_NEGATIVE_FIRST,
    models=("EasyAnimate 5.1",),
)

HELIOS = Family(
    name="helios",
    classes=("HeliosTransformer3DModel",),
    blocks=("blocks",),
    streams=(_TOKENS,),
    models=("Helios",),
)

LATTE = Family(
    name="latte",
    classes=("LatteTransformer3DModel",),
    blocks=("transformer_blocks", "temporal_transformer_blocks"),  # They take turns.
    streams=(_TOKENS,),
    guided_rows=_NEGATIVE_FIRST,
    models=("Latte 1",),
)

MOTIF_VIDEO = Family(
    name="motif_video",
    classes=("MotifVideoTransformer3DModel",),
    blocks=("transformer_blocks", "single_transformer_blocks"),
    streams=(_TOKENS,),
    models=("Motif Video",),
)

VIDEOS: tuple[Family, ...] = (
    *MORE_WANS, *MORE_HUNYUANS, LTXV, LTX2, MOCHI, COGVIDEOX, CONSISID, COSMOS, COSMOS3, MINIMAX_H3, SANA_VIDEO, SANA_WM,
    SANA_WM_REFINER, ALLEGRO, ANYFLOW, ANYFLOW_FAR, EASYANIMATE, HELIOS, LATTE, MOTIF_VIDEO,
)  # fmt: skip
