"""Workflows for models that draw and edit pictures."""

from __future__ import annotations

from tools.workflows import models
from tools.workflows.graph import Workflow
from tools.workflows.parts import EDIT, FEW_STEPS, magcache, model_workflow, save_picture


def flux(published: bool) -> Workflow:
    flow = model_workflow("FLUX", "text to image", "flux", published=published)

    load = flow.group("Models")
    model = load.add("UNETLoader", unet_name=models.FLUX)
    clip = load.add("DualCLIPLoader", clip_name1=models.CLIP_L, clip_name2=models.T5XXL, type="flux")
    vae = load.add("VAELoader", vae_name=models.FLUX_VAE)

    model = magcache(flow, flow.group("MagCache"), model)

    prompt = flow.group("Prompt")
    text = (
        "A lighthouse keeper's kitchen at dawn: a copper kettle steams on the stove, lemons in a blue enamel bowl, "
        "fog behind a salt-streaked window, soft light from the side, 35 mm photograph"
    )
    positive = prompt.add("CLIPTextEncode", clip=clip, text=text)
    negative = prompt.add("ConditioningZeroOut", conditioning=positive)
    positive = prompt.add("FluxGuidance", conditioning=positive, guidance=3.5)

    sample = flow.group("Sampling")
    latent = sample.add("EmptySD3LatentImage", width=1024, height=1024)
    latent = sample.add(
        "KSampler", model=model, positive=positive, negative=negative, latent_image=latent,
        seed=28, steps=28, cfg=1.0, sampler_name="euler", scheduler="simple",
    )  # fmt: skip
    save_picture(flow.group("Picture"), latent, vae, "flux")
    return flow


def flux_kontext(published: bool) -> Workflow:
    flow = model_workflow("FLUX-Kontext", "image editing", "flux_kontext", EDIT, published=published)

    load = flow.group("Models")
    model = load.add("UNETLoader", unet_name=models.FLUX_KONTEXT)
    clip = load.add("DualCLIPLoader", clip_name1=models.CLIP_L, clip_name2=models.T5XXL, type="flux")
    vae = load.add("VAELoader", vae_name=models.FLUX_VAE)

    picture = flow.group("Picture to change")
    image = picture.add("LoadImage", image="example.png")
    image = picture.add("FluxKontextImageScale", image=image)

    model = magcache(flow, flow.group("MagCache"), model)

    prompt = flow.group("What to change")
    reference = prompt.add("VAEEncode", pixels=image, vae=vae)
    text = "Turn the picture into a watercolour on rough paper with loose brush strokes. Keep the composition and the colours."
    positive = prompt.add("CLIPTextEncode", clip=clip, text=text)
    negative = prompt.add("ConditioningZeroOut", conditioning=positive)
    positive = prompt.add("ReferenceLatent", conditioning=positive, latent=reference)
    positive = prompt.add("FluxGuidance", conditioning=positive, guidance=2.5)

    latent = flow.group("Sampling").add(
        "KSampler", model=model, positive=positive, negative=negative, latent_image=reference,
        seed=20, steps=20, cfg=1.0, sampler_name="euler", scheduler="simple",
    )  # fmt: skip
    save_picture(flow.group("Picture"), latent, vae, "kontext")
    return flow


def chroma(published: bool) -> Workflow:
    flow = model_workflow("Chroma", "text to image", "chroma", published=published)

    load = flow.group("Models")
    model = load.add("UNETLoader", unet_name=models.CHROMA)
    clip = load.add("CLIPLoader", clip_name=models.T5XXL, type="chroma")
    clip = load.add("T5TokenizerOptions", clip=clip, min_padding=1, min_length=0)
    vae = load.add("VAELoader", vae_name=models.FLUX_VAE)

    speed = flow.group("MagCache")
    model = magcache(flow, speed, model)
    model = speed.add("ModelSamplingAuraFlow", model=model, shift=1.0)

    prompt = flow.group("Prompt")
    wanted = (
        "A barn owl lands on a weathered fence post at dusk, wings spread wide, every feather sharp against a soft field of grass, "
        "warm light from behind, nature photograph with a long lens"
    )
    unwanted = "Blurred, flat and oversaturated, with artifacts, wrong anatomy, text and watermarks."
    positive = prompt.add("CLIPTextEncode", clip=clip, text=wanted)
    negative = prompt.add("CLIPTextEncode", title="Negative prompt", clip=clip, text=unwanted)

    sample = flow.group("Sampling")
    latent = sample.add("EmptySD3LatentImage", width=1024, height=1024)
    latent = sample.add(
        "KSampler", model=model, positive=positive, negative=negative, latent_image=latent,
        seed=26, steps=26, cfg=3.5, sampler_name="euler", scheduler="beta",
    )  # fmt: skip
    save_picture(flow.group("Picture"), latent, vae, "chroma")
    return flow


