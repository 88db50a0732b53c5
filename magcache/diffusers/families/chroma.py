"""Chroma."""

from __future__ import annotations

from ...runtime.family import Family
from .flux import ANCHORS, DOUBLE_AND_SINGLE, TOKENS, is_of_flux_size

CHROMA = Family(
    name="chroma",
    classes=("ChromaTransformer2DModel",),
    blocks=DOUBLE_AND_SINGLE,
    streams=(TOKENS,),
    identify=lambda facts: "chroma" if is_of_flux_size(facts.config) else None,
    anchors=ANCHORS,
    models=("Chroma1-HD", "Chroma1-Base"),
)
