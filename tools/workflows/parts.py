"""Texts and nodes that several workflows share."""

from __future__ import annotations

from magcache.curves.shipped import load_curve
from tools.workflows.graph import Group, Node, Value

RULE_HINT = "For more quality lower `magcache_thresh` or `magcache_K`, for more speed raise them; a threshold of 0 switches MagCache off."
LORA_HINT = "LoRA loaders go between *Load Diffusion Model* and *MagCache*."
AUTO_HINT = (
    "The first run of a model measures it and is not faster yet; the calibration is kept in `models/magcache`. "
    "For more speed raise `speedup`, for more quality lower it; 1 switches it off."
)


def magcache(group: Group, model: Node, curve: str) -> Node:
    """A MagCache node on `model` with the settings that are recommended for this curve."""
    preset = load_curve(curve).preset
    assert preset is not None, f"{curve} has no recommended settings"
    return group.add(
        "MagCache", model=model, model_type=curve,
        magcache_thresh=preset.threshold, retention_ratio=preset.retention, magcache_K=preset.max_skip,
    )  # fmt: skip


def save_picture(group: Group, latent: Value, vae: Value, name: str) -> None:
    """Nodes that decode a latent and save the picture under MagCache/`name`."""
    picture = group.add("VAEDecode", samples=latent, vae=vae)
    group.add("SaveImage", images=picture, filename_prefix=f"MagCache/{name}")


def save_video(group: Group, frames: Node, fps: int, name: str, sound: Node | None = None) -> None:
    """Nodes that save frames as a video, with its sound if it has one, under MagCache/`name`."""
    video = group.add("CreateVideo", images=frames, fps=fps, **({"audio": sound} if sound else {}))
    group.add("SaveVideo", video=video, filename_prefix=f"MagCache/{name}")
