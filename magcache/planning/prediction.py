"""The predicted error of a plan: what its gaps cost by the model's propagation (docs/how_it_works.md, sections 3 to 6)."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..curves.curve import MagnitudeCurve
from ..curves.products import Matrix, expected_products
from ..curves.propagation import Propagation
from ..errors import PlanError, SettingsError
from ..settings import Reuse
from .influence import euler_influence
from .plan import Correction, Plan, Reason, Recipe
from .reuse_errors import Gaps, Reuses, Steps, gaps, reuses


def checked_steps(computed: Sequence[int], steps: int) -> list[int]:
    """The computed steps of a plan of `steps` steps, in order. Raises `PlanError` if step 0 is missing or one lies outside the run."""
    try:
        found = sorted({operator.index(step) for step in computed})
    except TypeError:
        found = list[int]()
    if not found or found[0] != 0 or found[-1] >= steps:
        raise PlanError(f"The computed steps are {list(computed)!s:.120}; expected steps from 0 to {steps - 1}, step 0 among them.")
    return found


def check_influence(influence: Sequence[float] | None, steps: int) -> None:
    """Raise `SettingsError` unless it is one finite number for each of `steps` steps, or None."""
    if influence is not None and (len(influence) != steps or not all(map(math.isfinite, influence))):
        raise SettingsError(f"The influence is {list(influence)!s:.120}; expected {steps} finite numbers, one a step.")


def products_of(curve: MagnitudeCurve, sigmas: Sequence[float], guidance: float, stream: str = "") -> Matrix:
    """Inner products (steps × steps) of the residuals of a stream at falling `sigmas`: measured ones, or else those to expect."""
    measured = curve.products_at(sigmas, guidance, stream)
    return expected_products(curve.levels_at(sigmas), sigmas) if measured is None else measured


def best_reuse(curve: MagnitudeCurve) -> Reuse:
    """Extrapolation where its damping was measured, else holding."""
    return "extrapolate" if curve.products else "hold"


@dataclass(frozen=True, slots=True)
class ErrorModel:
    """What is known of the errors of one run: of its residuals, its sampler, and of how the model passes errors on."""

    sigmas: npt.NDArray[np.float64]
    """One a step, falling."""
    products: Matrix
    """Inner products of the residuals, the mean over the calibrated runs: weights of reuse and gains follow from them."""
    runs: tuple[Matrix, ...]
    """Those of each calibrated run: costs follow from them."""
    reuse: Reuse
    influence: npt.NDArray[np.float64]
    """How much the model's output at each step moves the end of the run."""
    propagation: Propagation
    correcting: npt.NDArray[np.bool_]
    """Which computed steps correct the gap before them."""
    stream: str = ""
    """The stream of the model; the first has no name."""

    @classmethod
    def of(
        cls,
        curve: MagnitudeCurve,
        sigmas: Sequence[float],
        *,
        reuse: Reuse,
        guidance: float = 1.0,
        influence: Sequence[float] | npt.NDArray[np.float64] | None = None,
        correct: bool = True,
        stream: str = "",
    ) -> ErrorModel:
        """The errors of one stream in a run over falling `sigmas`.

        Without `influence` that of Euler is taken, and nothing is corrected. Nothing is corrected either in a model of several
        streams: what corrects one would not correct the others.
        """
        products = products_of(curve, sigmas, guidance, stream)
        known = correct and influence is not None and not curve.streams
        return cls(
            sigmas=np.array(sigmas),
            products=products,
            runs=(products,),
            reuse=reuse,
            influence=np.array(euler_influence(sigmas) if influence is None else influence),
            propagation=curve.propagation,
            correcting=np.array([known and curve.coverage([sigma]) == 1 for sigma in sigmas]),
            stream=stream,
        )

    @property
    def steps(self) -> int:
        """Number of steps."""
        return len(self.sigmas)

    def gaps_after(self, before: Steps, last: Steps, max_skip: int) -> tuple[Reuses, Gaps]:
        """The reuses and gaps of up to `max_skip` steps after pairs of computed steps."""
        options = reuses(self.products, self.sigmas, before, last, max_skip, self.reuse)
        found = [gaps(run, self.sigmas, options, self.influence, self.propagation, self.correcting) for run in self.runs]
        return options, found[0]

    def costs(self, max_skip: int) -> Matrix:
        """Costs of all gaps of up to `max_skip` steps, as `best_steps` takes them."""
        last = np.arange(self.steps, dtype=np.int64)
        distances = range(1, max_skip + 2 if self.reuse == "extrapolate" else 2)
        return np.stack([self.gaps_after(last - distance, last, max_skip)[1].costs for distance in distances])

    def error_of(self, computed: Sequence[int]) -> float:
        """The predicted error of the plan with these computed steps, 0 to about 1."""
        before, last = np.array([-1, *computed[:-1]], dtype=np.int64), np.array(computed, dtype=np.int64)
        reused = np.diff([*computed, self.steps]) - 1
        costs = self.gaps_after(before, last, int(reused.max()))[1].costs[np.arange(len(last)), reused]
        return math.sqrt(float(costs.sum()) / self.scale())

    def scale(self) -> float:
        """What it costs to drop every residual."""
        dropped = np.eye(self.steps)[:, None, :]
        return max(self.cost_of(dropped, self.products), 1e-300)

    def cost_of(self, errors: npt.NDArray[np.float64], products: Matrix) -> float:
        """What errors cost by the model's propagation.

        `errors` are [step, group, residual]: weights of the residuals whose inner products are `products`. Those of a group are
        summed over the steps before they are squared, as far as errors are coherent.
        """
        weights, strides = self.propagation.weights(self.steps), np.abs(euler_influence(self.sigmas.tolist()))
        pull, alone = np.sqrt(weights) * self.influence, self.influence * strides ** (self.propagation.stride - 1)
        drifts, singles = np.einsum("t,tgi->gi", pull, errors), errors.sum(axis=1)
        together = float(np.einsum("gi,ij,gj->", drifts, products, drifts, optimize=True))
        apart = float(weights * alone**2 @ np.einsum("ti,ij,tj->t", singles, products, singles, optimize=True))
        return max(0.0, self.propagation.coherence * together + (1 - self.propagation.coherence) * apart)  # Rounding may be negative.

    def plan(self, computed: Sequence[int], reason: Reason | None = None) -> Plan:
        """The plan that computes these steps (0-based, from 0 on); `reason` says why they are more than was asked for."""
        before, last = np.array([-1, *computed[:-1]], dtype=np.int64), np.array(computed, dtype=np.int64)
        ends = (*computed[1:], self.steps)
        options, found = self.gaps_after(before, last, max(1, int(np.diff([*computed, self.steps]).max()) - 1))
        reused, errors = [False] * self.steps, [0.0] * self.steps
        recipes: list[Recipe] = [()] * self.steps
        corrections: list[Correction | None] = [None] * self.steps
        for place, (older, newest, after) in enumerate(zip(before.tolist(), computed, ends, strict=True)):
            for step in range(newest + 1, after):
                reused[step], errors[step] = True, math.sqrt(float(options.error[place, step - newest - 1]))
                recipes[step] = _recipe(options, place, older, newest, step)
            if after < self.steps and (gain := float(found.gains[place, after - newest - 1])):
                corrections[after] = Correction(gain, _recipe(options, place, older, newest, after))
        return Plan(tuple(self.sigmas.tolist()), tuple(reused), tuple(errors), tuple(recipes), tuple(corrections), reason)


def _recipe(options: Reuses, place: int, before: int, last: int, step: int) -> Recipe:
    """How the residual at `step` is composed of those of the computed steps of the pair at `place`."""
    newest, older = (float(weights[place, step - last - 1]) for weights in (options.newest, options.older))
    return ((last, newest),) if older == 0 else ((last, newest), (before, older))
