"""The results of `benchmarks.quality` as a table and as a picture."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import matplotlib.pyplot as plt

from benchmarks.quality_methods import IN_DIFFUSERS, OURS, PLAIN, RULE

_STYLES = {OURS: ("#d62728", 2.6), IN_DIFFUSERS: ("#ffd5d5", 1.0), PLAIN: ("#222222", 1.8), RULE: ("#1f77b4", 1.8)}
"""Colour and line width of the methods that stand out. The same planner in two hosts gives one line upon the other."""
_OTHERS = [*plt.colormaps["tab20"].colors[1:6], *plt.colormaps["tab20"].colors[8:], "#000080", "#808000"]  # type: ignore[attr-defined]
"""Colours that none of those has, enough for every other method."""
_LOWEST_DB = 15
"""The figure starts at this PSNR: a picture below it has nothing in common with its reference."""


def write(models: dict[str, Any], folder: Path) -> None:
    """Write `quality.md` and `quality.png` into `folder`."""
    (folder / "quality.md").write_text("\n".join(_lines(models)) + "\n", encoding="utf-8")
    names = list(dict.fromkeys(name for model in models.values() for name in _by_method(model)))
    others = zip((name for name in names if name not in _STYLES), itertools.cycle(_OTHERS))
    looks = {**_STYLES, **{name: (colour, 1.0) for name, colour in others}}
    figure, rows = plt.subplots(len(models), 2, figsize=(12, 4.6 * len(models)), squeeze=False, layout="constrained")
    for axes, (name, model) in zip(rows, models.items(), strict=True):
        for axis, (title, value) in zip(axes, (("mean", fmean), ("worst prompt", min)), strict=True):
            for method, scores in _by_method(model).items():
                colour, width = looks[method]
                points = sorted((score["nfe"], value(score["psnr"])) for score in scores)
                axis.plot(*zip(*points, strict=True), "o-", label=method, color=colour, linewidth=width, markersize=3 + width)
            axis.set(title=f"{name}: {title}", xlabel=f"evaluations of {model['setting']['steps']}", ylabel="PSNR to sampling in full, dB")
            axis.set_ylim(bottom=_LOWEST_DB)
            axis.grid(alpha=0.25)
    handles = {line.get_label(): line for axis in rows.flat for line in axis.lines}
    figure.legend(handles.values(), handles.keys(), fontsize=8, loc="outside right upper")
    figure.savefig(folder / "quality.png", dpi=110)
    plt.close(figure)


def _by_method(model: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The scores of a model by the name of their method."""
    methods: dict[str, list[dict[str, Any]]] = {}
    for score in model["scores"]:
        methods.setdefault(score["method"], []).append(score)
    return methods


def _lines(models: dict[str, Any]) -> Iterator[str]:
    """The lines of the page."""
    yield "# Quality at an equal number of evaluations"
    yield ""
    yield "Measured by `python -m benchmarks.quality`. PSNR in dB to sampling in full, mean / worst prompt;"
    yield "the number of evaluations where it is not the one of the column. What a peer could not reach is left empty. The figure"
    yield f"(`quality.png`) leaves out what lies below {_LOWEST_DB} dB."
    for name, model in models.items():
        setting = model["setting"]
        targets = sorted({score["target"] for score in model["scores"]}, reverse=True)
        yield ""
        yield f"## {name}: {setting['steps']} steps, guidance {setting['guidance']}, {len(model['prompts'])} prompts ({model['date']})"
        for title, key, digits in (("PSNR, dB", "psnr", 1), ("SSIM", "ssim", 3), ("relative error of the latents", "latent_error", 3)):
            yield ""
            yield f"| {title} | " + " | ".join(f"{target} ({setting['steps'] / target:.2g}×)" for target in targets) + " |"
            yield "| --- |" + " --- |" * len(targets)
            for method, scores in _by_method(model).items():
                cells = {score["target"]: _cell(score, key, digits) for score in scores}
                yield f"| {method} | " + " | ".join(cells.get(target, "") for target in targets) + " |"
        yield ""
        yield "Settings: " + "; ".join(
            f"{method}: " + ", ".join(score["setting"] for score in scores) for method, scores in _by_method(model).items()
        )


def _cell(score: dict[str, Any], key: str, digits: int) -> str:
    """Mean and worst prompt, and the number of evaluations where it differs from that of the column."""
    worst = max(score[key]) if key == "latent_error" else min(score[key])
    text = f"{fmean(score[key]):.{digits}f} / {worst:.{digits}f}"
    return text if abs(score["nfe"] - score["target"]) < 0.05 else f"{text} ({score['nfe']:.1f})"
