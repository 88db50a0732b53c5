"""Which inputs of which node are tuned, and in what range."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, get_args

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from ...settings import Reuse, SpeedupSettings, ThresholdSettings
from ..workflow import Workflow, classes

NodeSettings = dict[str, Any]
"""Values of a node's inputs, by name."""


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """The inputs of one type of node that are tuned."""

    kind: str
    """The type of node."""
    ranges: Mapping[str, BaseDistribution]
    first: Sequence[NodeSettings]
    """Settings that are tried before the search decides."""


AUTO_SPACE = SearchSpace(
    "MagCacheAuto",
    {
        "speedup": FloatDistribution(1.2, 4.0, step=0.1),
        "reuse": CategoricalDistribution(get_args(Reuse)[::-1]),  # A study on disk goes on only with the same values in the same order.
        "start_percent": FloatDistribution(0.0, 0.4, step=0.05),
        "end_percent": FloatDistribution(0.7, 1.0, step=0.05),
    },
    [asdict(SpeedupSettings(speedup, "extrapolate")) for speedup in (2.0, 1.5, 2.5, 3.0)],
)
THRESHOLD_SPACE = SearchSpace(
    "MagCache",
    {
        "magcache_thresh": FloatDistribution(0.02, 0.5, step=0.02),
        "retention_ratio": FloatDistribution(0.05, 0.4, step=0.05),
        "magcache_K": IntDistribution(1, 8),
    },
    [
        {"magcache_thresh": threshold, "retention_ratio": ThresholdSettings().retention, "magcache_K": max_skip}
        for threshold, max_skip in ((0.12, 4), (0.06, 2), (0.24, 5), (0.24, 2))
    ],
)


def space_of(workflow: Workflow) -> SearchSpace:
    """What is tuned in a workflow: its own MagCache node, or else the MagCache Auto that it has or gets."""
    found = classes(workflow)
    return THRESHOLD_SPACE if THRESHOLD_SPACE.kind in found and AUTO_SPACE.kind not in found else AUTO_SPACE


def rounded(settings: Mapping[str, Any]) -> NodeSettings:
    """The settings without the rounding errors of their steps: 0.3 instead of 0.30000000000000004."""
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in settings.items()}
