"""Spectrum's schedule, and its forecast of what it can know."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.polynomial.chebyshev import chebvander

from benchmarks.small.loop import sample
from benchmarks.small.models import IMAGE
from benchmarks.small.spectrum import DEGREE, RIDGE, Forecast, forecast_weights, spectrum, spectrum_steps

KNOWN, STEPS = [0, 1, 2, 3, 4, 7, 11, 16], 28


@pytest.mark.parametrize(("growth", "evaluations"), [(0.75, 14), (3.0, 10)])
def test_schedules_of_the_paper(growth: float, evaluations: int):
    assert len(spectrum_steps(50, 2, growth)) == evaluations


def test_gaps_grow_after_the_warm_up():
    assert spectrum_steps(28, 2, 0.75) == [0, 1, 2, 3, 4, 6, 8, 11, 15, 20, 25]
    assert spectrum_steps(10, 2, 0.1) == [0, 1, 2, 3, 4, 6, 8]
    assert spectrum_steps(7, 1, 0) == list(range(7))
    assert spectrum_steps(3, 2, 0.5) == [0, 1, 2]


@pytest.mark.parametrize("step", [17, 20, 27])
def test_a_polynomial_is_forecast_exactly(step: int):
    """Without regularisation, which would pull it towards 0."""

    def polynomial(at: int) -> float:
        return 2 - at + 0.5 * at**2 - 0.02 * at**3 + 0.001 * at**4

    weights = forecast_weights(KNOWN, step, STEPS, blend=1, ridge=0)
    assert weights @ [polynomial(at) for at in KNOWN] == pytest.approx(polynomial(step), rel=1e-6)


def test_the_rest_is_the_line_through_the_last_two():
    weights = forecast_weights(KNOWN, 18, STEPS, blend=0)
    assert weights @ [3 * at - 5 for at in KNOWN] == pytest.approx(3 * 18 - 5)
    assert np.count_nonzero(weights) == 2
    mixed = forecast_weights(KNOWN, 18, STEPS, blend=0.5)
    assert mixed == pytest.approx((weights + forecast_weights(KNOWN, 18, STEPS, blend=1)) / 2)


def test_the_weights_are_those_of_ridge_regression(step: int = 19):
    values = np.random.default_rng(0).normal(size=len(KNOWN))
    design = chebvander(2 * np.array(KNOWN) / STEPS - 1, DEGREE)
    stacked = np.vstack([design, RIDGE**0.5 * np.eye(DEGREE + 1)])
    coefficients = np.linalg.lstsq(stacked, np.concatenate([values, np.zeros(DEGREE + 1)]), rcond=None)[0]
    expected = chebvander([2 * step / STEPS - 1], DEGREE)[0] @ coefficients
    assert forecast_weights(KNOWN, step, STEPS, blend=1) @ values == pytest.approx(expected)


def test_a_forecast_is_the_weighted_sum_of_the_learned_tokens():
    torch.manual_seed(0)
    tokens, forecast = torch.randn(len(KNOWN), 1, 6, 4), Forecast(STEPS, 0.5)
    for step, after in zip(KNOWN, tokens, strict=True):
        forecast.learn(step, torch.zeros(1, 6, 4), after)
    expected = torch.einsum("k,kbtw->btw", torch.tensor(forecast_weights(KNOWN, 20, STEPS, 0.5), dtype=torch.float32), tokens)
    assert torch.allclose(forecast.replace(20, torch.zeros(1, 6, 4)), expected, atol=1e-5)


def test_evaluations_are_those_of_the_schedule():
    torch.manual_seed(0)
    model, noise, sigmas = IMAGE.build(2), torch.randn(1, 16, 8, 8), torch.linspace(1, 0, 13)
    outcome = sample(IMAGE, model, sigmas, noise, IMAGE.prompts()[0], 2.5, spectrum(2, 0.5, 1))
    assert outcome.nfe == len(spectrum_steps(12, 2, 0.5)) == 8
    assert outcome.latents.isfinite().all()
