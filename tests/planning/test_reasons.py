"""A plan that skips nothing, or less than was asked for, says why."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from magcache import MagnitudeCurve, Reason, ThresholdSettings, load_curve, plan_budget, plan_by_threshold, plan_speedup

FLUX = load_curve("flux")
SIGMAS = tuple(float(sigma) for sigma in np.linspace(1, 0.05, 20))


def measured(**more: Any) -> MagnitudeCurve:
    """A curve as a calibration at `SIGMAS` makes it."""
    residuals = np.cumsum(np.random.default_rng(0).normal(size=(20, 50)), axis=0) + 4
    products = {("cond", "cond"): tuple(map(tuple, (residuals @ residuals.T).tolist()))}
    return MagnitudeCurve(name="mine", family="flux", sigmas=SIGMAS, ratios={"cond": (1.0,) * 20}, products=products, **more)


@pytest.mark.parametrize(
    ("run", "wish", "reason"),
    [
        (FLUX.sigmas, {}, None),
        (FLUX.sigmas, {"threshold": 0.0}, Reason.OFF),
        (FLUX.sigmas, {"max_skip": 0}, Reason.OFF),
        ((), {"threshold": 0.0}, Reason.OFF),
        ((0.5, 0.6, 0.7), {}, Reason.NOT_FALLING),
        ((0.5, 0.5), {}, Reason.NOT_FALLING),
        ((1.0, 0.8, math.nan), {}, Reason.NOT_FALLING),
        ((), {}, Reason.TOO_SHORT),
        ((1.0,), {}, Reason.TOO_SHORT),
        (FLUX.sigmas, {"retention": 1.0}, Reason.NO_STEP_ALLOWED),
        (FLUX.sigmas, {"start_step": 28}, Reason.EMPTY_WINDOW),
        (FLUX.sigmas, {"start_step": 20, "end_step": 10}, Reason.EMPTY_WINDOW),
        (FLUX.sigmas, {"start_step": 20, "end_step": -10}, Reason.EMPTY_WINDOW),
        (FLUX.sigmas, {"end_step": 0}, Reason.NO_STEP_ALLOWED),
        ((1.0, FLUX.vetoes[0]), {"retention": 0.0}, Reason.CHANGES_FAST),
        ((1.0, 0.9, 0.8, 0.7), {"threshold": 1e-9}, Reason.ERROR_TOO_LARGE),
        ((1.0, 0.9, 0.8, 0.7), {"threshold": 1e-9, "retention": 0.9}, Reason.ERROR_TOO_LARGE),
    ],
)
def test_reasons_of_the_published_rule(run: tuple[float, ...], wish: dict[str, Any], reason: Reason | None):
    plan = plan_by_threshold(FLUX, run, ThresholdSettings(**({"threshold": 0.24, "max_skip": 5, "retention": 0.2} | wish)))
    assert plan.reason is reason
    assert any(plan.reused) == (reason is None)


def test_a_gate_makes_every_error_too_large():
    for gate, reason in [(0.1, Reason.ERROR_TOO_LARGE), (0.3, None)]:
        curve = MagnitudeCurve(name="x", family="flux", sigmas=(1.0, 0.7, 0.4), ratios={"cond": (1.0, 1.2, 1.2)}, gate=gate)
        assert plan_by_threshold(curve, curve.sigmas, ThresholdSettings(threshold=9, retention=0)).reason is reason


@pytest.mark.parametrize(
    ("run", "speedup", "window", "reason", "skips"),
    [
        (SIGMAS, 2.0, None, None, True),
        (SIGMAS, 1.0, None, Reason.OFF, False),
        ((), 1.0, None, Reason.OFF, False),
        ((0.5,), 1.0, None, Reason.OFF, False),
        (SIGMAS[::-1], 2.0, None, Reason.NOT_FALLING, False),
        ((1.0, math.inf, 0.5, 0.2), 2.0, None, Reason.NOT_FALLING, False),
        ((), 2.0, None, Reason.TOO_SHORT, False),
        ((0.5,), 1.5, None, Reason.TOO_SHORT, False),
        (SIGMAS[:2], 2.0, None, Reason.TOO_SHORT, False),
        (SIGMAS[:4], 2.0, None, Reason.TOO_SHORT, False),
        (SIGMAS, 2.0, (0.01, 0.0), Reason.NO_STEP_ALLOWED, False),
        (SIGMAS, 2.0, (math.inf, 0.9), Reason.NO_STEP_ALLOWED, False),
        ((0.04, 0.03, 0.02, 0.015, 0.01), 2.0, None, Reason.NOT_COVERED, False),
        (SIGMAS[:5], 2.0, None, Reason.LIMITED, True),
        (SIGMAS, 10.0, None, Reason.LIMITED, True),
        (SIGMAS, 2.0, (math.inf, 0.7), Reason.LIMITED_BY_WINDOW, True),
        (SIGMAS, 10.0, (math.inf, 0.08), Reason.LIMITED, True),
        (SIGMAS, 2.0, (0.4, 0.6), Reason.EMPTY_WINDOW, False),
        (SIGMAS, 2.0, (0.5, 0.5), Reason.EMPTY_WINDOW, False),
    ],
)
def test_reasons_of_a_speedup(
    run: tuple[float, ...], speedup: float, window: tuple[float, float] | None, reason: Reason | None, skips: bool
):
    plan = plan_speedup(measured(), run, speedup, **({"window": window} if window else {}))
    assert plan.reason is reason
    assert any(plan.reused) == skips
    assert (plan.speedup < speedup) == (reason not in (None, Reason.OFF))


def test_vetoes_may_leave_no_step():
    plan = plan_speedup(measured(vetoes=SIGMAS[3:19]), SIGMAS, 2.0)
    assert plan.reason is Reason.CHANGES_FAST and plan.nfe == 20


def test_a_curve_without_products_covers_every_sigma():
    assert plan_speedup(FLUX, (0.04, 0.03, 0.02, 0.015, 0.01), 2.0).reason is Reason.LIMITED


@pytest.mark.parametrize(
    ("run", "nfe", "reason"),
    [
        (SIGMAS, 10, None),
        (SIGMAS, 20, Reason.OFF),
        (SIGMAS, 99, Reason.OFF),
        ((*SIGMAS, 0.0), 20, Reason.OFF),
        (SIGMAS[::-1], 10, Reason.NOT_FALLING),
        ((math.nan, 0.5), 1, Reason.NOT_FALLING),
    ],
)
def test_reasons_of_a_number_of_evaluations(run: tuple[float, ...], nfe: int, reason: Reason | None):
    plan = plan_budget(measured(), run, nfe=nfe)
    assert plan.reason is reason and any(plan.reused) == (reason is None)
