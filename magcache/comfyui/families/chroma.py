"""Chroma. (Chroma Radiance has no module after its blocks and is not of this family.)"""

from .family import Family

CHROMA = Family(
    name="chroma",
    classes=("Chroma",),
    blocks=("double_blocks", "single_blocks"),
    tails=("final_layer",),
    hidden="img",
    identify=lambda facts: "chroma" if facts.config.get("hidden_size", 3072) == 3072 else None,
)
