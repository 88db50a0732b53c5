"""The small models inside a real ComfyUI, in this process: with its own samplers, loader and cache nodes, and with ours."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.small.loop import Outcome
from benchmarks.small.models import IMAGE, SmallModel
from magcache.reports.run_report import RunReport
from magcache.server.launch import fetch_comfyui


@dataclass(frozen=True, slots=True)
class Setting:
    """How a picture is sampled. Fields are those of ComfyUI's KSampler."""

    steps: int
    guidance: float
    sampler: str = "euler"
    scheduler: str = "simple"
    shift: float = 3.0


def start_comfyui(folder: Path | None = None) -> None:
    """Make ComfyUI importable and keep it quiet. Once a process, before anything of ComfyUI is imported."""
    sys.path.insert(0, str(folder or fetch_comfyui("0.30.0")))
    import comfy.cli_args

    comfy.cli_args.args.cpu = not torch.cuda.is_available()
    comfy.cli_args.args.use_pytorch_cross_attention = True
    import utils.install_util  # noqa: F401  ComfyUI's own `utils`, before its comfy/utils.py can take the name.

    logging.getLogger().setLevel(logging.ERROR)


class Host:
    """One small model, loaded by ComfyUI's stock loader. Calibrations go to `curves` and nowhere else."""

    def __init__(self, small: SmallModel, curves: Path) -> None:
        import comfy.sd
        import folder_paths

        self.small = small
        self.loaded = comfy.sd.load_diffusion_model(str(small.checkpoint))
        curves.mkdir(parents=True, exist_ok=True)
        folder_paths.folder_names_and_paths["magcache"] = ([str(curves)], {".json"})

    def model(self, shift: float) -> Any:
        """The plain model with its schedule shifted, as the nodes ModelSamplingAuraFlow and ModelSamplingSD3 do it."""
        from comfy_extras.nodes_model_advanced import ModelSamplingAuraFlow, ModelSamplingSD3

        if self.small is IMAGE:  # ModelSamplingSD3 would multiply Flux's timestep by 1000.
            return ModelSamplingAuraFlow().patch_aura(self.loaded, shift)[0]
        return ModelSamplingSD3().patch(self.loaded, shift)[0]

    def sigmas(self, setting: Setting) -> list[float]:
        """Falling, with the closing 0."""
        import comfy.samplers

        sampling = self.model(setting.shift).get_model_object("model_sampling")
        return comfy.samplers.calculate_sigmas(sampling, setting.scheduler, setting.steps).tolist()

    @torch.inference_mode()
    def sample(self, model: Any, prompt: str, noise: torch.Tensor, setting: Setting) -> Outcome:
        """What KSampler does with `model`. `noise` (1, channels, …) stands for the seed."""
        import comfy.sample

        with self._counted() as rows:
            latents = comfy.sample.sample(
                model, noise, setting.steps, setting.guidance, setting.sampler, setting.scheduler,
                self._conditioning(prompt), self._conditioning(""), torch.zeros_like(noise), disable_pbar=True, seed=0,
            )  # fmt: skip
        branches = 1 if setting.guidance == 1 else 2
        return Outcome(self.loaded.model.latent_format.process_in(latents), rows[0] / branches)

    def _conditioning(self, prompt: str) -> list[list[Any]]:
        text = self.small.encode([prompt])
        return [[text["tokens"], {"pooled_output": text["pooled"]} if "pooled" in text else {}]]

    @contextmanager
    def _counted(self) -> Iterator[list[int]]:
        """How many rows went through the last block."""
        transformer, rows = self.loaded.model.diffusion_model, [0]
        last = (transformer.single_blocks if self.small is IMAGE else transformer.blocks)[-1]

        def count(_: torch.nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
            rows[0] += (arguments[0] if arguments else next(iter(named.values()))).shape[0]

        handle = last.register_forward_pre_hook(count, with_kwargs=True)
        try:
            yield rows
        finally:
            handle.remove()


def with_magcache(model: Any, outline: Any) -> tuple[Any, list[RunReport]]:
    """`model` with MagCache going by `outline`, and the reports of its runs."""
    from magcache.comfyui.patch import MagCachePatch

    reports: list[RunReport] = []
    return MagCachePatch(outline, lambda report, _: reports.append(report)).attach(model), reports


def with_copied_input(model: Any) -> Any:
    """`model`, whose transformer gets a copy of the latent.

    In float32 ComfyUI hands the sampler's own latent on, and EasyCache adds its residual to that in place.
    """
    from comfy.patcher_extension import WrappersMP

    model = model.clone()
    model.add_wrapper_with_key(
        WrappersMP.DIFFUSION_MODEL, "copied_input", lambda executor, x, *rest, **named: executor(x.clone(), *rest, **named)
    )
    return model
