"""Workflows for HunyuanVideo and Wan2.1."""

from __future__ import annotations

from tools.workflows import models
from tools.workflows.graph import Group, Node, Value, Words, Workflow
from tools.workflows.parts import magcache, model_workflow, save_video

UNWANTED = "Blurred, overexposed, static, with subtitles, watermarks, artifacts, deformed hands and faces."
_720P = Words(
    "For 1280 × 720 choose `hunyuan_video` as the `model_type`.",
    "1280 × 720では「モデルの種類」に`hunyuan_video`を選びます。",
    "分辨率为 1280 × 720 时，“模型类型”选 `hunyuan_video`。",
)
_T2V_14B = Words(
    "With the 14B model choose `wan2.1_t2v_14B`, threshold 0.24 and K 6.",
    "14Bモデルでは`wan2.1_t2v_14B`、しきい値0.24、最大連続スキップ数6にします。",
    "14B 模型选 `wan2.1_t2v_14B`，阈值 0.24，最大连续跳步数 6。",
)
_I2V_SHIFT = Words("The 720P model wants a shift of 5.", "720Pモデルではshiftを5にします。", "720P 模型的 shift 设为 5。")
_I2V_720P = Words(
    "For it choose `wan2.1_i2v_720p_14B`.",
    "「モデルの種類」は`wan2.1_i2v_720p_14B`にします。",
    "并把“模型类型”选为 `wan2.1_i2v_720p_14B`。",
)
_VACE_INPUTS = Words(
    "A control video and masks go into *WanVaceToVideo*.",
    "制御用の動画とマスクは*WanVaceToVideo*につなぎます。",
    "控制视频和遮罩接到 *WanVaceToVideo*。",
)
_VACE_14B = Words(
    "With the 14B model choose `wan2.1_vace_14B`.", "14Bモデルでは`wan2.1_vace_14B`を選びます。", "14B 模型选 `wan2.1_vace_14B`。"
)


def hunyuan_video(published: bool) -> Workflow:
    hints = (_720P,) if published else ()
    flow = model_workflow("HunyuanVideo T2V", "text to video", "hunyuan_video_544p", *hints, published=published)

    load = flow.group("Models")
    model = load.add("UNETLoader", unet_name=models.HUNYUAN)
    clip = load.add("DualCLIPLoader", clip_name1=models.CLIP_L, clip_name2=models.HUNYUAN_TEXT, type="hunyuan_video")
    vae = load.add("VAELoader", vae_name=models.HUNYUAN_VAE)

    speed = flow.group("MagCache")
    model = magcache(flow, speed, model)
    model = speed.add("ModelSamplingSD3", model=model, shift=7.0)

    prompt = flow.group("Prompt")
    text = (
        "A potter shapes a tall vase on a spinning wheel, wet clay shining, hands steady. The camera circles slowly; "
        "dust floats in the light of a tall workshop window"
    )
    positive = prompt.add("CLIPTextEncode", clip=clip, text=text)
    negative = prompt.add("ConditioningZeroOut", conditioning=positive)
    positive = prompt.add("FluxGuidance", conditioning=positive, guidance=6.0)

    sample = flow.group("Sampling")
    latent = sample.add("EmptyHunyuanLatentVideo", width=960, height=544, length=73)
    latent = sample.add(
        "KSampler", model=model, positive=positive, negative=negative, latent_image=latent,
        seed=544, steps=30, cfg=1.0, sampler_name="euler", scheduler="simple",
    )  # fmt: skip

    video = flow.group("Video")
    frames = video.add("VAEDecodeTiled", samples=latent, vae=vae, tile_size=256, overlap=64, temporal_size=64, temporal_overlap=8)
    save_video(video, frames, 24, "hunyuan_video")
    return flow


def hunyuan_video_15(published: bool) -> Workflow:
    flow = model_workflow("HunyuanVideo 1.5", "text to video", "hunyuan_video1.5", published=published)

    load = flow.group("Models")
    model = load.add("UNETLoader", unet_name=models.HUNYUAN15)
    clip = load.add("DualCLIPLoader", clip_name1=models.HUNYUAN15_TEXT, clip_name2=models.HUNYUAN15_GLYPHS, type="hunyuan_video_15")
    vae = load.add("VAELoader", vae_name=models.HUNYUAN15_VAE)

    speed = flow.group("MagCache")
    model = magcache(flow, speed, model)
    model = speed.add("ModelSamplingSD3", model=model, shift=7.0)

    text = (
        "A small red kite climbs over a harbour at noon. The camera follows its string down to a child on the pier who leans back "
        "against the wind and laughs; boats rock behind"
    )
    positive, negative = _prompts(flow, clip, text, "")

    sample = flow.group("Sampling")
    latent = sample.add("EmptyHunyuanVideo15Latent", width=1280, height=720, length=121)
    latent = sample.add(
        "KSampler", model=model, positive=positive, negative=negative, latent_image=latent,
        seed=15, steps=20, cfg=6.0, sampler_name="euler", scheduler="simple",
    )  # fmt: skip

    video = flow.group("Video")
    save_video(video, video.add("VAEDecode", samples=latent, vae=vae), 24, "hunyuan_video_1.5")
    return flow


