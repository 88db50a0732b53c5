"""Transformers of images, beginning with SD3. None of them has a curve of its own yet: each calibrates itself."""

from ...runtime.family import Family, Stream

SD3 = Family(
    name="sd3",
    classes=("OpenAISignatureMMDITWrapper",),
    blocks=("joint_blocks",),
    streams=(Stream("x", tail="final_layer", position=1),),
    anchors=("x_embedder.proj.bias", "t_embedder.mlp.0.bias", "context_embedder.bias", "final_layer.linear.bias"),
    models=("SD 3 Medium", "SD 3.5 Medium", "SD 3.5 Large", "SD 3.5 Large Turbo"),
)
AURAFLOW = Family(
    name="auraflow",
    classes=("MMDiT",),  # A class of SD3's has this name too, but other lists.
    blocks=("double_layers", "single_layers"),
    streams=(Stream("x", tail=None, position=1, index=1),),
    anchors=("t_embedder.mlp.0.bias", "t_embedder.mlp.2.bias", "init_x_linear.bias"),
    models=("AuraFlow", "Pony V7"),
)
PIXART = Family(
    name="pixart",
    classes=("PixArtMS",),
    blocks=("blocks",),
    streams=(Stream("x", tail="final_layer"),),
    anchors=("t_block.1.bias", "x_embedder.proj.bias", "blocks.0.attn.proj.bias", "final_layer.linear.bias"),
    models=("PixArt-α", "PixArt-Σ"),
)
HUNYUAN_DIT = Family(
    name="hunyuan_dit",
    classes=("HunYuanDiT",),
    blocks=("blocks",),
    streams=(Stream("x", tail="final_layer"),),
    models=("HunyuanDiT",),
)
CHROMA_RADIANCE = Family(
    name="chroma_radiance",
    classes=("ChromaRadiance",),
    blocks=("double_blocks", "single_blocks"),
    streams=(Stream("img", tail=None),),
    models=("Chroma1-Radiance",),
)
LUMINA2 = Family(
    name="lumina2",
    classes=("NextDiT",),
    blocks=("layers",),
    streams=(Stream("x", tail="final_layer"),),
    anchors=("cap_embedder.0.weight", "layers.0.attention.q_norm.weight", "layers.0.attention_norm1.weight", "layers.0.ffn_norm1.weight"),
    models=("Lumina Image 2.0", "NewBie", "Z-Image", "Z-Image Turbo", "Z-Image Omni"),
)
LUMINA2_PIXEL = Family(
    name="lumina2_pixel",
    classes=("NextDiTPixelSpace",),
    blocks=("layers",),
    streams=(Stream("x", tail=None),),
    models=("Z-Image in pixel space",),
)
HIDREAM = Family(
    name="hidream",
    classes=("HiDreamImageTransformer2DModel",),
    blocks=("double_stream_blocks", "single_stream_blocks"),
    streams=(Stream("image_tokens", tail="final_layer"),),
    anchors=(
        "double_stream_blocks.0.block.attn1.q_rms_norm.weight",
        "double_stream_blocks.0.block.attn1.k_rms_norm.weight",
        "double_stream_blocks.0.block.attn1.q_rms_norm_t.weight",
        "single_stream_blocks.0.block.attn1.q_rms_norm.weight",
    ),
    models=("HiDream-I1", "HiDream-E1"),
)
IMAGES: tuple[Family, ...] = (SD3, AURAFLOW, PIXART, HUNYUAN_DIT, CHROMA_RADIANCE, LUMINA2, LUMINA2_PIXEL, HIDREAM)
