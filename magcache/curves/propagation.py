"""How an error at one step of a run reaches the picture: a property of the model, kept in its curve (docs/how_it_works.md, section 5)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from ..errors import CurveError

Source = Literal["published plans", "measured", "assumed"]
"""Where a propagation comes from: fitted to public plans of the model, measured by trial runs, or assumed because nothing is known."""
_MOST_GROWTH, _MOST_SHAPE = 20.0, 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Propagation:
    """What the squared error e = r̂ − r of a reused residual costs at step t of n.

    weight(t) = 10^(growth · (1 − t / (n − 1))^shape). Raises `CurveError` if a number is out of range.
    """

    growth: float
    """Decades by which an error at the first step weighs more than one at the last, 0 to 20."""
    shape: float
    """Exponent of the ramp, above 0 to 20: with 1 the weight falls evenly over the run, with more it falls early."""
    stride: float
    """Exponent of |Δσ|, 0 to 1, of an error that is squared by itself: with 1 it counts by how far it moves the latent, with 0 the length
    of its step does not matter."""
    coherence: float
    """0 to 1: with 1 the errors of a gap are summed before they are squared, with 0 each is squared by itself."""
    source: Source = "assumed"
    trials: tuple[tuple[float, ...], ...] = ()
    """What it was measured by: for each calibrated run the relative errors of the final latent under the plans of `CANDIDATES`."""

    def __post_init__(self) -> None:
        for title, low, high in (("growth", 0.0, _MOST_GROWTH), ("shape", 0.0, _MOST_SHAPE), ("stride", 0.0, 1.0), ("coherence", 0.0, 1.0)):
            value = getattr(self, title)
            if not (math.isfinite(value) and low <= value <= high) or (title == "shape" and value == 0):
                raise CurveError(f"propagation: {title} is {value}; expected a number from {low:g} to {high:g}. Calibrate again.")
        if not all(math.isfinite(error) and error >= 0 for row in self.trials for error in row):
            raise CurveError("propagation: trials must hold finite numbers of 0 or more. Calibrate again.")
        if self.source not in get_args(Source):
            raise CurveError(f"propagation: source is {self.source!r:.60}; expected one of {', '.join(get_args(Source))}.")

    @property
    def grows(self) -> bool:
        """Whether an early error grows on its way to the picture, so that the first steps decide."""
        return self.growth >= 1

    def weights(self, steps: int) -> npt.NDArray[np.float64]:
        """The weight of a squared error at each of `steps` steps."""
        return np.array([10 ** (self.growth * (1 - step / max(steps - 1, 1)) ** self.shape) for step in range(steps)])


GROWING = Propagation(growth=3.75, shape=3.0, stride=0.0, coherence=0.0)
"""Real models: an early error grows. Fitted to public plans that were searched on the final pictures of FLUX, Qwen-Image, Wan and
HunyuanVideo (`python -m benchmarks.plans`)."""
CONTRACTING = Propagation(growth=math.log10(4), shape=1.0, stride=1.0, coherence=1.0)
"""Models in which an early error shrinks: the drift of the latent counts. Chosen on prompts of two small models that are not evaluated."""
CANDIDATES = (CONTRACTING, GROWING)
"""What a thorough calibration chooses from."""
_LEAST_ERROR = 1e-12


def measured(trials: tuple[tuple[float, ...], ...], earlier: Propagation = GROWING) -> Propagation:
    """The candidate with the least error over all `trials`, the geometric mean counting.

    `earlier` is what the model was taken for. It stays where the trials do not tell the candidates apart, and its numbers stay where
    they are of the kind that was found. Trials of other candidates, as another version of MagCache may have made them, are dropped.
    """
    trials = tuple(row for row in trials if len(row) == len(CANDIDATES))
    sums = [sum(math.log(max(error, _LEAST_ERROR)) for error in column) for column in zip(*trials, strict=True)]
    if not sums or math.isclose(min(sums), max(sums), abs_tol=1e-6):
        return replace(earlier, trials=trials)
    found = CANDIDATES[sums.index(min(sums))]
    return replace(earlier if earlier.grows == found.grows else found, source="measured", trials=trials)
