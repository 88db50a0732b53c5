"""Qwen-Image, Qwen-Image-Edit and Qwen-Image 2.1."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from ...runtime.family import Family, ModelFacts, Stream
from .flux import REFERENCES, writes_cache

_TOKENS = Stream("hidden_states", tail="norm_out")  # Tokens of references follow those of the picture, and reach the tail.


def identify(facts: ModelFacts) -> str | None:
    config = facts.config
    width = config.get("num_attention_heads", 0) * config.get("attention_head_dim", 0)
    if (width, config.get("num_layers")) != (3072, 60) or config.get("use_layer3d_rope"):
        return None  # Qwen-Image-Layered makes several pictures at once.
    return "qwen_image_edit" if REFERENCES in facts.conditioning else "qwen_image"


def references(arguments: Mapping[str, Any]) -> Iterable[str]:
    """Whether the tokens are of more than one picture: `img_shapes` has a list of shapes for each row."""
    rows = cast("list[Any]", arguments.get("img_shapes") or [[]])
    if isinstance(rows[0], list) and len(cast("list[Any]", rows[0])) > 1:
        yield REFERENCES


QWEN_IMAGE = Family(
    name="qwen_image",
    classes=("QwenImageTransformer2DModel",),
    blocks=("transformer_blocks",),
    streams=(_TOKENS,),
    identify=identify,
    inputs=references,
    anchors=(
        "txt_norm.weight", "transformer_blocks.0.attn.norm_q.weight", "transformer_blocks.0.attn.norm_k.weight",
        "transformer_blocks.0.attn.norm_added_q.weight",
    ),
    models=("Qwen-Image", "Qwen-Image-2512", "Qwen-Image-Edit", "Qwen-Image-Edit 2509", "Qwen-Image-Edit 2511", "Qwen-Image-Layered"),
)  # fmt: skip

QWEN_IMAGE21 = Family(
    name="qwen_image2.1",
    classes=("QwenImage21Transformer2DModel",),
    blocks=("transformer_blocks",),
    streams=(_TOKENS,),
    refuses=writes_cache,
    models=("Qwen-Image 2.1",),
)
