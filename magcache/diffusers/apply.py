"""Put MagCache on a pipeline of diffusers, or on a single transformer, and take it off."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any, Literal, get_args

from torch import nn

from ..errors import MagCacheError, SettingsError
from ..reports.run_report import RunReport
from ..settings import CacheDevice, Reuse, ThresholdSettings
from .cache import StepCache
from .curves import CurveChoice, mode_of, settings_of, store_in
from .other_caches import other_cache_on
from .seat import seat_of

if TYPE_CHECKING:
    from diffusers.hooks.mag_cache import MagCacheConfig

_MODELS = ("transformer", "transformer_2", "unconditional_transformer", "unet")
"""Names of the components that a pipeline calls once a step or more."""


def apply(
    target: Any,
    speedup: float | None = None,
    *,
    threshold: float | None = None,
    max_skip: int | None = None,
    retention: float | None = None,
    curve: CurveChoice = "auto",
    reuse: Reuse | Literal["auto"] = "auto",
    start: float = 0.0,
    end: float = 1.0,
    config: MagCacheConfig | None = None,
    guidance: float | None = None,
    scheduler: Any = None,
    cache_device: CacheDevice = "auto",
    folder: str | os.PathLike[str] | None = None,
) -> StepCache:
    """Make a pipeline faster, in place of an earlier MagCache on it. Returns what reports and removes it.

    `target` is a pipeline, or one transformer together with the `scheduler` that runs it. By `speedup` (steps per computed step; 1 is
    off, by default what was tuned for the model, or else 2) the steps are chosen that cost the least; a model that was never calibrated
    is calibrated by its first run, which skips nothing. `threshold`, `max_skip` and `retention` instead give the published rule, and so
    does `config`, diffusers' own configuration. Only steps between the fractions `start` and `end` of the schedule are skipped.

    `guidance` is the CFG scale of the calls, for pipelines that do not tell it: those of "true CFG" (`true_cfg_scale`).

    `curve` is `auto`, a name, a file, a curve, or a list of ratios. `folder` holds your calibrations; by default $MAGCACHE_CURVES or
    ~/.magcache/curves; ComfyUI's models/magcache serves as well. Residuals are kept on `cache_device`.

    Raises `SettingsError`, `CurveError`, `UnknownCurveError` and `MagCacheError`, for example if another cache is on a model.
    """
    settings = _settings(speedup, threshold, max_skip, retention, config)
    if config is not None and curve == "auto":
        curve = settings_of(config)[1]
    _check(speedup, reuse, start, end, cache_device)
    models = models_of(target)
    pipe = None if isinstance(target, nn.Module) else target
    if pipe is None and scheduler is None:
        raise MagCacheError(
            f"apply() was given a {type(target).__name__} alone. Give it the scheduler that runs it as well (scheduler=…), or the pipeline."
        )
    for name, model in models.items():
        if (other := other_cache_on(model)) is not None:
            raise MagCacheError(f"{other} is on the {name} already. Disable it before apply(): two caches spoil each other's pictures.")
    off = speedup == 1 or (settings is not None and settings.off)
    store = store_in(folder)
    mode = None if off else mode_of(speedup, settings, curve, reuse, start, end, store)
    return StepCache(pipe, models, scheduler, mode, store, cache_device, guidance)


def remove(target: Any) -> None:
    """Take MagCache off a pipeline or a transformer. Without one on it, nothing happens."""
    for model in models_of(target).values():
        seat = seat_of(model)
        if seat is not None and isinstance(seat.listener, StepCache):
            seat.listener.remove()


def report(target: Any) -> RunReport:
    """What happened in the last call of a pipeline. Raises `MagCacheError` if MagCache is not on it or nothing has run."""
    for name, model in models_of(target).items():
        seat = seat_of(model)
        if seat is not None and isinstance(seat.listener, StepCache):
            return seat.listener.report()
        if seat is None:
            raise MagCacheError(f"MagCache is not on the {name}. Call apply() first; again, if the {name} was exchanged since then.")
    raise MagCacheError("MagCache is not on this model. Call apply() first.")


def models_of(target: Any) -> dict[str, nn.Module]:
    """The models of a pipeline that MagCache can be on, by name; a single model is called `transformer`."""
    if isinstance(target, nn.Module):
        return {_MODELS[0]: target}
    found = {name: getattr(target, name, None) for name in _MODELS}
    models = {name: model for name, model in found.items() if isinstance(model, nn.Module)}
    if not models:
        raise MagCacheError(
            f"A {type(target).__name__} has no model that MagCache could skip; expected a pipeline with one of: {', '.join(_MODELS)}."
        )
    return models


def _settings(
    speedup: float | None, threshold: float | None, max_skip: int | None, retention: float | None, config: MagCacheConfig | None
) -> ThresholdSettings | None:
    """The settings of the published rule; None if it is not asked for."""
    given = {"threshold": threshold, "max_skip": max_skip, "retention": retention}
    chosen = {name: value for name, value in given.items() if value is not None}
    if sum((speedup is not None, bool(chosen), config is not None)) > 1:
        raise SettingsError("Give either a speedup, or threshold, max_skip and retention, or a config; they exclude each other.")
    if config is not None:
        return settings_of(config)[0]
    return ThresholdSettings(**chosen) if chosen else None  # pyright: ignore[reportArgumentType] - each has its own type


def _check(speedup: float | None, reuse: str, start: float, end: float, cache_device: str) -> None:
    if speedup is not None and not (math.isfinite(speedup) and 1 <= speedup <= 100):
        raise SettingsError(f"The speed-up is {speedup}; it must be from 1 (off) to 100, usually 1.5 to 3.")
    if reuse not in ("auto", *get_args(Reuse)):
        raise SettingsError(f"reuse is {reuse!r:.60}; expected auto, {', '.join(get_args(Reuse))}.")
    if not 0 <= start <= end <= 1:
        raise SettingsError(f"start and end are {start} and {end}; they must lie in 0 to 1, start before end.")
    if cache_device not in get_args(CacheDevice):
        raise SettingsError(f"cache_device is {cache_device!r:.60}; expected one of {', '.join(get_args(CacheDevice))}.")
