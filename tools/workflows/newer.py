"""Workflows for newer models, for which nobody has published settings."""

from __future__ import annotations

from tools.workflows import models
from tools.workflows.graph import Group, Node, Words, Workflow
from tools.workflows.parts import EDIT, FEW_STEPS, magcache, model_workflow, save_picture, save_video

_SIZE = Words(
    "When you change the size, change it in both nodes.", "サイズは両方のノードで変えてください。", "更改尺寸时，请在两个节点中同时更改。"
)
_MORE_PICTURES = Words(
    "Two more pictures fit into the nodes of the prompts.",
    "プロンプトのノードには、あと2枚の画像をつなげます。",
    "提示词节点还可以再接两张图片。",
)
_LTX = Words(
    "LTX-2.3 works the same way: choose its checkpoint in all three loaders. The number of frames is set in two nodes and their rate in "
    "three: change them everywhere.",
    "LTX-2.3も同じです。3つのローダーすべてでそのチェックポイントを選んでください。フレーム数は2つのノード、"
    "フレームレートは3つのノードにあります。変えるときは、すべて変えてください。",
    "LTX-2.3 用法相同：在三个加载器中都选它的检查点。帧数在两个节点中设置，帧率在三个节点中设置，更改时请全部更改。",
)


def flux2() -> Workflow:
    flow = model_workflow("FLUX.2", "text to image", "flux", _SIZE, FEW_STEPS)

    load = flow.group("Models")
    model = load.add("UNETLoader", unet_name=models.FLUX2)
    clip = load.add("CLIPLoader", clip_name=models.FLUX2_TEXT, type="flux2")
    vae = load.add("VAELoader", vae_name=models.FLUX2_VAE)

    model = magcache(flow, flow.group("MagCache"), model)

    prompt = flow.group("Prompt")
    text = (
        'A botanist\'s desk in a glasshouse: a brass microscope, pressed ferns on cream paper, a label that reads "Adiantum, 1887", '
        "condensation on the panes, green light, shallow depth of field"
    )
    positive = prompt.add("CLIPTextEncode", clip=clip, text=text)
    positive = prompt.add("FluxGuidance", conditioning=positive, guidance=4.0)

    sample = flow.group("Sampling")
    latent = sample.add("EmptyFlux2LatentImage", width=1024, height=1024)
    sigmas = sample.add("Flux2Scheduler", steps=28, width=1024, height=1024)
    guider = sample.add("BasicGuider", model=model, conditioning=positive)
    latent = _sample(sample, guider, sigmas, latent, seed=2)
    save_picture(flow.group("Picture"), latent, vae, "flux2")
    return flow


def z_image() -> Workflow:
    flow = model_workflow("Z-Image", "text to image", "flux", FEW_STEPS)

    load = flow.group("Models")
    model = load.add("UNETLoader", unet_name=models.Z_IMAGE)
    clip = load.add("CLIPLoader", clip_name=models.Z_IMAGE_TEXT, type="lumina2")
    vae = load.add("VAELoader", vae_name=models.Z_IMAGE_VAE)

    speed = flow.group("MagCache")
    model = speed.add("ModelSamplingAuraFlow", model=magcache(flow, speed, model), shift=3.0)

    prompt = flow.group("Prompt")
    wanted = (
        "A night market in light snow: a cook lifts noodles out of a steaming pot, paper lanterns overhead, people in thick coats wait, "
        "photograph at eye level, warm light against blue dusk"
    )
    positive = prompt.add("CLIPTextEncode", clip=clip, text=wanted)
    negative = prompt.add("CLIPTextEncode", title="Negative prompt", clip=clip, text="Blurred, flat, deformed hands, text and watermarks.")

    sample = flow.group("Sampling")
    latent = sample.add("EmptySD3LatentImage", width=1024, height=1024)
    latent = sample.add(
        "KSampler", model=model, positive=positive, negative=negative, latent_image=latent,
        seed=30, steps=30, cfg=4.0, sampler_name="euler", scheduler="simple",
    )  # fmt: skip
    save_picture(flow.group("Picture"), latent, vae, "z_image")
    return flow


