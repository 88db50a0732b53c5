"""Texts and nodes that several workflows share."""

from __future__ import annotations

from magcache.curves.shipped import load_curve
from tools.workflows.graph import Group, Node, Value, Words, Workflow

AUTO = Words("MagCache Auto", "MagCache 自動", "MagCache 自动")
LORA = Words(
    "LoRA loaders go between the model's loader and *{node}*.",
    "LoRAローダーは、モデルのローダーと*{node}*の間に入れます。",
    "LoRA 加载器放在模型加载器和 *{node}* 之间。",
)
FEW_STEPS = Words(
    "With a distilled model or a speed LoRA of 4 or 8 steps there is next to nothing to skip.",
    "4～8ステップの蒸留モデルや高速化LoRAでは、省けるステップがほとんどありません。",
    "使用 4 到 8 步的蒸馏模型或加速 LoRA 时，几乎没有可以跳过的步。",
)
EDIT = Words(
    "Load the picture that shall be changed, and say what shall change and what shall stay.",
    "変更したい画像を読み込み、何を変えて何を残すかを書いてください。",
    "载入要修改的图片，写明改什么、保留什么。",
)


def model_workflow(name: str, about: str, curve: str, *hints: Words, published: bool = False) -> Workflow:
    """A workflow for one model, with MagCache Auto or with the published settings."""
    title = f"{name} with MagCache" + (", published settings" if published else "")
    nodes = ("MagCache",) * len(AUTO) if published else AUTO
    lora = Words(*(text.format(node=node) for text, node in zip(LORA, nodes, strict=True)))
    return Workflow(title, name, about, (lora, *hints), curve, published)


def magcache(flow: Workflow, group: Group, model: Node) -> Node:
    """The MagCache node of `flow` on `model`: twice as fast, or with the settings that are published for its curve."""
    if not flow.published:
        return group.add("MagCacheAuto", model=model, speedup=2.0)
    preset = load_curve(flow.curve).preset
    assert preset is not None, f"{flow.curve} has no published settings"
    return group.add(
        "MagCache", model=model, model_type=flow.curve,
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
