"""One video: the pipeline is called, watched and stopped from outside."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps

from .. import diffusers as magcache
from ..reports.run_report import RunReport
from .model import Model
from .settings import Settings, Task

Frames = npt.NDArray[np.uint8]
"""(frames, height, width, 3), 0 to 255."""
_AT_A_TIME = 16
"""Frames that are turned into bytes at a time, because floats take four times the memory."""


class CancelledError(Exception):
    """The user does not want the video any more."""


class Watcher(Protocol):
    """What is told about a video in the making. Either may raise `CancelledError`."""

    def on_step(self, section: int, step: int) -> None:
        """`step` steps of a section are done; sections count from 0. The first call, when all begins, has 0 for both."""
        ...

    def on_section(self, section: int, frames: Frames) -> None:
        """A section is done; the frames are all that there are so far."""
        ...


@dataclass(frozen=True, slots=True)
class Clip:
    """A finished video."""

    frames: Frames
    seconds: float
    """From the beginning of the call of the pipeline to its end."""
    report: RunReport | None
    """None without MagCache."""


def generate(model: Model, task: Task, speedup: float, watcher: Watcher) -> Clip:
    """Make the video, at a speed-up of 1 without MagCache. Raises what the pipeline raises, and `CancelledError`."""
    pipe = model.pipe
    with _cache(model, speedup) as cache, _watched(pipe, watcher) as on_step:
        start = time.perf_counter()
        try:
            video = pipe(**_arguments(model, task), output_type="pt", callback_on_step_end=on_step).frames[0]
        except BaseException:
            pipe.maybe_free_model_hooks()  # It only gets that far by itself if nothing goes wrong.
            raise
        frames = _bytes(video.permute(0, 2, 3, 1), 0.0, 1.0)
        return Clip(frames, time.perf_counter() - start, cache and cache.report())


@contextmanager
def _cache(model: Model, speedup: float) -> Generator[Any, None, None]:
    with nullcontext() if speedup <= 1 else magcache.apply(model.pipe, speedup, folder=model.folder) as cache:
        yield cache


def _arguments(model: Model, task: Task) -> dict[str, Any]:
    settings: Settings = task.settings
    width, height = settings.dimensions(task.picture)
    return {
        "image": _fitted(task.picture, width, height),
        "last_image": task.last_picture and _fitted(task.last_picture, width, height),
        **model.text(settings),
        "true_cfg_scale": settings.true_cfg_scale,
        "guidance_scale": settings.guidance_scale,
        "width": width,
        "height": height,
        "num_frames": model.frames_to_ask_for(settings.seconds),
        "latent_window_size": model.window,
        "num_inference_steps": settings.steps,
        "generator": torch.Generator().manual_seed(settings.seed),  # On the processor: the same noise on every device.
        "sampling_type": model.sampling_type,
    }


def _fitted(picture: Image.Image, width: int, height: int) -> Image.Image:
    """Cut to the shape of the video; the pipeline would stretch it."""
    return ImageOps.fit(picture.convert("RGB"), (width, height), Image.Resampling.LANCZOS)


@contextmanager
def _watched(pipe: Any, watcher: Watcher) -> Generator[Callable[..., dict[str, Any]], None, None]:
    """Tell the watcher about steps and sections while this is open. Yields the callback for the pipeline's steps.

    The pipeline tells nobody of its sections. It decodes each of them and joins all but the first to those before, so the functions
    that do it are exchanged on the two objects for the time of a call.
    """
    section, decode, append = 0, pipe.vae.decode, pipe._soft_append

    def on_step(_pipe: Any, step: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        watcher.on_step(section, step + 1)
        return tensors

    def done(video: torch.Tensor) -> None:
        nonlocal section
        watcher.on_section(section, _bytes(video[0].permute(1, 2, 3, 0), -1.0, 1.0))
        section += 1

    def watched_decode(*arguments: Any, **options: Any) -> Any:
        out = decode(*arguments, **options)
        if not section:
            done(out[0])
        return out

    def watched_append(*arguments: Any, **options: Any) -> Any:
        video = append(*arguments, **options)
        done(video)
        return video

    with _exchanged(pipe.vae, "decode", watched_decode), _exchanged(pipe, "_soft_append", watched_append):
        watcher.on_step(0, 0)
        yield on_step


@contextmanager
def _exchanged(owner: Any, name: str, function: Callable[..., Any]) -> Generator[None, None, None]:
    """`function` in the place of a method of `owner`, and later as it was."""
    own = owner.__dict__.get(name)
    setattr(owner, name, function)
    try:
        yield
    finally:
        if own is None:
            del owner.__dict__[name]
        else:
            owner.__dict__[name] = own


def _bytes(video: torch.Tensor, low: float, high: float) -> Frames:
    """(frames, height, width, 3) from `low` to `high` -> 0 to 255, in main memory."""
    parts = [(part.float() - low) / (high - low) for part in video.split(_AT_A_TIME)]
    return np.concatenate([(part.clamp(0, 1) * 255).round().to("cpu", torch.uint8).numpy() for part in parts])