def qwen_image_edit_2511() -> Workflow:
    flow = model_workflow("Qwen-Image-Edit 2511", "image editing", "qwen_image_edit", EDIT, _MORE_PICTURES, FEW_STEPS)

    load = flow.group("Models")
    model = load.add("UNETLoader", unet_name=models.QWEN_EDIT_2511)
    clip = load.add("CLIPLoader", clip_name=models.QWEN_TEXT, type="qwen_image")
    vae = load.add("VAELoader", vae_name=models.QWEN_VAE)

    picture = flow.group("Picture to change")
    image = picture.add("LoadImage", image="example.png")
    image = picture.add("FluxKontextImageScale", image=image)

    speed = flow.group("MagCache")
    model = speed.add("ModelSamplingAuraFlow", model=magcache(flow, speed, model), shift=3.1)
    model = speed.add("CFGNorm", model=model, strength=1.0)

    prompt = flow.group("What to change")
    text = "Turn day into night: street lamps and windows glow, the sky is dark blue with a few stars. Keep everything else as it is."
    positive = prompt.add("TextEncodeQwenImageEditPlus", clip=clip, vae=vae, image1=image, prompt=text)
    negative = prompt.add("TextEncodeQwenImageEditPlus", title="Negative prompt", clip=clip, vae=vae, image1=image, prompt="")

    sample = flow.group("Sampling")
    latent = sample.add("VAEEncode", pixels=image, vae=vae)
    latent = sample.add(
        "KSampler", model=model, positive=positive, negative=negative, latent_image=latent,
        seed=11, steps=40, cfg=4.0, sampler_name="euler", scheduler="simple",
    )  # fmt: skip
    save_picture(flow.group("Picture"), latent, vae, "qwen_image_edit_2511")
    return flow


def ltx2() -> Workflow:
    flow = model_workflow("LTX-2", "text to video with sound", "flux", _LTX, FEW_STEPS)
    frames, rate = 121, 24

    load = flow.group("Models")
    loaded = load.add("CheckpointLoaderSimple", ckpt_name=models.LTX2)
    clip = load.add("LTXAVTextEncoderLoader", text_encoder=models.LTX2_TEXT, ckpt_name=models.LTX2)
    sound_vae = load.add("LTXVAudioVAELoader", ckpt_name=models.LTX2)

    model = magcache(flow, flow.group("MagCache"), loaded)

    prompt = flow.group("Prompt")
    text = (
        "A street musician plays a slow melody on a cello under a stone arch; her bow moves evenly, the strings are heard close by, steps "
        "and distant bells behind. Rain drips from the arch, the camera moves closer"
    )
    unwanted = "Blurred, static, with subtitles and watermarks, distorted faces and hands, noise, distorted sound."
    positive = prompt.add("CLIPTextEncode", clip=clip, text=text)
    negative = prompt.add("CLIPTextEncode", title="Negative prompt", clip=clip, text=unwanted)
    both = prompt.add("LTXVConditioning", positive=positive, negative=negative, frame_rate=rate)

    size = flow.group("Size")
    video = size.add("EmptyLTXVLatentVideo", width=768, height=512, length=frames)
    sound = size.add("LTXVEmptyLatentAudio", frames_number=frames, frame_rate=rate, audio_vae=sound_vae)
    latent = size.add("LTXVConcatAVLatent", video_latent=video, audio_latent=sound)

    sample = flow.group("Sampling")
    sigmas = sample.add("LTXVScheduler", steps=40, latent=video)
    guider = sample.add("CFGGuider", model=model, positive=both["positive"], negative=both["negative"], cfg=4.0)
    parts = sample.add("LTXVSeparateAVLatent", av_latent=_sample(sample, guider, sigmas, latent, seed=40))

    result = flow.group("Video")
    shown = result.add(
        "VAEDecodeTiled", samples=parts["video_latent"], vae=loaded["VAE"],
        tile_size=512, overlap=64, temporal_size=4096, temporal_overlap=8,
    )  # fmt: skip
    heard = result.add("LTXVAudioVAEDecode", samples=parts["audio_latent"], audio_vae=sound_vae)
    save_video(result, shown, rate, "ltx2", heard)
    return flow


def _sample(group: Group, guider: Node, sigmas: Node, latent: Node, seed: int) -> Node:
    """Nodes that sample with Euler."""
    noise = group.add("RandomNoise", noise_seed=seed)
    sampler = group.add("KSamplerSelect", sampler_name="euler")
    return group.add("SamplerCustomAdvanced", noise=noise, guider=guider, sampler=sampler, sigmas=sigmas, latent_image=latent)
