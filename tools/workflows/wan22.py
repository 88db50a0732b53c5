"""Workflows for Wan2.2, which has two expert models, each with a MagCache node of its own."""

from __future__ import annotations

from dataclasses import dataclass

from tools.workflows import models
from tools.workflows.graph import ModelFile, Node, Value, Words, Workflow
from tools.workflows.parts import magcache, model_workflow, save_video
from tools.workflows.video import UNWANTED

_STEPS = 30
"""Of which each expert has at least 10: fewer are not measured."""
_SWITCH = Words(
    "Each expert has its own node. The low noise expert takes over at step {switch} of {steps}, where sigma falls below {boundary}: when "
    "you change the number of steps or the shift, move that step in both samplers.",
    "2つのエキスパートにはそれぞれノードがあります。低ノイズのエキスパートは{steps}ステップ中のステップ{switch}"
    "（シグマが{boundary}を下回る所）から引き継ぎます。ステップ数やshiftを変えたら、両方のサンプラーでこのステップも変えてください。",
    "两个专家模型各有一个节点。低噪声专家从 {steps} 步中的第 {switch} 步（sigma 低于 {boundary} 处）接手：更改步数或 shift 后，"
    "请在两个采样器中同时调整这一步。",
)


@dataclass(frozen=True, slots=True)
class _Experts:
    """The settings of Wan's authors for a pair of experts. `switch` is the first step of the second expert with them."""

    high: ModelFile
    low: ModelFile
    shift: float
    switch: int
    boundary: float
    """The sigma below which the low noise expert samples."""
    guidance: tuple[float, float]


_T2V = _Experts(models.WAN22_T2V_HIGH, models.WAN22_T2V_LOW, shift=12.0, switch=19, boundary=0.875, guidance=(4.0, 3.0))
_I2V = _Experts(models.WAN22_I2V_HIGH, models.WAN22_I2V_LOW, shift=5.0, switch=11, boundary=0.9, guidance=(3.5, 3.5))


def wan22_t2v(published: bool) -> Workflow:
    flow = model_workflow("Wan2.2 T2V", "text to video, two experts", "wan2.2_t2v_14B", _hint(_T2V), published=published)
    high, low, clip, vae = _models(flow, _T2V)
    text = (
        "A glassblower turns a glowing bubble at the end of a long pipe; sparks fall, the bubble grows and cools from orange to amber. "
        "The camera moves in slowly, the dark workshop behind stays out of focus"
    )
    positive, negative = _prompts(flow, clip, text)
    latent = flow.group("Size").add("EmptyHunyuanLatentVideo", width=832, height=480, length=81)
    _finish(flow, _T2V, (high, low), positive, negative, latent, vae, "wan2.2_t2v")
    return flow


def wan22_i2v(published: bool) -> Workflow:
    flow = model_workflow("Wan2.2 I2V", "image to video, two experts", "wan2.2_i2v_14B", _hint(_I2V), published=published)
    high, low, clip, vae = _models(flow, _I2V)
    image = flow.group("First frame").add("LoadImage", image="example.png")
    text = "The camera moves slowly around the subject, light and shadows wander over it, leaves and cloth move in a gentle wind."
    positive, negative = _prompts(flow, clip, text)
    start = flow.group("Size").add(
        "WanImageToVideo", positive=positive, negative=negative, vae=vae, start_image=image, width=832, height=480, length=81
    )
    _finish(flow, _I2V, (high, low), start["positive"], start["negative"], start["latent"], vae, "wan2.2_i2v")
    return flow


def _hint(experts: _Experts) -> Words:
    return Words(*(text.format(switch=experts.switch, steps=_STEPS, boundary=experts.boundary) for text in _SWITCH))


def _models(flow: Workflow, experts: _Experts) -> tuple[Node, Node, Node, Node]:
    """The high and the low noise expert with MagCache, the text encoder and the VAE."""
    load = flow.group("Experts")
    files = {"high noise": experts.high, "low noise": experts.low}
    loaded = {name: load.add("UNETLoader", title=f"Load the {name} expert", unet_name=file) for name, file in files.items()}
    ready: list[Node] = []
    for name, model in loaded.items():
        speed = flow.group(f"MagCache, {name}")
        model = magcache(flow, speed, model)
        ready.append(speed.add("ModelSamplingSD3", model=model, shift=experts.shift))
    others = flow.group("Text encoder and VAE")
    clip = others.add("CLIPLoader", clip_name=models.WAN_TEXT, type="wan")
    return ready[0], ready[1], clip, others.add("VAELoader", vae_name=models.WAN_VAE)


def _prompts(flow: Workflow, clip: Node, text: str) -> tuple[Node, Node]:
    prompt = flow.group("Prompt")
    positive = prompt.add("CLIPTextEncode", clip=clip, text=text)
    return positive, prompt.add("CLIPTextEncode", title="Negative prompt", clip=clip, text=UNWANTED)


def _finish(
    flow: Workflow, experts: _Experts, models: tuple[Node, Node], positive: Value, negative: Value, latent: Value, vae: Node, name: str
) -> None:
    high, low = models
    latent = flow.group("Sampling, high noise").add(
        "KSamplerAdvanced", title="High noise", model=high, positive=positive, negative=negative, latent_image=latent,
        add_noise="enable", noise_seed=22, steps=_STEPS, cfg=experts.guidance[0], sampler_name="euler", scheduler="simple",
        start_at_step=0, end_at_step=experts.switch, return_with_leftover_noise="enable",
    )  # fmt: skip
    latent = flow.group("Sampling, low noise").add(
        "KSamplerAdvanced", title="Low noise", model=low, positive=positive, negative=negative, latent_image=latent,
        add_noise="disable", noise_seed=0, control_after_generate="fixed", steps=_STEPS, cfg=experts.guidance[1],
        sampler_name="euler", scheduler="simple", start_at_step=experts.switch, end_at_step=10000, return_with_leftover_noise="disable",
    )  # fmt: skip
    video = flow.group("Video")
    save_video(video, video.add("VAEDecode", samples=latent, vae=vae), 16, name)
