"""The other step caches that there are for diffusers, to be run in the loop of `benchmarks.small.loop`.

All of them work on both small models. Where cond and uncond are separate forwards, diffusers' caches keep a state for each
`cache_context` that the loop enters; cache-dit tells the two apart by their order. All orders and differences are in float32.
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

from benchmarks.small.loop import Run, Setting

RETENTION = 0.2
"""MagCache's first fraction of steps that is never skipped: its default."""
WARM_UP_STEPS = 3
"""TaylorSeer's first steps that are computed: its default, and what order 2 needs."""
ATTENTION = r".*blocks\.\d+\.attn\d?"
"""What TaylorSeer caches by default. Its own pattern means the same but misses Wan, whose attentions are numbered."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A cache and the ways to run it."""

    name: str
    settings: tuple[Setting, ...]
    """From slow to fast."""
    least_blocks: int = 1
    """It fails on models with fewer."""


def mag_cache(threshold: float, most: int) -> Setting:
    """diffusers' MagCache, which skips at most `most` steps in a row (the paper's K). The run must have ratios."""

    def attach(model: nn.Module, run: Run) -> None:
        if not run.ratios:
            raise ValueError("diffusers' MagCache needs the model's ratios: measure_ratios() returns them.")
        config = MagCacheConfig(threshold, most, RETENTION, run.steps, list(run.ratios))
        apply_mag_cache(model, config)

    return Setting(f"K {most}, threshold {threshold:g}", attach)


def first_block_cache(threshold: float) -> Setting:
    """diffusers' FirstBlockCache, which has no warm-up."""

    def attach(model: nn.Module, _: Run) -> None:
        apply_first_block_cache(model, FirstBlockCacheConfig(threshold))

    return Setting(f"threshold {threshold:g}", attach)


def taylor_seer(interval: int, order: int, lite: bool) -> Setting:
    """diffusers' TaylorSeer: extrapolates every attention's output or, if lite, the model's output, and skips the blocks."""

    def attach(model: nn.Module, _: Run) -> None:
        config = TaylorSeerCacheConfig(
            cache_interval=interval,
            disable_cache_before_step=WARM_UP_STEPS,
            max_order=order,
            taylor_factors_dtype=torch.float32,
            cache_identifiers=None if lite else [ATTENTION],
            use_lite_mode=lite,
        )
        apply_taylorseer_cache(model, config)

    return Setting(f"interval {interval}, order {order}", attach)


def db_cache(threshold: float, warm_up: int, first: int, order: int) -> Setting:
    """cache-dit's DBCache, which always computes the `first` blocks, with its TaylorSeer calibrator if `order` is not 0."""

    def attach(model: nn.Module, run: Run) -> None:
        os.environ.setdefault("CACHE_DIT_LOG_LEVEL", "warning")  # Or it writes a page about every run to stdout.
        import cache_dit  # Here, because it imports for seconds.

        config = cache_dit.DBCacheConfig(
            Fn_compute_blocks=first,
            Bn_compute_blocks=0,
            residual_diff_threshold=threshold,
            max_warmup_steps=warm_up,
            enable_separate_cfg=run.branches == 2,
        )
        calibrator = cache_dit.TaylorSeerCalibratorConfig(taylorseer_order=order) if order else None
        cache_dit.enable_cache(model, cache_config=config, calibrator_config=calibrator)

    return Setting(f"threshold {threshold:g}, {warm_up} warm-up steps", attach)


def _db_cache_peer(name: str, first: int, order: int) -> Peer:
    # Its default are 8 warm-up steps. Most of a short run is skipped only if there are fewer.
    sweep = ((0.04, 8), (0.08, 8), (0.16, 8), (0.16, 4), (0.24, 4), (0.4, 4), (0.8, 4))
    return Peer(name, tuple(db_cache(threshold, warm_up, first, order) for threshold, warm_up in sweep), least_blocks=first)


_MAG_CACHE = ((0.01, 1), (0.02, 1), (0.03, 2), (0.06, 2), (0.12, 3), (0.12, 4), (0.24, 4), (0.24, 6), (0.5, 6), (1.0, 8))
_TAYLOR_SEER = tuple((interval, order) for interval in (2, 3, 4, 5, 6, 8) for order in (1, 2))

PEERS = (
    Peer("diffusers MagCache", tuple(mag_cache(threshold, most) for threshold, most in _MAG_CACHE)),
    Peer("diffusers FirstBlockCache", tuple(map(first_block_cache, (0.03, 0.05, 0.08, 0.12, 0.2, 0.3, 0.5)))),
    Peer("diffusers TaylorSeer", tuple(taylor_seer(interval, order, lite=False) for interval, order in _TAYLOR_SEER)),
    Peer("diffusers TaylorSeer lite", tuple(taylor_seer(interval, order, lite=True) for interval, order in _TAYLOR_SEER)),
    # F1B0 is the fastest, F8B0 the default; the latter was chosen for models with far more blocks.
    _db_cache_peer("cache-dit DBCache F1B0", 1, 0),
    _db_cache_peer("cache-dit DBCache F8B0", 8, 0),
    _db_cache_peer("cache-dit DBCache F1B0 + TaylorSeer", 1, 1),
    _db_cache_peer("cache-dit DBCache F8B0 + TaylorSeer", 8, 1),
)
