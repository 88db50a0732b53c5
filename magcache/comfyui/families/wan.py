"""Wan 2.1 and 2.2: text, image and reference to video."""

from ...runtime.family import Family, ModelFacts, Stream

_SIZES = {1536: "1.3B", 3072: "5B", 5120: "14B"}
_LOWEST_OF_HIGH_EXPERT = 0.75
"""A run of a whole schedule is last evaluated below this, from four steps at shift 8 on."""
_AREA_480P = (832 // 8) * (480 // 8)


def identify(facts: ModelFacts) -> str | None:
    size = _SIZES.get(facts.config.get("dim", 0))
    kind, inputs = facts.config.get("model_type"), facts.config.get("in_dim", 16)
    if size == "5B":
        return "wan2.2_ti2v_5B" if inputs == 48 else None
    if size is None:
        return None
    if kind == "vace":
        return f"wan2.1_vace_{size}"
    if kind == "t2v" and inputs == 16:
        return "wan2.2_t2v_14B" if size == "14B" and _is_one_of_two_experts(facts) else f"wan2.1_t2v_{size}"
    if kind == "t2v" and inputs == 36 and size == "14B":
        return "wan2.2_i2v_14B"
    if kind in ("i2v", "flf2v") and size == "14B":
        return "wan2.1_i2v_480p_14B" if 0 < facts.area <= 1.5 * _AREA_480P else "wan2.1_i2v_720p_14B"
    return None


def _is_one_of_two_experts(facts: ModelFacts) -> bool:
    """Wan 2.2's text-to-video experts are built like Wan 2.1; what tells them apart is that each runs a part of the schedule.

    The high noise expert is last evaluated far from 0, also where a sampler sets the closing sigma to 0.
    """
    if len(facts.sigmas) < 2:
        return False
    first, last, closing = facts.sigmas[0], facts.sigmas[-2], facts.sigmas[-1]
    return closing > 0.5 or last > _LOWEST_OF_HIGH_EXPERT or 0.6 < first < 0.95


WAN = Family(
    name="wan",
    classes=("WanModel", "VaceWanModel", "CameraWanModel"),
    blocks=("blocks",),
    streams=(Stream("x", tail="head"),),
    identify=identify,
    refuses=lambda options: "ar_state" in options,  # A model that generates piece by piece writes its memory from within its blocks.
    anchors=(
        "patch_embedding.bias", "blocks.0.self_attn.norm_q.weight", "blocks.0.ffn.0.bias", "head.head.bias", "vace_patch_embedding.bias",
    ),
    models=(
        "Wan 2.1 T2V", "Wan 2.1 I2V", "Wan 2.1 FLF2V", "Wan 2.1 VACE", "Wan 2.2 T2V", "Wan 2.2 I2V", "Wan 2.2 TI2V 5B", "Wan 2.2 S2V",
        "Wan 2.2 Animate", "Wan Fun Control", "Wan Fun Inpaint", "Wan Fun Camera", "Phantom", "HuMo", "SCAIL", "SCAIL-2",
        "Bernini-R",
    ),
)  # fmt: skip
