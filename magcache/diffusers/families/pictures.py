"""Transformers of pictures that need a second look, and both Kandinskys with their videos."""

from __future__ import annotations

from ...runtime.family import Family, Stream
from .images import BLOCKS, LAYERS, NEGATIVE_FIRST, POSITIVE_FIRST

DIT = Family(
    name="dit",
    classes=("DiTTransformer2DModel",),
    blocks=BLOCKS,
    streams=(Stream("hidden_states", tail=None),),  # The forward reads an attribute of the first block: one must be there.
    guided_rows=POSITIVE_FIRST,
    models=("DiT-XL/2",),
)
HIDREAM = Family(
    name="hidream",
    classes=("HiDreamImageTransformer2DModel",),
    blocks=("double_stream_blocks", "single_stream_blocks"),
    # Unless the picture is square the forward uses what a block of the first list was given. Text follows the picture in the last block.
    streams=(Stream("hidden_states", tail=None, align="start"),),
    guided_rows=NEGATIVE_FIRST,
    anchors=(
        "double_stream_blocks.0.block.attn1.q_rms_norm.weight", "double_stream_blocks.0.block.attn1.k_rms_norm.weight",
        "double_stream_blocks.0.block.attn1.q_rms_norm_t.weight", "single_stream_blocks.0.block.attn1.q_rms_norm.weight",
    ),
    models=("HiDream-I1", "HiDream-E1"),
)  # fmt: skip
BRIA_FIBO2 = Family(
    name="bria_fibo2",
    classes=("BriaFibo2Transformer2DModel",),
    blocks=LAYERS,
    streams=(Stream("hidden_states", tail=None),),  # The picture is in the middle of the sequence if there are others beside it.
    models=("Bria FIBO 2",),
)
ERNIE_IMAGE = Family(
    name="ernie_image",
    classes=("ErnieImageTransformer2DModel",),
    blocks=LAYERS,
    streams=(Stream("x", tail="final_norm", batch=1),),
    guided_rows=NEGATIVE_FIRST,
    anchors=(
        "layers.0.self_attention.norm_q.weight", "layers.0.self_attention.norm_k.weight", "layers.0.adaLN_sa_ln.weight",
        "layers.0.adaLN_mlp_ln.weight",
    ),
    models=("ERNIE-Image",),
)  # fmt: skip
IDEOGRAM4 = Family(
    name="ideogram4",
    classes=("Ideogram4Transformer2DModel",),
    blocks=LAYERS,
    streams=(Stream("x", tail="final_layer"),),
    anchors=(
        "layers.0.attention.norm_q.weight", "layers.0.attention.norm_k.weight", "layers.0.attention_norm1.weight", "llm_cond_norm.weight",
    ),
    models=("Ideogram 4",),
)  # fmt: skip
_JOYIMAGE_ANCHORS = (
    "double_blocks.0.attn.img_attn_q_norm.weight",
    "double_blocks.0.attn.img_attn_k_norm.weight",
    "double_blocks.0.attn.txt_attn_q_norm.weight",
    "double_blocks.0.attn.txt_attn_k_norm.weight",
)
JOYIMAGE = Family(
    name="joyimage",
    classes=("JoyImageEditTransformer3DModel",),
    blocks=("double_blocks",),
    streams=(Stream("hidden_states", tail="norm_out"),),
    anchors=_JOYIMAGE_ANCHORS,
    models=("JoyImage-Edit",),
)
JOYIMAGE_PLUS = Family(
    name="joyimage",
    classes=("JoyImageEditPlusTransformer3DModel",),
    blocks=JOYIMAGE.blocks,
    streams=JOYIMAGE.streams,
    guided_rows=NEGATIVE_FIRST,
    anchors=_JOYIMAGE_ANCHORS,
    models=("JoyImage-Edit-Plus",),
)
KREA2 = Family(
    name="krea2",
    classes=("Krea2Transformer2DModel",),
    blocks=BLOCKS,
    streams=(Stream("hidden_states", tail="final_layer"),),  # Text stands in front, and is dropped before it.
    anchors=(
        "transformer_blocks.0.attn.norm_q.weight", "transformer_blocks.0.attn.norm_k.weight", "transformer_blocks.0.norm1.weight",
        "final_layer.norm.weight",
    ),
    models=("Krea 2",),
)  # fmt: skip
OMNIGEN = Family(
    name="omnigen",
    classes=("OmniGenTransformer2DModel",),
    blocks=LAYERS,
    streams=(Stream("hidden_states", tail="norm"),),
    guided_rows=POSITIVE_FIRST,
    models=("OmniGen",),
)
_VISUAL_BLOCKS = ("visual_transformer_blocks",)
KANDINSKY5 = Family(
    name="kandinsky5",
    classes=("Kandinsky5Transformer3DModel",),
    blocks=_VISUAL_BLOCKS,
    streams=(Stream("visual_embed", tail=None),),  # With sparse attention the tokens change places before the next module.
    anchors=(
        "text_embeddings.norm.weight", "visual_transformer_blocks.0.self_attention.query_norm.weight",
        "visual_transformer_blocks.0.self_attention.key_norm.weight", "visual_transformer_blocks.0.cross_attention.query_norm.weight",
    ),
    models=("Kandinsky 5.0 Video", "Kandinsky 5.0 Image"),
)  # fmt: skip
KANDINSKY6 = Family(
    name="kandinsky6",
    classes=("Kandinsky6Transformer3DModel",),
    blocks=_VISUAL_BLOCKS,
    streams=(
        Stream("visual_embed", tail="out_layer", name="video"),
        Stream("audio_embed", tail="audio_out_layer", position=1, name="sound"),
    ),
    models=("Kandinsky 6 Video", "Kandinsky 6 Image"),
)
KANDINSKY6_SR = Family(
    name="kandinsky6_sr",
    classes=("Kandinsky6SRTransformer3DModel",),
    blocks=_VISUAL_BLOCKS,
    streams=(Stream("visual_embed", tail=None),),  # The tokens change places before the next module.
    models=("Kandinsky 6 SR",),
)

PICTURES: tuple[Family, ...] = (
    DIT, HIDREAM, BRIA_FIBO2, ERNIE_IMAGE, IDEOGRAM4, JOYIMAGE, JOYIMAGE_PLUS, KREA2, OMNIGEN, KANDINSKY5, KANDINSKY6, KANDINSKY6_SR,
)  # fmt: skip
