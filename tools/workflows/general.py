"""Workflows that are not made for one model, and the one that needs no files."""

from __future__ import annotations

from tools.workflows import models
from tools.workflows.graph import Group, Node, Value, Words, Workflow
from tools.workflows.parts import save_picture

_OWN_MODEL = Words(
    "Use your own model: choose another checkpoint, or put your loaders and LoRAs in its place, and set steps, CFG and size for it.",
    "お使いのモデルに替えるには、別のチェックポイントを選ぶか、ローダーとLoRAを差し替え、ステップ数、CFG、サイズをモデルに合わせてください。",
    "换成自己的模型：选择另一个检查点，或换上自己的加载器和 LoRA，并按模型设置步数、CFG 和尺寸。",
)
_COMPARE = Words(
    "The same seed is sampled without and with MagCache. *MagCache Compare* tells how close the results are (PSNR, SSIM; higher is "
    "closer), *MagCache Report* which steps were computed and how long they took. **Run it twice**: after the first run both are the same.",
    "同じシードで、MagCacheなしとありの両方を生成します。*MagCache 比較*は結果の近さ（PSNR、SSIM。高いほど近い）を、"
    "*MagCache レポート*は計算したステップと所要時間を示します。**2回実行してください**。1回目の結果は両方とも同じです。",
    "用同一个种子分别在不使用和使用 MagCache 时采样。*MagCache 对比* 显示两者有多接近（PSNR、SSIM，越高越接近），"
    "*MagCache 报告* 显示计算了哪些步、用了多长时间。**请运行两次**：第一次运行后两者相同。",
)
_RUN_TWICE = Words("**Run it twice** and compare the times.", "**2回実行して**、時間を比べてください。", "**请运行两次**，比较所用时间。")
_PROMPTS = Words(
    "Prompts are a subject on a ground, such as *an owl on night* or *a cupcake on rose*: 40 subjects (fox, panda, tiger, pizza, …), "
    "grounds mint, sky, rose, night, sand and lilac.",
    "プロンプトは*an owl on night*や*a cupcake on rose*のように英語で「題材 on 背景」と書きます。題材は40種（fox、panda、tiger、"
    "apple、pizzaなど）、背景はmint、sky、rose、night、sand、lilacです。",
    "提示词用英文写成“题材 on 背景”，如 *an owl on night*、*a cupcake on rose*。题材有 40 种（fox、panda、tiger、apple、pizza 等），"
    "背景有 mint、sky、rose、night、sand、lilac。",
)
_SAVED = Words(
    "Run it once with the model, the LoRAs and about the number of steps that you use. The curve is saved in `models/magcache` under a "
    "name made from the model, and *MagCache* and *MagCache Auto* take it for this model from then on. Switch `average` on to let several "
    "prompts count.",
    "お使いのモデルとLoRA、普段と同じくらいのステップ数で1回実行してください。カーブはモデルから作った名前で`models/magcache`に"
    "保存され、以後は*MagCache*と*MagCache 自動*がこのモデルに使います。「平均する」をオンにすると、複数のプロンプトの平均になります。",
    "用你的模型、LoRA 和平常的步数运行一次。曲线以取自模型的名称保存在 `models/magcache` 中，此后 *MagCache* 和 *MagCache 自动* "
    "会对该模型使用它。打开“取平均”可对多个提示词取平均。",
)
_TEXT = (
    "A small observatory on a rocky island under the Milky Way, its dome half open, a warm lamp behind the only window, "
    "calm sea, long exposure photograph"
)
_STEPS = 28


def any_model() -> Workflow:
    flow = Workflow("Any model with MagCache", "Any model", "at twice the speed", (_OWN_MODEL,))
    model, clip, vae = _load(flow)
    model = flow.group("MagCache").add("MagCacheAuto", model=model, speedup=2.0)
    positive, negative = _prompt(flow, clip)
    _draw(flow, model, positive, negative, vae, seed=2, name="twice_the_speed")
    return flow


def calibrate_any_model() -> Workflow:
    flow = Workflow("Calibrate any model for MagCache", "Calibrate", "measures any model once", (_SAVED, _OWN_MODEL))
    model, clip, vae = _load(flow)
    model = flow.group("MagCache").add("MagCacheCalibration", model=model)
    positive, negative = _prompt(flow, clip)
    _draw(flow, model, positive, negative, vae, seed=1, name="calibration")
    return flow


