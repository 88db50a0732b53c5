"""The other step caches, each in several settings, for the loop of `benchmarks.small.loop`.

Cond and uncond are separate forwards. diffusers' caches keep a state for each `cache_context` that the loop enters; cache-dit and Spectrum
tell the two apart by their order. All caches compute in float32 here.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
from diffusers.hooks import (
    FirstBlockCacheConfig,
    MagCacheConfig,
    TaylorSeerCacheConfig,
    apply_first_block_cache,
    apply_mag_cache,
    apply_taylorseer_cache,
)
from torch import nn

from benchmarks.small.loop import CacheRun, CacheSetting
from benchmarks.small.seacache import sea_cache
from benchmarks.small.spectrum import spectrum

RETENTION = 0.2
"""Fraction of the steps, from the first, that diffusers' MagCache never skips: its default."""
WARM_UP_STEPS = 3
"""Number of first steps that TaylorSeer computes: its default, and the least that order 2 needs."""
ATTENTION = r".*blocks\.\d+\.attn\d?"
"""The modules that TaylorSeer caches. Its default pattern means the same modules but misses Wan, whose attentions are numbered."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A cache and the settings that are tried."""

    name: str
    settings: tuple[CacheSetting, ...]
    """From the slowest to the fastest."""
    least_blocks: int = 1
    """The cache fails on a model with fewer blocks."""


def mag_cache(threshold: float, most: int) -> CacheSetting:
    """diffusers' MagCache, which skips at most `most` consecutive steps (K of the paper). The run must have ratios."""

    def attach(model: nn.Module, run: CacheRun) -> None:
        if not run.ratios:
            raise ValueError("diffusers' MagCache needs the model's ratios: measure_ratios() returns them.")
        config = MagCacheConfig(threshold, most, RETENTION, run.steps, list(run.ratios))
        apply_mag_cache(model, config)

    return CacheSetting(f"K {most}, threshold {threshold:g}", attach)


def first_block_cache(threshold: float) -> CacheSetting:
    """diffusers' FirstBlockCache, which has no warm-up."""

    def attach(model: nn.Module, _: CacheRun) -> None:
        apply_first_block_cache(model, FirstBlockCacheConfig(threshold))

    return CacheSetting(f"threshold {threshold:g}", attach)


def taylor_seer(interval: int, order: int, lite: bool) -> CacheSetting:
    """diffusers' TaylorSeer: extrapolates the output of every attention or, if `lite`, that of the model, and skips all blocks."""

    def attach(model: nn.Module, _: CacheRun) -> None:
        config = TaylorSeerCacheConfig(
            cache_interval=interval,
            disable_cache_before_step=WARM_UP_STEPS,
            max_order=order,
            taylor_factors_dtype=torch.float32,
            cache_identifiers=None if lite else [ATTENTION],
            use_lite_mode=lite,
        )
        apply_taylorseer_cache(model, config)

    return CacheSetting(f"interval {interval}, order {order}", attach)


def db_cache(threshold: float, warm_up: int, first: int, order: int) -> CacheSetting:
    """cache-dit's DBCache, which always computes the first `first` blocks; with its TaylorSeer calibrator unless `order` is 0."""

    def attach(model: nn.Module, run: CacheRun) -> None:
        os.environ.setdefault("CACHE_DIT_LOG_LEVEL", "warning")  # By default it prints a page about every run.
        import cache_dit  # Here, because its import takes seconds.

        config = cache_dit.DBCacheConfig(
            Fn_compute_blocks=first,
            Bn_compute_blocks=0,
            residual_diff_threshold=threshold,
            max_warmup_steps=warm_up,
            enable_separate_cfg=run.branches == 2,
        )
        calibrator = cache_dit.TaylorSeerCalibratorConfig(taylorseer_order=order) if order else None
        cache_dit.enable_cache(model, cache_config=config, calibrator_config=calibrator)

    return CacheSetting(f"threshold {threshold:g}, {warm_up} warm-up steps", attach)


def _db_cache_peer(name: str, first: int, order: int) -> Peer:
    # The default is 8 warm-up steps; a short run reaches high speed-ups with fewer only.
    sweep = ((0.04, 8), (0.08, 8), (0.16, 8), (0.16, 4), (0.24, 4), (0.4, 4), (0.8, 4))
    return Peer(name, tuple(db_cache(threshold, warm_up, first, order) for threshold, warm_up in sweep), least_blocks=first)


_MAG_CACHE = ((0.01, 1), (0.02, 1), (0.03, 2), (0.06, 2), (0.12, 3), (0.12, 4), (0.24, 4), (0.24, 6), (0.5, 6), (1.0, 8))
_TAYLOR_SEER = tuple((interval, order) for interval in (2, 3, 4, 5, 6, 8) for order in (1, 2))
_SEA_CACHE = ((0.15, 2), (0.2, 2), (0.25, 2), (0.3, 2), (0.4, 2), (0.5, 2), (0.7, 2), (1.0, 2), (0.5, 3), (0.7, 3), (1.0, 3))
_SPECTRUM = (
    (2, 0), (2, 0.2), (2, 0.25), (2, 0.5), (3, 0.2), (2, 0.75), (3, 0.4),
    (2, 1), (3, 0.75), (4, 0.5), (3, 1), (2, 2), (3, 1.5), (4, 0.75),
)  # fmt: skip

PEERS = (
    Peer("diffusers MagCache", tuple(mag_cache(threshold, most) for threshold, most in _MAG_CACHE)),
    Peer("diffusers FirstBlockCache", tuple(map(first_block_cache, (0.03, 0.05, 0.08, 0.12, 0.2, 0.3, 0.5)))),
    Peer("diffusers TaylorSeer", tuple(taylor_seer(interval, order, lite=False) for interval, order in _TAYLOR_SEER)),
    Peer("diffusers TaylorSeer lite", tuple(taylor_seer(interval, order, lite=True) for interval, order in _TAYLOR_SEER)),
    # The hook extrapolates by default and skips two steps at most. The paper holds, without a limit.
    Peer("diffusers SeaCache", tuple(sea_cache(threshold, 1, most) for threshold, most in _SEA_CACHE)),
    Peer("diffusers SeaCache, held", tuple(sea_cache(threshold, 0, 0) for threshold in (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6))),
    Peer("Spectrum", tuple(spectrum(window, growth, blend) for window, growth in _SPECTRUM for blend in (0.5, 1))),
    # F1B0 is the fastest. F8B0 is the default, made for models with many more blocks.
    _db_cache_peer("cache-dit DBCache F1B0", 1, 0),
    _db_cache_peer("cache-dit DBCache F8B0", 8, 0),
    _db_cache_peer("cache-dit DBCache F1B0 + TaylorSeer", 1, 1),
    _db_cache_peer("cache-dit DBCache F8B0 + TaylorSeer", 8, 1),
)
