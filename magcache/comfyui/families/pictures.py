"""Models of pictures with a class of their own, and the videos that two of these classes make as well."""

from ...runtime.family import Family, Stream

BOOGU = Family(
    name="boogu",
    classes=("BooguTransformer2DModel",),
    blocks=("double_stream_layers", "single_stream_layers"),
    streams=(Stream("img_hidden_states", tail="norm_out"),),  # The text joins in front of the picture on the way, and is dropped after it.
    models=("Boogu-Image",),
)

KREA2 = Family(
    name="krea2",
    classes=("SingleStreamDiT",),
    blocks=("blocks",),
    streams=(Stream("x", tail="last"),),
    anchors=("blocks.0.attn.qknorm.qnorm.scale", "blocks.0.attn.qknorm.knorm.scale", "blocks.0.prenorm.scale", "last.norm.scale"),
    models=("Krea 2",),
)

ERNIE_IMAGE = Family(
    name="ernie_image",
    classes=("ErnieImageModel",),
    blocks=("layers",),
    streams=(Stream("x", tail="final_norm"),),
    anchors=(
        "layers.0.self_attention.norm_q.weight",
        "layers.0.self_attention.norm_k.weight",
        "layers.0.adaLN_sa_ln.weight",
        "layers.0.adaLN_mlp_ln.weight",
    ),
    models=("ERNIE-Image",),
)

IDEOGRAM4 = Family(
    name="ideogram4",
    classes=("Ideogram4Transformer2DModel",),
    blocks=("layers",),
    streams=(Stream("x", tail="final_layer"),),
    anchors=(
        "layers.0.attention.norm_q.weight",
        "layers.0.attention.norm_k.weight",
        "layers.0.attention_norm1.weight",
        "llm_cond_norm.weight",
    ),
    models=("Ideogram 4",),
)

LENS = Family(
    name="lens",
    classes=("LensTransformer2DModel",),
    blocks=("transformer_blocks",),
    streams=(Stream("hidden_states", tail="norm_out"),),
    models=("Lens",),
)

MAGE_FLOW = Family(
    name="mage_flow",
    classes=("MageFlowTransformer2DModel",),
    blocks=("transformer_blocks",),
    streams=(Stream("hidden_states", tail="norm_out"),),
    models=("Mage-Flow",),
)

JOYIMAGE = Family(
    name="joyimage",
    classes=("JoyImageTransformer3DModel",),
    blocks=("double_blocks",),
    streams=(Stream("hidden_states", tail="norm_out", align="start"),),  # Reference pictures follow the picture and are dropped.
    anchors=(
        "double_blocks.0.attn.img_attn_q_norm.weight",
        "double_blocks.0.attn.img_attn_k_norm.weight",
        "double_blocks.0.attn.txt_attn_q_norm.weight",
        "double_blocks.0.attn.txt_attn_k_norm.weight",
    ),
    models=("JoyImage-Edit",),
)

PIXELDIT = Family(
    name="pixeldit",
    classes=("PixDiT_T2I", "PidNet"),
    blocks=("patch_blocks",),  # The few blocks of pixels after them take what these make as their condition.
    streams=(Stream("x", tail=None),),
    models=("PixelDiT", "PiD"),
)

COSMOS_PREDICT2 = Family(
    name="cosmos_predict2",
    classes=("MiniTrainDIT", "Anima"),
    blocks=("blocks",),
    streams=(Stream("x_B_T_H_W_D", tail="final_layer"),),
    models=("Cosmos Predict2", "Anima"),
)

KANDINSKY5 = Family(
    name="kandinsky5",
    classes=("Kandinsky5",),
    blocks=("visual_transformer_blocks",),
    streams=(Stream("visual_embed", tail="out_layer"),),
    anchors=(
        "text_embeddings.norm.weight",
        "visual_transformer_blocks.0.self_attention.query_norm.weight",
        "visual_transformer_blocks.0.self_attention.key_norm.weight",
        "visual_transformer_blocks.0.cross_attention.query_norm.weight",
    ),
    models=("Kandinsky 5.0 Video", "Kandinsky 5.0 Image"),
)

PICTURES: tuple[Family, ...] = (
    BOOGU,
    KREA2,
    ERNIE_IMAGE,
    IDEOGRAM4,
    LENS,
    MAGE_FLOW,
    JOYIMAGE,
    PIXELDIT,
    COSMOS_PREDICT2,
    KANDINSKY5,
)
