"""Curves and settings as users of diffusers have them: lists of ratios and `MagCacheConfig`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..curves.curve import MagnitudeCurve
from ..curves.store import CurveStore
from ..errors import SettingsError
from ..runtime.modes import SpeedupMode, ThresholdMode
from ..runtime.run_setup import AUTO, RunFacts, RunSetup
from ..settings import Reuse, ThresholdSettings

if TYPE_CHECKING:
    from diffusers.hooks.mag_cache import MagCacheConfig

CurveChoice = str | os.PathLike[str] | MagnitudeCurve | Sequence[float]
"""`auto`, the name of a curve, the path of a curve file, a curve, or a list of magnitude ratios, one a step."""
_FOLDER = "MAGCACHE_CURVES"


def store_in(folder: str | os.PathLike[str] | None) -> CurveStore:
    """The curves in a folder: by default $MAGCACHE_CURVES, or else ~/.magcache/curves."""
    return CurveStore((Path(folder or os.environ.get(_FOLDER) or Path.home() / ".magcache" / "curves"),))


def chosen_curve(curve: CurveChoice) -> str | MagnitudeCurve | tuple[float, ...]:
    """A choice as `auto` or a name, a curve, or ratios. Raises `CurveError` for a file that is no curve."""
    if isinstance(curve, MagnitudeCurve):
        return curve
    if isinstance(curve, str) and (curve == AUTO or not curve.endswith(".json")):
        return curve
    return MagnitudeCurve.load(curve) if isinstance(curve, str | os.PathLike) else tuple(float(ratio) for ratio in curve)


@dataclass(frozen=True, slots=True)
class RatiosMode:
    """Skip with a list of ratios, one a step. It belongs to this schedule at as many steps as it has ratios."""

    ratios: tuple[float, ...]
    mode: SpeedupMode | ThresholdMode

    def setup(self, run: RunFacts, store: CurveStore) -> RunSetup:
        curve = self._curve(run)
        if isinstance(self.mode, SpeedupMode):
            mode = SpeedupMode(self.mode.speedup, curve, self.mode.reuse, self.mode.start_percent, self.mode.end_percent)
            return mode.setup(run, store)
        return ThresholdMode(curve, self.mode.settings).setup(run, store)

    def _curve(self, run: RunFacts) -> MagnitudeCurve:
        count = len(self.ratios)
        own = run.sigmas if count == len(run.sigmas) else tuple(run.sigma_at(step / count) for step in range(count))
        return MagnitudeCurve(
            name="given", family=run.family.name, sigmas=own, ratios={"cond": self.ratios}, provenance={"source": "a list of ratios"}
        )


def settings_of(config: MagCacheConfig) -> tuple[ThresholdSettings, tuple[float, ...] | Literal["auto"]]:
    """The settings and ratios of diffusers' configuration; `auto` where it has none. Raises `SettingsError`."""
    if config.calibrate:
        raise SettingsError("The MagCacheConfig has calibrate=True. Use magcache.diffusers.calibrate(pipe, …): it keeps what it measures.")
    settings = ThresholdSettings(threshold=config.threshold, max_skip=config.max_skip_steps, retention=config.retention_ratio)
    ratios = config.mag_ratios
    return settings, AUTO if ratios is None else tuple(float(ratio) for ratio in ratios)


def mag_cache_config(curve: MagnitudeCurve, steps: int | None = None, settings: ThresholdSettings | None = None) -> MagCacheConfig:
    """A curve as the configuration of diffusers' own hook, for a run of `steps` steps; by default for as many as were measured.

    `settings` are by default those recommended for the model, or else the published ones.
    """
    from diffusers.hooks.mag_cache import MagCacheConfig

    steps = steps or curve.steps
    chosen = settings or curve.preset or ThresholdSettings()
    branch = "cond" if "cond" in curve.ratios else next(iter(curve.ratios))
    return MagCacheConfig(
        threshold=chosen.threshold,
        max_skip_steps=chosen.max_skip,
        retention_ratio=chosen.retention,
        num_inference_steps=steps,
        mag_ratios=list(curve.ratios_at(curve.sigmas_for(steps), branch)),
    )


def mode_of(
    speedup: float | None,
    settings: ThresholdSettings | None,
    curve: CurveChoice,
    reuse: Reuse | Literal["auto"],
    start: float,
    end: float,
    store: CurveStore,
) -> SpeedupMode | ThresholdMode | RatiosMode:
    """The mode that settings mean: a speed-up unless settings of the published rule are given. Raises `UnknownCurveError`."""
    found = chosen_curve(curve)
    name = AUTO if isinstance(found, tuple) else found
    if isinstance(name, str) and name != AUTO:
        store.load(name, 0)
    mode = SpeedupMode(speedup or 0.0, name, reuse, start, end) if settings is None else ThresholdMode(name, settings)
    return RatiosMode(found, mode) if isinstance(found, tuple) else mode
