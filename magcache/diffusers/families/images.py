"""Transformers of pictures with one or two lists of blocks and a module that gets the tokens after them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...runtime.family import Family, Stream
from .flux import DOUBLE_AND_SINGLE, TOKENS

NEGATIVE_FIRST, POSITIVE_FIRST = ("uncond", "cond"), ("cond", "uncond")
BLOCKS, LAYERS = ("transformer_blocks",), ("layers",)


def _writes_cache(arguments: Mapping[str, Any]) -> bool:
    """Whether the blocks of GLM-Image keep keys and values of a given picture in this forward."""
    return any(cache.mode == "write" for cache in getattr(arguments.get("kv_caches"), "caches", ()))


SD3 = Family(
    name="sd3",
    classes=("SD3Transformer2DModel",),
    blocks=BLOCKS,
    streams=(TOKENS,),
    guided_rows=NEGATIVE_FIRST,
    anchors=("pos_embed.proj.bias", "time_text_embed.timestep_embedder.linear_1.bias", "context_embedder.bias", "proj_out.bias"),
    models=("SD 3 Medium", "SD 3.5 Medium", "SD 3.5 Large", "SD 3.5 Large Turbo"),
)
AURAFLOW = Family(
    name="auraflow",
    classes=("AuraFlowTransformer2DModel",),
    blocks=("joint_transformer_blocks", "single_transformer_blocks"),
    streams=(TOKENS,),
    guided_rows=NEGATIVE_FIRST,
    anchors=("time_step_proj.linear_1.bias", "time_step_proj.linear_2.bias", "pos_embed.proj.bias"),
    models=("AuraFlow", "Pony V7"),
)
PIXART = Family(
    name="pixart",
    classes=("PixArtTransformer2DModel",),
    blocks=BLOCKS,
    streams=(TOKENS,),
    guided_rows=NEGATIVE_FIRST,
    anchors=("adaln_single.linear.bias", "pos_embed.proj.bias", "transformer_blocks.0.attn1.to_out.0.bias", "proj_out.bias"),
    models=("PixArt-α", "PixArt-Σ"),
)
HUNYUAN_DIT = Family(
    name="hunyuan_dit",
    classes=("HunyuanDiT2DModel",),
    blocks=("blocks",),  # With a ControlNet it cannot run without them: it counts the samples that they have taken.
    streams=(TOKENS,),
    guided_rows=NEGATIVE_FIRST,
    models=("HunyuanDiT",),
)
HUNYUAN_IMAGE = Family(
    name="hunyuan_video",  # ComfyUI runs it in the class of HunyuanVideo.
    classes=("HunyuanImageTransformer2DModel",),
    blocks=DOUBLE_AND_SINGLE,
    streams=(TOKENS,),
    models=("HunyuanImage 2.1", "HunyuanImage 2.1 Refiner"),
)
LUMINA2 = Family(
    name="lumina2",
    classes=("Lumina2Transformer2DModel",),
    blocks=LAYERS,
    streams=(TOKENS,),
    anchors=(
        "time_caption_embed.caption_embedder.0.weight", "layers.0.attn.norm_q.weight", "layers.0.norm1.norm.weight",
        "layers.0.ffn_norm1.weight",
    ),
    models=("Lumina Image 2.0",),
)  # fmt: skip
Z_IMAGE = Family(
    name="lumina2",  # ComfyUI runs it in the class of Lumina 2.
    classes=("ZImageTransformer2DModel",),
    blocks=LAYERS,
    streams=(Stream("x", tail="all_final_layer"),),  # A table: one for each size of patches.
    guided_rows=POSITIVE_FIRST,
    anchors=(
        "cap_embedder.0.weight", "layers.0.attention.norm_q.weight", "layers.0.attention_norm1.weight", "layers.0.ffn_norm1.weight",
    ),
    models=("Z-Image", "Z-Image Turbo", "Z-Image Omni"),
)  # fmt: skip
LUMINA_NEXT = Family(
    name="lumina_next",
    classes=("LuminaNextDiT2DModel",),
    blocks=LAYERS,
    streams=(TOKENS,),
    guided_rows=POSITIVE_FIRST,
    models=("Lumina-Next",),
)
SANA = Family(
    name="sana",
    classes=("SanaTransformer2DModel",),
    blocks=BLOCKS,
    streams=(TOKENS,),
    guided_rows=NEGATIVE_FIRST,
    models=("SANA", "SANA 1.5", "SANA-Sprint"),
)
BRIA = Family(
    name="bria",
    classes=("BriaTransformer2DModel",),
    blocks=DOUBLE_AND_SINGLE,
    streams=(TOKENS,),
    guided_rows=NEGATIVE_FIRST,
    models=("Bria 3.2",),
)
BRIA_FIBO = Family(
    name="bria_fibo",
    classes=("BriaFiboTransformer2DModel",),
    blocks=DOUBLE_AND_SINGLE,
    streams=(TOKENS,),
    guided_rows=NEGATIVE_FIRST,
    models=("Bria FIBO", "Bria FIBO Edit"),
)
COGVIEW3PLUS = Family(
    name="cogview3plus",
    classes=("CogView3PlusTransformer2DModel",),
    blocks=BLOCKS,
    streams=(TOKENS,),
    guided_rows=NEGATIVE_FIRST,
    models=("CogView3-Plus",),
)
COGVIEW4 = Family(
    name="cogview4",
    classes=("CogView4Transformer2DModel",),
    blocks=BLOCKS,
    streams=(TOKENS,),
    models=("CogView4",),
)
GLM_IMAGE = Family(
    name="glm_image",
    classes=("GlmImageTransformer2DModel",),
    blocks=BLOCKS,
    streams=(TOKENS,),
    refuses=_writes_cache,
    models=("GLM-Image",),
)
NUCLEUS = Family(
    name="nucleus",
    classes=("NucleusMoEImageTransformer2DModel",),
    blocks=BLOCKS,
    streams=(TOKENS,),
    models=("Nucleus-Image",),
)
PRX = Family(
    name="prx",
    classes=("PRXTransformer2DModel",),
    blocks=("blocks",),
    streams=(Stream("hidden_states", tail="final_layer"),),
    guided_rows=NEGATIVE_FIRST,
    models=("PRX", "PRX Pixel"),
)
PRIOR = Family(
    name="prior",
    classes=("PriorTransformer",),
    blocks=BLOCKS,
    streams=(TOKENS,),
    guided_rows=NEGATIVE_FIRST,
    models=("Kandinsky 2.2 Prior", "Shap-E"),
)

IMAGES: tuple[Family, ...] = (
    SD3, AURAFLOW, PIXART, HUNYUAN_DIT, HUNYUAN_IMAGE, LUMINA2, Z_IMAGE, LUMINA_NEXT, SANA, BRIA, BRIA_FIBO, COGVIEW3PLUS, COGVIEW4,
    GLM_IMAGE, NUCLEUS, PRX, PRIOR,
)  # fmt: skip
