"""Wan 2.1 and 2.2, and what is built like them: text, image and reference to video, animation, SkyReels V2, ChronoEdit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from ...runtime.family import Family, ModelFacts, Stream

GIVEN_FRAME = "given_frame"
"""What the arguments show if the first frame is given in the place of noise, as Wan 2.2 TI2V 5B takes it."""

_SIZES = {(1536, 30): "1.3B", (3072, 30): "5B", (5120, 40): "14B"}
"""Width and number of blocks."""
SECOND_EXPERT = "transformer_2"
"""A pipeline of Wan 2.2 14B has a second transformer, the expert for little noise. Each of them is built like Wan 2.1."""
_AREA_480P = (832 // 8) * (480 // 8)

_ANCHORS = (
    "patch_embedding.bias", "blocks.0.attn1.norm_q.weight", "blocks.0.ffn.net.0.proj.bias", "proj_out.bias",
    "vace_patch_embedding.bias",  # VACE leaves the weights of the model below it as they are.
)  # fmt: skip
_TOKENS = Stream("hidden_states", tail="norm_out")  # In float32, also where the blocks compute in bfloat16.


def identify(facts: ModelFacts) -> str | None:
    size, inputs = _size(facts.config), facts.config.get("in_channels")
    if size == "5B" and inputs == 48:
        return "wan2.2_ti2v_5B_i2v" if GIVEN_FRAME in facts.conditioning else "wan2.2_ti2v_5B"
    if size in ("1.3B", "14B") and inputs == 16:
        return "wan2.2_t2v_14B" if size == "14B" and SECOND_EXPERT in facts.conditioning else f"wan2.1_t2v_{size}"
    if size == "14B" and inputs == 36:
        if facts.config.get("image_dim") is None:
            return "wan2.2_i2v_14B"  # Only Wan 2.1 looks at the first frame through CLIP as well.
        return "wan2.1_i2v_480p_14B" if 0 < facts.area <= 1.5 * _AREA_480P else "wan2.1_i2v_720p_14B"
    return None


def identify_vace(facts: ModelFacts) -> str | None:
    size = _size(facts.config)
    return f"wan2.1_vace_{size}" if size in ("1.3B", "14B") else None


def given_frame(arguments: Mapping[str, Any]) -> Iterable[str]:
    """Whether the first frame is given: each token has a time step of its own then, and those of that frame have 0."""
    timestep = arguments.get("timestep")
    if isinstance(timestep, torch.Tensor) and timestep.ndim == 2 and not bool(timestep[0, 0]):
        yield GIVEN_FRAME


def _size(config: Mapping[str, Any]) -> str | None:
    width = config.get("num_attention_heads", 0) * config.get("attention_head_dim", 0)
    return _SIZES.get((width, config.get("num_layers", 0)))


WAN = Family(
    name="wan",
    classes=("WanTransformer3DModel",),
    blocks=("blocks",),
    streams=(_TOKENS,),
    identify=identify,
    inputs=given_frame,
    anchors=_ANCHORS,
    models=(
        "Wan 2.1 T2V", "Wan 2.1 I2V", "Wan 2.1 FLF2V", "Wan 2.2 T2V", "Wan 2.2 I2V", "Wan 2.2 TI2V 5B", "Wan Fun Control",
        "Wan Fun Inpaint", "Lucy Edit",
    ),
)  # fmt: skip

WAN_VACE = Family(
    name="wan",
    classes=("WanVACETransformer3DModel",),
    blocks=("vace_blocks", "blocks"),  # What the first ones make is added between the others.
    streams=(_TOKENS,),
    identify=identify_vace,
    anchors=_ANCHORS,
    models=("Wan 2.1 VACE",),
)

WAN_ANIMATE = Family(
    name="wan",
    classes=("WanAnimateTransformer3DModel",),
    blocks=("blocks", "face_adapter"),  # The second ones run between the first.
    streams=(_TOKENS,),
    anchors=_ANCHORS,
    models=("Wan 2.2 Animate",),
)

BUILT_LIKE_WAN = Family(
    name="wan",
    classes=("SkyReelsV2Transformer3DModel", "ChronoEditTransformer3DModel"),
    blocks=("blocks",),
    streams=(_TOKENS,),
    anchors=_ANCHORS,
    models=("SkyReels V2", "ChronoEdit"),
)
"""Other weights, for which no curve was measured."""

WAN_ANIMATE2 = Family(
    name="wan_animate2",
    classes=("WanAnimate2Transformer3DModel",),
    blocks=("blocks",),
    streams=(Stream("x", tail="head"),),
    refuses=lambda options: options.get("kv_cache_mode") == "extract",  # The blocks write what later steps read of the reference.
    models=("Wan Animate 2",),
)

MORE_WANS: tuple[Family, ...] = (WAN_VACE, WAN_ANIMATE, BUILT_LIKE_WAN, WAN_ANIMATE2)
