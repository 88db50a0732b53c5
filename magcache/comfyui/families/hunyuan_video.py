"""HunyuanVideo 1.0 (text and image to video) and 1.5, and what else runs in their class."""

from ...runtime.family import Family, ModelFacts, Stream

_AREA_544P = (960 // 8) * (544 // 8)


def identify(facts: ModelFacts) -> str | None:
    config = facts.config
    if config.get("hidden_size") == 2048 and config.get("vision_in_dim"):
        return "hunyuan_video1.5"
    if config.get("hidden_size") == 3072 and list(config.get("patch_size", ())) == [1, 2, 2]:
        return "hunyuan_video_544p" if 0 < facts.area <= 1.2 * _AREA_544P else "hunyuan_video"
    return None


HUNYUAN_VIDEO = Family(
    name="hunyuan_video",
    classes=("HunyuanVideo",),
    blocks=("double_blocks", "single_blocks"),
    streams=(Stream("img", tail="final_layer"),),
    identify=identify,
    anchors=("img_in.proj.bias", "txt_in.input_embedder.bias", "double_blocks.0.img_attn.proj.bias", "final_layer.linear.bias"),
    models=("HunyuanVideo", "HunyuanVideo I2V", "HunyuanVideo 1.5", "SkyReels V1", "HunyuanImage 2.1", "HunyuanImage 2.1 Refiner"),
)
