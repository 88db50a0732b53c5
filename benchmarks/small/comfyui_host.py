"""The small models in a real ComfyUI within this process, with its loader, samplers and cache nodes, and with MagCache."""

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
from benchmarks.small.models import SmallModel
from magcache.reports.run_report import RunReport
from magcache.runtime.run_setup import Mode
from magcache.server.launch import NEWEST, fetch_comfyui


@dataclass(frozen=True, slots=True)
class SamplingSetting:
    """How a picture or video is sampled: inputs of ComfyUI's KSampler, and the shift of the schedule."""

    steps: int
    guidance: float
    sampler: str = "euler"
    scheduler: str = "simple"
    shift: float = 3.0


def start_comfyui(folder: Path | None = None) -> None:
    """Make ComfyUI importable and log errors only. Call it once a process, before anything of ComfyUI is imported."""
    sys.path.insert(0, str(folder or fetch_comfyui(NEWEST)))
    import comfy.cli_args

    comfy.cli_args.args.cpu = not torch.cuda.is_available()
    comfy.cli_args.args.use_pytorch_cross_attention = True
    import utils.install_util  # noqa: F401  ComfyUI's own `utils`, before its comfy/utils.py can take the name.

    logging.getLogger().setLevel(logging.ERROR)


class Host:
    """One small model, loaded by ComfyUI's stock loader. `curves` becomes the only folder of MagCache's curves."""

    def __init__(self, small: SmallModel, curves: Path) -> None:
        import comfy.sd
        import folder_paths

        self.small = small
        self.curves = curves
        self.loaded = comfy.sd.load_diffusion_model(str(small.checkpoint))
        curves.mkdir(parents=True, exist_ok=True)
        folder_paths.folder_names_and_paths["magcache"] = ([str(curves)], {".json"})

    def model(self, shift: float) -> Any:
        """The plain model with its schedule shifted by the nodes ModelSamplingAuraFlow or ModelSamplingSD3."""
        from comfy_extras.nodes_model_advanced import ModelSamplingAuraFlow, ModelSamplingSD3

        if self.small.kind == "flux":  # ModelSamplingSD3 would multiply Flux's timestep by 1000.
            return ModelSamplingAuraFlow().patch_aura(self.loaded, shift)[0]
        return ModelSamplingSD3().patch(self.loaded, shift)[0]

    def sigmas(self, setting: SamplingSetting) -> list[float]:
        """Noise levels of a run, falling, one a step and the closing 0."""
        import comfy.samplers

        sampling = self.model(setting.shift).get_model_object("model_sampling")
        return comfy.samplers.calculate_sigmas(sampling, setting.scheduler, setting.steps).tolist()

    @torch.inference_mode()
    def sample(self, model: Any, prompt: str, noise: torch.Tensor, setting: SamplingSetting, sigmas: torch.Tensor | None = None) -> Outcome:
        """What the node KSampler does with `model`. `noise`, (1, channels, …), takes the place of its seed.

        `sigmas`, with the closing 0, take the place of those of the scheduler.
        """
        import comfy.sample

        with self._counted() as rows:
            latents = comfy.sample.sample(
                model, noise, setting.steps, setting.guidance, setting.sampler, setting.scheduler,
                self._conditioning(prompt), self._conditioning(""), torch.zeros_like(noise), sigmas=sigmas,
                disable_pbar=True, seed=0,
            )  # fmt: skip
        branches = 1 if setting.guidance == 1 else 2
        return Outcome(self.loaded.model.latent_format.process_in(latents), rows[0] / branches)

    def _conditioning(self, prompt: str) -> list[list[Any]]:
        text = self.small.encode([prompt])
        return [[text["tokens"], {"pooled_output": text["pooled"]} if "pooled" in text else {}]]

    @contextmanager
    def _counted(self) -> Iterator[list[int]]:
        """Within: the number of batch rows that went through the last block so far, in a list of one."""
        transformer, rows = self.loaded.model.diffusion_model, [0]
        last = (transformer.single_blocks if self.small.kind == "flux" else transformer.blocks)[-1]

        def count(_: torch.nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
            rows[0] += (arguments[0] if arguments else next(iter(named.values()))).shape[0]

        handle = last.register_forward_pre_hook(count, with_kwargs=True)
        try:
            yield rows
        finally:
            handle.remove()


def with_magcache(model: Any, mode: Mode) -> tuple[Any, list[RunReport]]:
    """A clone of `model` with MagCache in this mode, and a list to which the report of each finished run is added."""
    from magcache.comfyui.patch import MagCachePatch

    reports: list[RunReport] = []
    return MagCachePatch(mode, lambda report, _: reports.append(report)).attach(model), reports


def with_copied_input(model: Any) -> Any:
    """A clone of `model` whose transformer gets a copy of the latent.

    In float32 ComfyUI passes the sampler's own tensor to the transformer, and EasyCache adds its residual to that tensor in place.
    """
    from comfy.patcher_extension import WrappersMP

    model = model.clone()
    model.add_wrapper_with_key(
        WrappersMP.DIFFUSION_MODEL, "copied_input", lambda executor, x, *rest, **named: executor(x.clone(), *rest, **named)
    )
    return model