def qwen_image(published: bool) -> Workflow:
    flow = model_workflow("Qwen-Image", "text to image", "qwen_image", FEW_STEPS, published=published)

    load = flow.group("Models")
    model = load.add("UNETLoader", unet_name=models.QWEN)
    clip = load.add("CLIPLoader", clip_name=models.QWEN_TEXT, type="qwen_image")
    vae = load.add("VAELoader", vae_name=models.QWEN_VAE)

    speed = flow.group("MagCache")
    model = magcache(flow, speed, model)
    model = speed.add("ModelSamplingAuraFlow", model=model, shift=3.1)

    prompt = flow.group("Prompt")
    text = (
        'A hand-painted sign above a narrow bakery door reads "Fresh bread since 1908". Early morning, wet cobblestones, '
        "a bicycle with a basket of baguettes leans on the wall, warm light falls out of the window"
    )
    positive = prompt.add("CLIPTextEncode", clip=clip, text=text)
    negative = prompt.add("CLIPTextEncode", title="Negative prompt", clip=clip, text=" ")

    sample = flow.group("Sampling")
    latent = sample.add("EmptySD3LatentImage", width=1328, height=1328)
    latent = sample.add(
        "KSampler", model=model, positive=positive, negative=negative, latent_image=latent,
        seed=40, steps=40, cfg=4.0, sampler_name="euler", scheduler="simple",
    )  # fmt: skip
    save_picture(flow.group("Picture"), latent, vae, "qwen_image")
    return flow


def qwen_image_edit(published: bool) -> Workflow:
    flow = model_workflow("Qwen-Image-Edit", "image editing", "qwen_image_edit", EDIT, published=published)

    load = flow.group("Models")
    model = load.add("UNETLoader", unet_name=models.QWEN_EDIT)
    clip = load.add("CLIPLoader", clip_name=models.QWEN_TEXT, type="qwen_image")
    vae = load.add("VAELoader", vae_name=models.QWEN_VAE)

    picture = flow.group("Picture to change")
    image = picture.add("LoadImage", image="example.png")
    image = picture.add("ImageScaleToTotalPixels", image=image, upscale_method="lanczos", megapixels=1.0)

    speed = flow.group("MagCache")
    model = magcache(flow, speed, model)
    model = speed.add("ModelSamplingAuraFlow", model=model, shift=3.0)
    model = speed.add("CFGNorm", model=model, strength=1.0)

    prompt = flow.group("What to change")
    text = "Make it a winter scene: snow on the ground and on every surface, cold blue light. Keep everything else as it is."
    positive = prompt.add("TextEncodeQwenImageEdit", clip=clip, vae=vae, image=image, prompt=text)
    negative = prompt.add("TextEncodeQwenImageEdit", title="Negative prompt", clip=clip, vae=vae, image=image, prompt="")

    sample = flow.group("Sampling")
    latent = sample.add("VAEEncode", pixels=image, vae=vae)
    latent = sample.add(
        "KSampler", model=model, positive=positive, negative=negative, latent_image=latent,
        seed=50, steps=40, cfg=2.5, sampler_name="euler", scheduler="simple",
    )  # fmt: skip
    save_picture(flow.group("Picture"), latent, vae, "qwen_image_edit")
    return flow
