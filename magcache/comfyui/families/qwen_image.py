"""Qwen-Image and Qwen-Image-Edit."""

from ...runtime.family import Family, ModelFacts, Stream


def identify(facts: ModelFacts) -> str | None:
    if facts.config.get("num_layers", 60) != 60:
        return None
    return "qwen_image_edit" if "reference_latents" in facts.conditioning else "qwen_image"


QWEN_IMAGE = Family(
    name="qwen_image",
    classes=("QwenImageTransformer2DModel",),
    blocks=("transformer_blocks",),
    streams=(Stream("hidden_states", tail="norm_out"),),
    identify=identify,
    anchors=(
        "txt_norm.weight",
        "transformer_blocks.0.attn.norm_q.weight",
        "transformer_blocks.0.attn.norm_k.weight",
        "transformer_blocks.0.attn.norm_added_q.weight",
    ),
    models=("Qwen-Image", "Qwen-Image-2512", "Qwen-Image-Edit", "Qwen-Image-Edit 2509", "Qwen-Image-Edit 2511", "Qwen-Image-Layered"),
)
