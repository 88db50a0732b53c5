"""Qwen-Image and Qwen-Image-Edit."""

from .family import Family, ModelFacts


def identify(facts: ModelFacts) -> str | None:
    if facts.config.get("num_layers", 60) != 60:
        return None
    return "qwen_image_edit" if "reference_latents" in facts.conditioning else "qwen_image"


QWEN_IMAGE = Family(
    name="qwen_image",
    classes=("QwenImageTransformer2DModel",),
    blocks=("transformer_blocks",),
    tails=("norm_out",),
    hidden="hidden_states",
    identify=identify,
)
