"""FLUX.1 dev and schnell, Kontext, and what else runs in ComfyUI's Flux class (Flux.2, LongCat, Ovis)."""

from ...runtime.family import Family, ModelFacts, Stream


def identify(facts: ModelFacts) -> str | None:
    if facts.config.get("image_model") != "flux" or facts.config.get("hidden_size") != 3072 or not facts.config.get("guidance_embed"):
        return None
    return "flux_kontext" if "reference_latents" in facts.conditioning else "flux"


FLUX = Family(
    name="flux",
    classes=("Flux",),
    blocks=("double_blocks", "single_blocks"),
    streams=(Stream("img", tail="final_layer"),),
    identify=identify,
    anchors=(
        "double_blocks.0.img_attn.norm.query_norm.weight", "double_blocks.0.img_attn.norm.key_norm.weight",
        "double_blocks.0.txt_attn.norm.query_norm.weight", "single_blocks.0.norm.query_norm.weight",
        "img_in.bias", "final_layer.linear.bias",
    ),
    models=(
        "FLUX.1 dev", "FLUX.1 schnell", "FLUX.1 Krea", "FLUX.1 Kontext", "FLUX.1 Fill", "FLUX.1 Redux", "FLUX.2 dev", "FLUX.2 klein",
        "LongCat-Image", "Ovis-Image",
    ),
)  # fmt: skip
