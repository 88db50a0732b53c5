"""FLUX.1, FLUX.2 and what is built like them; FLUX.3."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from ...runtime.family import Family, ModelFacts, Stream

REFERENCES = "reference_latents"
"""What the arguments show if reference pictures stand beside the tokens of the picture, by the name that ComfyUI has for them."""

DOUBLE_AND_SINGLE = ("transformer_blocks", "single_transformer_blocks")
TOKENS = Stream("hidden_states", tail="norm_out")
ANCHORS = (
    "transformer_blocks.0.attn.norm_q.weight",
    "transformer_blocks.0.attn.norm_k.weight",
    "transformer_blocks.0.attn.norm_added_q.weight",
    "single_transformer_blocks.0.attn.norm_q.weight",
    "x_embedder.bias",
    "proj_out.bias",
)


def identify(facts: ModelFacts) -> str | None:
    if not is_of_flux_size(facts.config) or not facts.config.get("guidance_embeds"):
        return None
    return "flux_kontext" if REFERENCES in facts.conditioning else "flux"


def references(arguments: Mapping[str, Any]) -> Iterable[str]:
    """Whether the tokens are of more than one picture: the first of the numbers that place a token counts the pictures."""
    places = arguments.get("img_ids")
    if isinstance(places, torch.Tensor) and bool((places[..., 0] != places[..., :1, 0]).any()):
        yield REFERENCES


def is_of_flux_size(config: Mapping[str, Any]) -> bool:
    """Whether a model has the dimensions of FLUX.1."""
    width = config.get("num_attention_heads", 0) * config.get("attention_head_dim", 0)
    return (width, config.get("num_layers"), config.get("num_single_layers")) == (3072, 19, 38)


def writes_cache(arguments: Mapping[str, Any]) -> bool:
    """Whether the blocks keep keys and values for later steps in this forward."""
    return arguments.get("kv_cache_mode") == "extract"


FLUX = Family(
    name="flux",
    classes=("FluxTransformer2DModel", "Flux2Transformer2DModel", "LongCatImageTransformer2DModel", "OvisImageTransformer2DModel"),
    blocks=DOUBLE_AND_SINGLE,
    streams=(TOKENS,),
    identify=identify,
    refuses=writes_cache,
    inputs=references,
    anchors=ANCHORS,
    models=(
        "FLUX.1 dev", "FLUX.1 schnell", "FLUX.1 Krea", "FLUX.1 Kontext", "FLUX.1 Fill", "FLUX.1 Canny", "FLUX.1 Depth", "FLUX.2 dev",
        "FLUX.2 klein", "LongCat-Image", "Ovis-Image",
    ),
)  # fmt: skip

FLUX3 = Family(
    name="flux3",
    classes=("Flux3Transformer2DModel",),
    blocks=("mode_blocks.image", "txt_mode_blocks", "mode_blocks.image_cond", "single_transformer_blocks"),
    streams=(TOKENS,),  # The first list takes the picture alone; text and references join it on the way.
    models=("FLUX.3",),
)
