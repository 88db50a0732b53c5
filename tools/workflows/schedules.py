"""Noise levels of the steps of a sampler: what ComfyUI's schedulers give, without the closing 0."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast

from scipy.stats import beta

from tools.workflows.graph import Node, source


@dataclass(frozen=True, slots=True)
class NoiseTable:
    """The noise levels of a model: a table over time, which is shifted."""

    shift: float
    entries: int


def from_table(name: str, steps: int, table: NoiseTable) -> list[float]:
    """Noise levels of one of the schedulers that choose entries of the model's table."""
    if name == "simple":
        entries = [table.entries - int(step * table.entries / steps) for step in range(steps)]
    elif name == "beta":
        entries = [1 + round(part * (table.entries - 1)) for part in beta.ppf([1 - step / steps for step in range(steps)], 0.6, 0.6)]
    else:
        raise ValueError(f"The schedule {name!r} is not known here; the workflows use 'simple' and 'beta'.")
    return _shifted([entry / table.entries for entry in entries], table.shift)


def from_node(node: Node) -> list[float]:
    """Noise levels of a scheduler that is a node of its own and looks at the size of the latent."""
    inputs: dict[str, Any] = node.inputs
    steps = inputs["steps"]
    times = [1 - step / steps for step in range(steps)]
    if node.kind == "Flux2Scheduler":
        return _shifted(times, math.exp(_flux2_shift(steps, round(inputs["width"] * inputs["height"] / 256))))
    if node.kind == "LTXVScheduler":
        return _stretched(_shifted(times, math.exp(_ltxv_shift(_ltxv_tokens(source(inputs["latent"]))))))
    raise ValueError(f"The scheduler {node.kind!r} is not known here; the workflows use 'Flux2Scheduler' and 'LTXVScheduler'.")


def _shifted(times: list[float], shift: float) -> list[float]:
    return [shift * time / (1 + (shift - 1) * time) for time in times]


def _flux2_shift(steps: int, tokens: int) -> float:
    """Logarithm of the shift: linear in the tokens, and up to 4300 of them also in the steps, between lines for 10 and for 200 steps."""
    at_200 = 0.00016927 * tokens + 0.45666666
    if tokens > 4300:
        return at_200
    at_10 = 8.73809524e-05 * tokens + 1.89833333
    return at_200 + (steps - 200) * (at_200 - at_10) / 190


def _ltxv_shift(tokens: int) -> float:
    """Logarithm of the shift with the node's own settings: 0.95 for 1024 tokens, 2.05 for 4096, and on along this line."""
    return 0.95 + (tokens - 1024) * (2.05 - 0.95) / (4096 - 1024)


def _ltxv_tokens(latent: Node | None) -> int:
    assert latent is not None and latent.kind == "EmptyLTXVLatentVideo"
    inputs = cast("dict[str, int]", latent.inputs)
    return ((inputs["length"] - 1) // 8 + 1) * (inputs["height"] // 32) * (inputs["width"] // 32)


def _stretched(levels: list[float], last: float = 0.1) -> list[float]:
    """The levels pulled apart so that the last one is `last`."""
    return [1 - (1 - level) * (1 - last) / (1 - levels[-1]) for level in levels]
