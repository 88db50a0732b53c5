"""Workflows that are not made for one model."""

from __future__ import annotations

from tools.workflows import models
from tools.workflows.graph import Group, Node, Value, Workflow
from tools.workflows.parts import AUTO_HINT, save_picture

_FAMILIES = "Flux, Chroma, HunyuanVideo, Wan and Qwen-Image"
_OWN_MODEL = (
    "Use your own model: choose another checkpoint, or put your loaders and LoRAs in its place. Every model built like "
    f"{_FAMILIES} will do."
)
_TEXT = (
    "A small observatory on a rocky island under the Milky Way, its dome half open, a warm lamp behind the only window, "
    "calm sea, long exposure photograph"
)
_STEPS = 28


def any_model() -> Workflow:
    flow = Workflow("Any model at twice the speed", "MagCache Auto", f"{AUTO_HINT}\n\n{_OWN_MODEL}")
    model, clip, vae = _load(flow)
    positive, negative = _prompt(flow, clip)
    model = flow.group("MagCache").add("MagCacheAuto", model=model, speedup=2.0)
    _draw(flow, model, positive, negative, vae, seed=2, name="twice_the_speed")
    return flow


def calibrate_any_model() -> Workflow:
    hint = (
        "Queue it once with the model, the LoRAs and about the number of steps you use: the curve is saved as "
        "`models/magcache/my_model.json`, and *MagCache* and *MagCache Auto* use it for this model from then on. "
        f"Switch `average` on to let several prompts count.\n\n{_OWN_MODEL}"
    )
    flow = Workflow("Calibrate any model", "measures the model once", hint)
    model, clip, vae = _load(flow)
    positive, negative = _prompt(flow, clip)
    model = flow.group("MagCache").add("MagCacheCalibration", model=model, name="my_model")
    _draw(flow, model, positive, negative, vae, seed=1, name="calibration")
    return flow


def compare() -> Workflow:
    hint = (
        "The same seed is sampled in full and with MagCache. *MagCache Compare* tells how close the pictures are (PSNR, SSIM) and shows "
        "the difference; *MagCache Report* shows which steps were computed and how long they took. Queue it twice: the first run "
        "measures the model, and its pictures are the same. For more speed raise `speedup`, for more quality lower it."
        f"\n\n{_OWN_MODEL}"
    )
    flow = Workflow("Compare with and without", "PSNR, SSIM and a report", hint)
    plain, clip, vae = _load(flow)
    positive, negative = _prompt(flow, clip)

    cached = flow.group("MagCache").add("MagCacheAuto", model=plain, speedup=2.0)
    both = flow.group("For both", below=True)
    size = both.add("EmptySD3LatentImage", width=1024, height=1024)
    seed = both.add("PrimitiveInt", title="Seed", value=3, control_after_generate="increment")

    pictures: list[Node] = []
    for title, model in (("Without MagCache", plain), ("With MagCache", cached)):
        sample = flow.group(title, below=bool(pictures))
        latent = _sample(sample, model, positive, negative, size, seed)
        pictures.append(sample.add("VAEDecode", samples=latent, vae=vae))

    result = flow.group("Comparison")
    result.add("MagCacheCompare", reference=pictures[0], images=pictures[1])
    flow.group("Report", below=True).add("MagCacheReport", model=cached, after=pictures[1])
    return flow


def bundled_model() -> Workflow:
    hint = (
        "Queue it twice: the first run measures the model, the second has the speed-up. For more speed raise `speedup`, for more "
        "quality lower it.\n\nPrompts are such as *a blue circle on snow*: red, green, blue, yellow, purple or orange; circle, square, "
        "triangle or star; on sky, night, sand or snow."
    )
    flow = Workflow("Bundled tiny model", "nothing to download", hint)
    model = flow.group("Model").add("UNETLoader", unet_name="magcache_demo_flux.safetensors")

    prompt = flow.group("Prompt", below=True)
    positive = prompt.add("MagCacheDemoText", text="a blue circle on snow")
    negative = prompt.add("MagCacheDemoText", title="Negative prompt", text="")

    speed = flow.group("MagCache")
    model = speed.add("MagCacheAuto", model=model, speedup=2.5)
    model = speed.add("ModelSamplingAuraFlow", model=model, shift=3.0)

    sample = flow.group("Sampling")
    latent = sample.add("EmptySD3LatentImage", width=256, height=256, batch_size=4)
    latent = sample.add(
        "KSampler", model=model, positive=positive, negative=negative, latent_image=latent,
        seed=7, steps=_STEPS, cfg=2.5, sampler_name="euler", scheduler="simple",
    )  # fmt: skip

    picture = flow.group("Pictures")
    drawn = picture.add("MagCacheDemoDecode", samples=latent)
    drawn = picture.add("ImageScaleBy", image=drawn, upscale_method="lanczos", scale_by=4.0)
    picture.add("SaveImage", images=drawn, filename_prefix="MagCache/tiny")
    return flow


def _load(flow: Workflow) -> tuple[Node, Value, Value]:
    """Model, text encoder and VAE."""
    loader = flow.group("Model").add("CheckpointLoaderSimple", ckpt_name=models.FLUX_ALL_IN_ONE)
    return loader, loader["CLIP"], loader["VAE"]


def _prompt(flow: Workflow, clip: Value) -> tuple[Node, Node]:
    """Nodes of the positive and the negative prompt."""
    prompt = flow.group("Prompt", below=True)
    text = prompt.add("CLIPTextEncode", clip=clip, text=_TEXT)
    negative = prompt.add("ConditioningZeroOut", conditioning=text)
    return prompt.add("FluxGuidance", conditioning=text, guidance=3.5), negative


def _draw(flow: Workflow, model: Node, positive: Node, negative: Node, vae: Value, seed: int, name: str) -> None:
    """Nodes that sample one picture and save it under MagCache/`name`."""
    sample = flow.group("Sampling")
    size = sample.add("EmptySD3LatentImage", width=1024, height=1024)
    latent = _sample(sample, model, positive, negative, size, seed)
    save_picture(flow.group("Picture"), latent, vae, name)


def _sample(group: Group, model: Value, positive: Value, negative: Value, latent: Value, seed: Value) -> Node:
    return group.add(
        "KSampler", model=model, positive=positive, negative=negative, latent_image=latent,
        seed=seed, steps=_STEPS, cfg=1.0, sampler_name="euler", scheduler="simple",
    )  # fmt: skip
