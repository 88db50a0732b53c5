"""Load a pipeline: the real one, or a small random one."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping
from typing import Any

import torch

from .model import Model, prompts
from .settings import Settings
from .trial import trial_pipeline, trial_text
from .weights import BASE, VISION, Weights, WeightsError

_library: Any = importlib.import_module("diffusers")
_transformers: Any = importlib.import_module("transformers")


def load(weights: Weights, base: str = BASE, vision: str = VISION, forward: bool | None = None) -> Model:
    """The pipeline of these weights, in main memory. Raises `WeightsError`.

    `base` has the text encoders and the VAE, `vision` the encoder of the pictures; both are ignored if the weights are a whole
    pipeline. `forward` says whether it is F1; by default its name says it.
    """
    device = _device()
    dtypes = _dtypes(device)
    try:
        pipe = _whole(weights.place, dtypes) if weights.whole else _parts(weights.place, base, vision, dtypes)
    except Exception as error:
        logging.getLogger(__name__).debug("The weights cannot be loaded", exc_info=True)
        raise WeightsError(f"The weights of {weights.place} cannot be loaded. {type(error).__name__}: {error}") from None
    pipe.set_progress_bar_config(disable=True)
    forward = weights.looks_like_f1 if forward is None else forward
    return Model(f"{'FramePack F1' if forward else 'FramePack'} · {weights.place}", pipe, device, prompts, forward)


def load_trial(folder: str, forward: bool = False) -> Model:
    """The small random pipeline. `folder` holds its calibrations, which nobody wants to keep."""
    return Model("a small FramePack with random weights", trial_pipeline(), "cpu", _trial_text, forward, trial=True, folder=folder)


def _whole(place: str, dtypes: Mapping[str, torch.dtype]) -> Any:
    return _library.HunyuanVideoFramepackPipeline.from_pretrained(place, torch_dtype=dict(dtypes))


def _parts(place: str, base: str, vision: str, dtypes: Mapping[str, torch.dtype]) -> Any:
    transformer = _library.HunyuanVideoFramepackTransformer3DModel.from_pretrained(place, torch_dtype=dtypes["transformer"])
    extractor = _transformers.SiglipImageProcessor.from_pretrained(vision, subfolder="feature_extractor")
    encoder = _transformers.SiglipVisionModel.from_pretrained(vision, subfolder="image_encoder", torch_dtype=dtypes["default"])
    return _library.HunyuanVideoFramepackPipeline.from_pretrained(
        base, transformer=transformer, feature_extractor=extractor, image_encoder=encoder, torch_dtype=dtypes["default"]
    )


def _device() -> str:
    return importlib.import_module("diffusers.utils.torch_utils").get_device()


def _dtypes(device: str) -> dict[str, torch.dtype]:
    """Those that the weights are published in; a processor is faster, and exact, with 32 bits."""
    if device == "cpu":
        return {"transformer": torch.float32, "default": torch.float32}
    return {"transformer": torch.bfloat16, "default": torch.float16}


def _trial_text(settings: Settings) -> dict[str, Any]:
    negative = trial_text(settings.negative_prompt, "negative_") if settings.true_cfg_scale > 1 else {}
    return {**trial_text(settings.prompt), **negative}
