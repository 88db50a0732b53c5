"""Which settings of which node are tuned, and in what range."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from ..workflow import Workflow, classes

Setting = dict[str, Any]
"""Inputs of the node by name."""


@dataclass(frozen=True, slots=True)
class Space:
    """The settings of one kind of node."""

    kind: str
    ranges: Mapping[str, BaseDistribution]
    first: Sequence[Setting]
    """What is tried before the search decides."""


AUTO = Space(
    "MagCacheAuto",
    {
        "speedup": FloatDistribution(1.2, 4.0, step=0.1),
        "reuse": CategoricalDistribution(["extrapolate", "scale", "hold"]),
        "start_percent": FloatDistribution(0.0, 0.4, step=0.05),
        "end_percent": FloatDistribution(0.7, 1.0, step=0.05),
    },
    [{"speedup": speedup, "reuse": "extrapolate", "start_percent": 0.0, "end_percent": 1.0} for speedup in (2.0, 1.5, 2.5, 3.0)],
)
RULE = Space(
    "MagCache",
    {
        "magcache_thresh": FloatDistribution(0.02, 0.5, step=0.02),
        "retention_ratio": FloatDistribution(0.05, 0.4, step=0.05),
        "magcache_K": IntDistribution(1, 8),
    },
    [
        {"magcache_thresh": threshold, "retention_ratio": 0.2, "magcache_K": skips}
        for threshold, skips in ((0.12, 4), (0.06, 2), (0.24, 5), (0.24, 2))
    ],
)


def space_of(workflow: Workflow) -> Space:
    """What there is to tune in a workflow: its own MagCache node, else the MagCache Auto that is put in."""
    found = classes(workflow)
    return RULE if RULE.kind in found and AUTO.kind not in found else AUTO


def rounded(setting: Mapping[str, Any]) -> Setting:
    """Without the noise that steps in binary fractions leave."""
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in setting.items()}
