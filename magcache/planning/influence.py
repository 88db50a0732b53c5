"""How much the model's output at each step of a run moves its end."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .plan import Stretch


def euler_influence(sigmas: Sequence[float], closing: float = 0.0) -> tuple[float, ...]:
    """The influence of each step under the sampler Euler: Δσ.

    `sigmas` hold one noise level a step; `closing` is the one at which the run ends.
    Method: docs/how_it_works.md, section 6.
    """
    return tuple(after - now for now, after in zip(sigmas, (*sigmas[1:], closing), strict=False))


def stretch_influence(influence: Sequence[float], stretch: Stretch, stop: int) -> npt.NDArray[np.float64]:
    """The influence of the steps of one stretch, from that of all steps of a run; `stop` is the first step after the stretch.

    A step that is left out of its stretch, because its sigma repeats, belongs to the one before it.
    """
    ends = (*stretch.steps[1:], stop)
    return np.array([sum(influence[begin:end]) for begin, end in zip(stretch.steps, ends, strict=True)])
