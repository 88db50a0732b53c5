"""OmniGen2: pictures from text, and changed by text."""

from ...runtime.family import Family, ModelFacts, Stream

_SIZE = 2520


def identify(facts: ModelFacts) -> str | None:
    if facts.config.get("image_model") != "omnigen2" or facts.config.get("hidden_size", _SIZE) != _SIZE:
        return None
    return "omnigen2_edit" if "reference_latents" in facts.conditioning else "omnigen2_t2i"


OMNIGEN2 = Family(
    name="omnigen2",
    classes=("OmniGen2Transformer2DModel",),
    blocks=("layers",),
    streams=(Stream("hidden_states", tail="norm_out"),),
    identify=identify,
    models=("OmniGen2",),
)