def compare() -> Workflow:
    flow = Workflow("Any model, with and without MagCache", "With and without", "comparison and report", (_COMPARE, _OWN_MODEL))
    plain, clip, vae = _load(flow)
    cached = flow.group("MagCache").add("MagCacheAuto", model=plain, speedup=2.0)
    positive, negative = _prompt(flow, clip)
    both = flow.group("For both")
    size = both.add("EmptySD3LatentImage", width=1024, height=1024)
    seed = _seed(both, 3)
    pictures: list[Node] = []
    for title, model in (("Without MagCache", plain), ("With MagCache", cached)):
        sample = flow.group(title)
        latent = _sample(sample, model, positive, negative, size, seed)
        pictures.append(sample.add("VAEDecode", samples=latent, vae=vae))
    _show(flow, cached, pictures)
    return flow


def demo() -> Workflow:
    flow = Workflow("MagCache demo, no download", "Demo", "nothing to download", (_RUN_TWICE, _PROMPTS))
    plain, positive, negative = _load_demo(flow)
    model = flow.group("MagCache").add("MagCacheAuto", model=plain, speedup=2.0)
    sample = flow.group("Sampling")
    size = _demo_size(sample)
    pictures = _sample_demo(sample, model, positive, negative, size, seed=7)
    flow.group("Pictures").add("SaveImage", images=pictures, filename_prefix="MagCache/demo")
    return flow


def demo_compare() -> Workflow:
    flow = Workflow("MagCache demo, with and without", "Demo", "with and without", (_COMPARE, _PROMPTS))
    plain, positive, negative = _load_demo(flow)
    cached = flow.group("MagCache").add("MagCacheAuto", model=plain, speedup=2.0)
    both = flow.group("For both")
    size = _demo_size(both)
    seed = _seed(both, 7, "fixed")
    pictures = [
        _sample_demo(flow.group(title), model, positive, negative, size, seed)
        for title, model in (("Without MagCache", plain), ("With MagCache", cached))
    ]
    _show(flow, cached, pictures)
    return flow


def _load_demo(flow: Workflow) -> tuple[Node, Node, Node]:
    """The demo's model, and the positive and the negative prompt."""
    load = flow.group("Model")
    model = load.add("UNETLoader", unet_name="magcache_demo_flux.safetensors")
    model = load.add("ModelSamplingAuraFlow", model=model, shift=3.0)
    prompt = flow.group("Prompt")
    return model, prompt.add("MagCacheDemoText", text="a fox on mint"), prompt.add("MagCacheDemoText", title="Negative prompt", text="")


def _demo_size(group: Group) -> Node:
    """Latents for 128 × 128 pixels: those of the demo's model stand for 4 × 4 where other models' stand for 8 × 8."""
    return group.add("EmptySD3LatentImage", width=256, height=256, batch_size=4)


def _sample_demo(group: Group, model: Node, positive: Node, negative: Node, size: Node, seed: Value) -> Node:
    """The pictures."""
    latent = group.add(
        "KSampler", model=model, positive=positive, negative=negative, latent_image=size,
        seed=seed, steps=_STEPS, cfg=2.5, sampler_name="euler", scheduler="simple",
    )  # fmt: skip
    return group.add("MagCacheDemoDecode", samples=latent)


def _load(flow: Workflow) -> tuple[Node, Value, Value]:
    """Model, text encoder and VAE."""
    loader = flow.group("Model").add("CheckpointLoaderSimple", ckpt_name=models.FLUX_ALL_IN_ONE)
    return loader, loader["CLIP"], loader["VAE"]


def _prompt(flow: Workflow, clip: Value) -> tuple[Node, Node]:
    """Nodes of the positive and the negative prompt."""
    prompt = flow.group("Prompt")
    text = prompt.add("CLIPTextEncode", clip=clip, text=_TEXT)
    return text, prompt.add("ConditioningZeroOut", conditioning=text)


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


def _seed(group: Group, first: int, after: str = "increment") -> Node:
    """One seed for both samplers, and what becomes of it after a run."""
    return group.add("PrimitiveInt", title="Seed", value=first, control_after_generate=after)


def _show(flow: Workflow, cached: Node, pictures: list[Node]) -> None:
    """Nodes that compare the pictures without and with MagCache, and report on the run of `cached`."""
    flow.group("Comparison").add("MagCacheCompare", reference=pictures[0], images=pictures[1])
    flow.group("Report").add("MagCacheReport", model=cached, after=pictures[1])
