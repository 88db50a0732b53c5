"""Pictures of the small models: sampled in full, with MagCache, and plainly with as few steps as MagCache computes.

python -m benchmarks.samples
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import matplotlib.pyplot as plt
import numpy as np
import typer

from benchmarks.small.cases import BENCHES, Bench, make_cases, pictures
from benchmarks.small.comfyui_host import Host, start_comfyui, with_magcache
from magcache.planning.budget import evaluations_for
from magcache.runtime.calibration_mode import CalibrationMode
from magcache.runtime.modes import SpeedupMode

SPEEDUP = 2.5


def draw(bench: Bench, prompts: int) -> tuple[list[str], dict[str, list[np.ndarray]]]:
    """The prompts, and for each way of sampling one strip of frames, (height, frames · width, 3), a prompt."""
    tuning, cases = make_cases(bench.small, prompts)
    setting = bench.setting
    few = replace(setting, steps=evaluations_for(setting.steps, SPEEDUP))
    with tempfile.TemporaryDirectory() as folder:
        host = Host(bench.small, Path(folder))
        model = host.model(setting.shift)
        host.sample(with_magcache(model, CalibrationMode("auto", "own"))[0], tuning.prompt, tuning.noise, setting)
        cached = with_magcache(model, SpeedupMode(SPEEDUP, "own"))[0]
        ways = {f"all {setting.steps} steps": (model, setting), f"MagCache, {few.steps} evaluations": (cached, setting)}
        ways[f"plain, {few.steps} steps"] = model, few
        strips = {
            title: [np.hstack(list(pictures(bench.small, host.sample(used, case.prompt, case.noise, how)))) for case in cases]
            for title, (used, how) in ways.items()
        }
    return [case.prompt for case in cases], strips


def main(out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path(__file__).parent / "results") -> None:
    start_comfyui()
    out.mkdir(parents=True, exist_ok=True)
    for bench in BENCHES:
        prompts, strips = draw(bench, 6)
        long = next(iter(strips.values()))[0].shape[1] > 100
        rows, columns = (len(prompts), len(strips)) if long else (len(strips), len(prompts))
        figure, axes = plt.subplots(rows, columns, figsize=(4.6 * columns, 0.8 * rows) if long else (1.9 * columns, 2 * rows))
        for column, (title, drawn) in enumerate(strips.items()):
            for row, (prompt, strip) in enumerate(zip(prompts, drawn, strict=True)):
                axis = axes[row, column] if long else axes[column, row]
                axis.imshow(strip, interpolation="nearest")
                axis.set(xticks=[], yticks=[])
                if row == 0:
                    axis.set_title(title, fontsize=9) if long else axis.set_ylabel(title, fontsize=9)
                if column == 0:
                    axis.set_xlabel(prompt, fontsize=7) if long else axis.set_title(prompt, fontsize=7)
        figure.tight_layout(pad=0.4)
        figure.savefig(out / f"samples_{bench.name}.png", dpi=100)
        plt.close(figure)


if __name__ == "__main__":
    typer.run(main)
