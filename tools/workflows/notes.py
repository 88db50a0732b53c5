"""The note of each workflow: the files it needs, and in three languages what MagCache does in it and what to change."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from tools.workflows.graph import ModelFile, Words, Workflow
from tools.workflows.plans import WorkflowRun

_MEASURED = Words(
    "**MagCache Auto** is set to {asked:g}×. The first run measures the model: all {steps} steps are computed, nothing is faster yet. "
    "From the second run on the transformer runs at {computed} of the {steps} steps; the others reuse what earlier steps contributed. "
    "Higher `speedup` is faster, lower is closer to the full run, 1 switches MagCache off.",
    "**MagCache 自動**は{asked:g}倍速の設定です。最初の実行ではモデルを測定するため、{steps}ステップすべてを計算し、まだ速くなりません。"
    "2回目からは{steps}ステップのうち{computed}ステップだけを計算し、残りは前の結果を使い回します。「高速化倍率」を上げると速く、"
    "下げると通常の結果に近くなり、1でオフになります。",
    "**MagCache 自动** 设为 {asked:g} 倍速。首次运行会测量模型：{steps} 步全部计算，还不会变快。从第二次起，{steps} 步中只计算 "
    "{computed} 步，其余各步沿用之前的结果。“加速倍数”调高更快，调低更接近完整采样，设为 1 则关闭 MagCache。",
)
_PUBLISHED = Words(
    "**MagCache** has the settings that its authors published for this model: the transformer runs at {computed} of the {steps} steps, "
    "{speedup:.1f} times less work. Nothing is measured first. For more quality lower `magcache_thresh` or `magcache_K`, for more speed "
    "raise them; a threshold of 0 switches MagCache off.",
    "**MagCache**には、開発者がこのモデル向けに公開した値を設定してあります。{steps}ステップのうち{computed}ステップだけを計算し"
    "（計算量は{speedup:.1f}分の1）、事前の測定は要りません。品質を上げるには「MagCacheのしきい値」か「最大連続スキップ数」を下げ、速くするには上げます。"
    "しきい値0でオフになります。",
    "**MagCache** 使用其作者为该模型公布的设置：{steps} 步中只计算 {computed} 步（计算量为 1/{speedup:.1f}），无需事先测量。"
    "想要更高质量，调低“MagCache 阈值”或“最大连续跳步数”；想要更快则调高。阈值为 0 则关闭。",
)
_CALIBRATION = Words(
    "**MagCache Calibration** measures how the model's contribution changes over the {steps} steps. Nothing is skipped.",
    "**MagCache キャリブレーション**は、モデルの寄与が{steps}ステップの間にどう変わるかを測定します。ステップは省きません。",
    "**MagCache 校准** 测量模型的贡献在 {steps} 步中如何变化，不跳过任何一步。",
)
_SENTENCE_ENDS = Words(" ", "", "")
"""What stands between two sentences."""


def note(workflow: Workflow, runs: Sequence[WorkflowRun]) -> str:
    """The note as Markdown: the files once, then a paragraph in each language."""
    parts = (_plan(runs), *workflow.hints)
    paragraphs = (space.join(texts) for space, texts in zip(_SENTENCE_ENDS, zip(*parts, strict=True), strict=True))
    return f"# {workflow.title}\n\n" + "\n\n".join((_files(workflow), *paragraphs)) + "\n"


def _files(workflow: Workflow) -> str:
    """A paragraph with the files and their folders."""
    files = list(dict.fromkeys(workflow.files()))
    if not files:
        return "Nothing to download, no GPU needed. · ダウンロードもGPUも不要です。· 无需下载，也不需要 GPU。"
    folders = groupby(sorted(files, key=_folder), key=_folder)
    rows = [f"- `{folder}`: " + ", ".join(f"[{file.name}]({file.url})" for file in members) for folder, members in folders]
    return "\n".join(("**Files · ファイル · 文件**: `ComfyUI/models`", "", *rows))


def _plan(runs: Sequence[WorkflowRun]) -> Words:
    """What the MagCache nodes do, in all runs together."""
    guided = [run for run in runs if run.node]
    kinds = {run.node.kind for run in guided if run.node}
    steps, computed = sum(run.plan.steps for run in guided), sum(run.plan.nfe for run in guided)
    asked = next((run.node.inputs["speedup"] for run in guided if run.node and "speedup" in run.node.inputs), None)
    said = _MEASURED if "MagCacheAuto" in kinds else _PUBLISHED if "MagCache" in kinds else _CALIBRATION
    return Words(*(text.format(asked=asked, steps=steps, computed=computed, speedup=steps / computed) for text in said))


def _folder(file: ModelFile) -> str:
    return file.folder