def wan21_t2v(published: bool) -> Workflow:
    hints = (_T2V_14B,) if published else ()
    flow = model_workflow("Wan2.1 T2V", "text to video", "wan2.1_t2v_1.3B", *hints, published=published)
    model, clip, vae = _wan21(flow, models.WAN21_T2V, shift=8.0)

    text = (
        "A tram climbs a steep street in light rain, its windows glowing. Umbrellas part to let it pass; "
        "the camera glides alongside, reflections run over the wet stones"
    )
    positive, negative = _prompts(flow, clip, text, UNWANTED)

    sample = flow.group("Sampling")
    latent = sample.add("EmptyHunyuanLatentVideo", width=832, height=480, length=81)
    latent = _sample_wan21(sample, model, positive, negative, latent, guidance=6.0)

    video = flow.group("Video")
    save_video(video, video.add("VAEDecode", samples=latent, vae=vae), 16, "wan2.1_t2v")
    return flow


def wan21_i2v(published: bool) -> Workflow:
    hints = (_I2V_SHIFT, _I2V_720P) if published else (_I2V_SHIFT,)
    flow = model_workflow("Wan2.1 I2V", "image to video", "wan2.1_i2v_480p_14B", *hints, published=published)
    model, clip, vae = _wan21(flow, models.WAN21_I2V, shift=3.0)

    text = "The camera moves slowly closer while a light wind stirs everything that is loose. Natural light, steady motion."
    positive, negative = _prompts(flow, clip, text, UNWANTED)

    first = flow.group("First frame")
    image = first.add("LoadImage", image="example.png")
    vision = first.add("CLIPVisionLoader", clip_name=models.WAN_VISION)
    seen = first.add("CLIPVisionEncode", clip_vision=vision, image=image, crop="none")
    start = first.add(
        "WanImageToVideo", positive=positive, negative=negative, vae=vae, clip_vision_output=seen, start_image=image,
        width=832, height=480, length=81,
    )  # fmt: skip

    latent = _sample_wan21(flow.group("Sampling"), model, start["positive"], start["negative"], start["latent"], guidance=5.0)
    video = flow.group("Video")
    save_video(video, video.add("VAEDecode", samples=latent, vae=vae), 16, "wan2.1_i2v")
    return flow


def wan21_vace(published: bool) -> Workflow:
    hints = (_VACE_INPUTS, _VACE_14B) if published else (_VACE_INPUTS,)
    flow = model_workflow("Wan2.1 VACE", "reference to video", "wan2.1_vace_1.3B", *hints, published=published)
    model, clip, vae = _wan21(flow, models.WAN21_VACE, shift=16.0)

    text = "The subject of the reference picture stands on a windy hill at sunset. The camera circles around it, grass waves."
    positive, negative = _prompts(flow, clip, text, UNWANTED)

    reference = flow.group("Reference")
    image = reference.add("LoadImage", image="example.png")
    start = reference.add(
        "WanVaceToVideo", positive=positive, negative=negative, vae=vae, reference_image=image, width=832, height=480, length=81
    )

    latent = _sample_wan21(flow.group("Sampling"), model, start["positive"], start["negative"], start["latent"], guidance=5.0)
    video = flow.group("Video")
    latent = video.add("TrimVideoLatent", samples=latent, trim_amount=start["trim_latent"])
    save_video(video, video.add("VAEDecode", samples=latent, vae=vae), 16, "wan2.1_vace")
    return flow


def _wan21(flow: Workflow, file: models.ModelFile, shift: float) -> tuple[Node, Node, Node]:
    """Model with MagCache, text encoder and VAE."""
    load = flow.group("Models")
    model = load.add("UNETLoader", unet_name=file)
    clip = load.add("CLIPLoader", clip_name=models.WAN_TEXT, type="wan")
    vae = load.add("VAELoader", vae_name=models.WAN_VAE)
    speed = flow.group("MagCache")
    model = magcache(flow, speed, model)
    return speed.add("ModelSamplingSD3", model=model, shift=shift), clip, vae


def _prompts(flow: Workflow, clip: Node, wanted: str, unwanted: str) -> tuple[Node, Node]:
    prompt = flow.group("Prompt")
    positive = prompt.add("CLIPTextEncode", clip=clip, text=wanted)
    return positive, prompt.add("CLIPTextEncode", title="Negative prompt", clip=clip, text=unwanted)


def _sample_wan21(group: Group, model: Value, positive: Value, negative: Value, latent: Value, guidance: float) -> Node:
    return group.add(
        "KSampler", model=model, positive=positive, negative=negative, latent_image=latent,
        seed=21, steps=30, cfg=guidance, sampler_name="uni_pc", scheduler="simple",
    )  # fmt: skip
