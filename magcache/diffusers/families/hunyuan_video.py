"""HunyuanVideo 1.0 and 1.5, SkyReels V1 and FramePack."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from ...runtime.family import Family, ModelFacts, Stream

HISTORY_FIRST = "history_first"
"""What the arguments show if a section follows all frames it is given, as FramePack F1 makes a video: from its begin to its end."""

_AREA_544P = (960 // 8) * (544 // 8)
_ANCHORS = ("x_embedder.proj.bias", "context_embedder.proj_in.bias", "transformer_blocks.0.attn.to_out.0.bias", "proj_out.bias")
_TOKENS = Stream("hidden_states", tail="norm_out")


def identify(facts: ModelFacts) -> str | None:
    if not _is_13b(facts.config):
        return None
    return "hunyuan_video_544p" if 0 < facts.area <= 1.2 * _AREA_544P else "hunyuan_video"


def identify_framepack(facts: ModelFacts) -> str | None:
    if not _is_13b(facts.config):
        return None
    return "framepack_f1" if HISTORY_FIRST in facts.conditioning else "framepack"


def identify_15(facts: ModelFacts) -> str | None:
    return "hunyuan_video1.5" if _width(facts.config) == 2048 and facts.config.get("num_layers") == 54 else None


def history_first(arguments: Mapping[str, Any]) -> Iterable[str]:
    """Whether the frames of the section stand behind those of the video that are given."""
    own, given = arguments.get("indices_latents"), arguments.get("indices_latents_clean")
    if isinstance(own, torch.Tensor) and isinstance(given, torch.Tensor) and bool(own.min() > given.max()):
        yield HISTORY_FIRST


def _width(config: Mapping[str, Any]) -> int:
    return config.get("num_attention_heads", 0) * config.get("attention_head_dim", 0)


def _is_13b(config: Mapping[str, Any]) -> bool:
    depths, patches = ("num_layers", "num_single_layers"), ("patch_size_t", "patch_size")
    return _width(config) == 3072 and [config.get(name) for name in (*depths, *patches)] == [20, 40, 1, 2]


HUNYUAN_VIDEO = Family(
    name="hunyuan_video",
    classes=("HunyuanVideoTransformer3DModel",),
    blocks=("transformer_blocks", "single_transformer_blocks"),
    streams=(_TOKENS,),
    identify=identify,
    anchors=_ANCHORS,
    models=("HunyuanVideo", "HunyuanVideo I2V", "SkyReels V1"),
)

FRAMEPACK = Family(
    name="hunyuan_video",
    classes=("HunyuanVideoFramepackTransformer3DModel",),
    blocks=("transformer_blocks", "single_transformer_blocks"),
    streams=(_TOKENS,),  # Frames that are given stand in front of the section's own, and are dropped before the tail.
    identify=identify_framepack,
    inputs=history_first,
    anchors=_ANCHORS,
    models=("FramePack", "FramePack F1"),
)

HUNYUAN_VIDEO15 = Family(
    name="hunyuan_video",
    classes=("HunyuanVideo15Transformer3DModel",),
    blocks=("transformer_blocks",),
    streams=(_TOKENS,),
    identify=identify_15,
    anchors=_ANCHORS,
    models=("HunyuanVideo 1.5",),
)

MORE_HUNYUANS: tuple[Family, ...] = (FRAMEPACK, HUNYUAN_VIDEO15)
