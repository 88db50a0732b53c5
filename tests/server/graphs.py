"""Workflows as ComfyUI exports them, and the types of their nodes as a server describes them."""

from __future__ import annotations

from typing import Any

from magcache.server.workflow import NodeType, Types, Workflow


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs, "_meta": {"title": kind}}


def _type(outputs: str, needed: str = "", **defaults: Any) -> NodeType:
    inputs = dict(each.split(":") for each in needed.split())
    return NodeType(inputs | dict.fromkeys(defaults, "FLOAT"), tuple(outputs.split()), defaults)


TYPES: Types = {
    "UNETLoader": _type("MODEL", "unet_name:COMBO"),
    "LoraLoaderModelOnly": _type("MODEL", "model:MODEL lora_name:COMBO"),
    "ModelSamplingFlux": _type("MODEL", "model:MODEL"),
    "MagCache": _type("MODEL", "model:MODEL", magcache_thresh=0.06),
    "MagCacheAuto": _type("MODEL", "model:MODEL", speedup=2.0),
    "MagCacheCalibration": _type("MODEL", "model:MODEL", model_type="auto"),
    "EasyCache": _type("MODEL", "model:MODEL", reuse_threshold=0.2, verbose=False),
    "KSampler": _type("LATENT", "model:MODEL latent_image:LATENT seed:INT steps:INT"),
    "KSampler (Efficient)": _type("MODEL LATENT IMAGE", "model:MODEL seed:INT"),
    "BasicScheduler": _type("SIGMAS", "model:MODEL"),
    "CFGGuider": _type("GUIDER", "model:MODEL"),
    "RandomNoise": _type("NOISE", "noise_seed:INT"),
    "SamplerCustomAdvanced": _type("LATENT LATENT", "guider:GUIDER noise:NOISE sigmas:SIGMAS"),
    "WritePrompt": _type("STRING", "seed:INT"),
    "ModelSave": _type("", "model:MODEL"),
    "Switch": _type("*", "input1:*"),
    "SaveImage": _type("", "images:IMAGE"),
}


def lora_chain() -> Workflow:
    """Loader → LoRA → shift → sampler."""
    return {
        "1": node("UNETLoader", unet_name="flux"),
        "2": node("LoraLoaderModelOnly", model=["1", 0], lora_name="style"),
        "3": node("ModelSamplingFlux", model=["2", 0]),
        "12:7": node("KSampler", model=["3", 0], latent_image=["9", 0], seed=5, steps=20),
    }


def guided() -> Workflow:
    """A guider and a scheduler on one model."""
    return {
        "1": node("UNETLoader", unet_name="flux"),
        "2": node("CFGGuider", model=["1", 0]),
        "3": node("BasicScheduler", model=["1", 0]),
        "4": node("RandomNoise", noise_seed=7),
        "5": node("SamplerCustomAdvanced", guider=["2", 0], noise=["4", 0], sigmas=["3", 0]),
    }


def two_experts() -> Workflow:
    """Two models, each with a sampler of its own."""
    return {
        "1": node("UNETLoader", unet_name="high"),
        "2": node("UNETLoader", unet_name="low"),
        "3": node("KSampler", model=["1", 0], seed=1, steps=20),
        "4": node("KSampler", model=["2", 0], latent_image=["3", 0], seed=2, steps=20),
    }
