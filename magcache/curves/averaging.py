"""Several calibrations of one model in one curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..documents import shown
from ..errors import CalibrationError
from ..texts import Text
from .curve import MagnitudeCurve, same_sigma
from .propagation import Propagation, measured

_MOST_RUNS = 1_000_000


def averaged(earlier: MagnitudeCurve, new: MagnitudeCurve) -> MagnitudeCurve:
    """The mean of both measurements; every run and every trial counts the same. `provenance["runs"]` keeps their number.

    Raises `CalibrationError` if they have other sigmas or other branches, or if that number is not a count.
    """
    same = len(earlier.sigmas) == len(new.sigmas) and all(map(same_sigma, earlier.sigmas, new.sigmas))
    if not same or set(earlier.ratios) != set(new.ratios) or set(earlier.products) != set(new.products):
        raise CalibrationError(
            Text(
                "The curve {name!r} was measured at {earlier} other sigmas or with other branches ({branches}) than this run ({new} "
                "sigmas; {new_branches}), so they cannot be averaged. Calibrate with the same steps, sampler, scheduler, shift and CFG, or "
                "under another name.",
                name=earlier.name,
                earlier=earlier.steps,
                branches=", ".join(earlier.ratios),
                new=new.steps,
                new_branches=", ".join(new.ratios),
            )
        )
    runs = earlier.provenance.get("runs", 1)
    if not isinstance(runs, int) or not 1 <= runs <= _MOST_RUNS:
        raise CalibrationError(
            f"The curve {earlier.name!r} says that it is the mean of {shown(runs)} runs; expected a whole number from 1 to {_MOST_RUNS:,}. "
            "Correct its provenance, or calibrate under another name."
        )

    def mean(row: Sequence[float], other: Sequence[float]) -> tuple[float, ...]:
        return tuple((runs * one + two) / (runs + 1) for one, two in zip(row, other, strict=True))

    return replace(
        new,
        ratios={branch: mean(earlier.ratios[branch], values) for branch, values in new.ratios.items()},
        products={pair: tuple(map(mean, earlier.products[pair], matrix)) for pair, matrix in new.products.items()},
        propagation=_merged(earlier.propagation, new.propagation),
        provenance={**new.provenance, "runs": runs + 1},
    )


def _merged(earlier: Propagation, new: Propagation) -> Propagation:
    """The propagation by the trials of both; if only one has trials, what was measured goes first, then what has trials."""
    if new.trials and earlier.trials:
        return measured((*earlier.trials, *new.trials), earlier)
    return max(earlier, new, key=lambda each: (each.source == "measured", bool(each.trials)))
