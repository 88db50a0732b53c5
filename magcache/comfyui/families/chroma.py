"""Chroma. (Chroma Radiance has no module after its blocks and is not of this family.)"""

from ...runtime.family import Family, Stream
from .flux import FLUX

CHROMA = Family(
    name="chroma",
    classes=("Chroma",),
    blocks=("double_blocks", "single_blocks"),
    streams=(Stream("img", tail="final_layer"),),
    identify=lambda facts: "chroma" if facts.config.get("hidden_size", 3072) == 3072 else None,
    anchors=FLUX.anchors,
    models=("Chroma1-HD", "Chroma1-Base"),
)
