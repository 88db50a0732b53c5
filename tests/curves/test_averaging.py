"""Several calibrations of one model in one curve."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from magcache import MagnitudeCurve
from magcache.curves.averaging import averaged
from magcache.errors import CalibrationError

SIGMAS = (1.0, 0.9, 0.7, 0.4, 0.1)


def measured(seed: int, branches: tuple[str, ...] = ("cond", "uncond"), sigmas: tuple[float, ...] = SIGMAS) -> MagnitudeCurve:
    """A curve as a calibration makes it."""
    rng, steps = np.random.default_rng(seed), len(sigmas)
    pairs = [(one, other) for one in branches for other in branches if one <= other]
    return MagnitudeCurve(
        name="mine",
        family="flux",
        sigmas=sigmas,
        ratios={branch: (1.0, *rng.uniform(0.8, 1.3, steps - 1).tolist()) for branch in branches},
        products={pair: tuple(map(tuple, rng.normal(size=(steps, steps)).tolist())) for pair in pairs},
        provenance={"source": "calibration"},
    )


def test_averaging_counts_every_run_the_same():
    curves = [measured(seed) for seed in (0, 10, 20)]
    mean = averaged(averaged(curves[0], curves[1]), curves[2])
    assert dict(mean.provenance) == {"source": "calibration", "runs": 3}
    for branch in ("cond", "uncond"):
        np.testing.assert_allclose(mean.ratios[branch], np.mean([curve.ratios[branch] for curve in curves], axis=0))
    assert len(mean.products) == 3
    for pair in mean.products:
        np.testing.assert_allclose(mean.products[pair], np.mean([curve.products[pair] for curve in curves], axis=0))


@pytest.mark.parametrize(
    "other", [{"sigmas": (1.0, 0.9, 0.7, 0.1)}, {"sigmas": (1.0, 0.8, 0.7, 0.4, 0.1)}, {"branches": ("cond",)}], ids=str
)
def test_only_like_is_averaged(other: dict):
    with pytest.raises(CalibrationError, match="cannot be averaged"):
        averaged(measured(0), measured(1, **other))


def test_a_curve_without_products_is_not_averaged_with_one_that_has_them():
    with pytest.raises(CalibrationError, match="cannot be averaged"):
        averaged(replace(measured(0), products={}), measured(1))
    bare = replace(averaged(replace(measured(0), products={}), replace(measured(1), products={})), products={})
    assert bare.provenance["runs"] == 2, "two without products are alike"
    with pytest.raises(CalibrationError, match="cannot be averaged"):
        averaged(replace(measured(0, branches=("cond",)), products={}), bare)


@pytest.mark.parametrize("runs", ["many", None, 0, -1, 1.5, 10**400, [2]], ids=str)
def test_a_number_of_runs_that_is_none_is_refused(runs: object):
    earlier = replace(measured(0), provenance={"runs": runs})
    with pytest.raises(CalibrationError, match="expected a whole number"):
        averaged(earlier, measured(1))
