"""Inner products of residuals: composing branches, moving to other sigmas, and guessing them."""

from __future__ import annotations

import numpy as np
import pytest

from magcache.curves.products import compose, expected_products, resample

RNG = np.random.default_rng(0)


def blocks(cond: np.ndarray, uncond: np.ndarray) -> dict[tuple[str, str], np.ndarray]:
    return {("cond", "cond"): cond @ cond.T, ("cond", "uncond"): cond @ uncond.T, ("uncond", "uncond"): uncond @ uncond.T}


@pytest.mark.parametrize("guidance", [1.0, 2.5, 7.0])
def test_composing_equals_the_inner_products_of_guided_residuals(guidance: float):
    cond, uncond = RNG.normal(size=(2, 5, 20))
    guided = uncond + guidance * (cond - uncond)
    np.testing.assert_allclose(compose(blocks(cond, uncond), guidance), guided @ guided.T, rtol=1e-10)


def test_without_an_unconditional_branch_the_conditional_one_counts():
    cond = RNG.normal(size=(4, 6))
    np.testing.assert_array_equal(compose({("cond", "cond"): cond @ cond.T}, 5.0), cond @ cond.T)


def test_resampling_to_the_measured_sigmas_changes_nothing():
    residuals, sigmas = RNG.normal(size=(8, 30)), list(np.geomspace(1, 0.05, 8))
    np.testing.assert_allclose(resample(residuals @ residuals.T, sigmas, sigmas), residuals @ residuals.T, atol=1e-9)


def test_resampling_is_exact_for_residuals_that_are_cubic_in_sigma():
    coefficients = RNG.normal(size=(4, 30))
    at = lambda sigmas: np.vander(sigmas, 4) @ coefficients  # noqa: E731
    measured, wanted = np.geomspace(1, 0.05, 10), np.linspace(0.99, 0.06, 17)
    np.testing.assert_allclose(resample(at(measured) @ at(measured).T, list(measured), list(wanted)), at(wanted) @ at(wanted).T, atol=1e-8)


def test_between_rough_residuals_something_unknown_is_expected():
    """As much as a path as rough as Brownian motion has, which real residuals resemble from one step to the next."""
    measured, wanted = np.linspace(1, 0.1, 31), np.linspace(1, 0.1, 61)
    path = np.cumsum(np.random.default_rng(0).normal(size=(61, 4000)), axis=0) / np.sqrt(4000)
    coarse = path[::2]
    found = resample(coarse @ coarse.T, list(measured), list(wanted))
    truth = path @ path.T
    np.testing.assert_allclose(np.diag(found)[::2], np.diag(truth)[::2], rtol=1e-6)
    np.testing.assert_allclose(np.diag(found)[3:-3:2].mean(), np.diag(truth)[3:-3:2].mean(), rtol=0.02)
    between = [found[step, step] - 2 * found[step, step - 1] + found[step - 1, step - 1] for step in range(3, 58)]
    assert 0.5 < np.mean(between) < 1.5  # In truth 1: the step of the path.


def test_beyond_the_ends_the_outermost_residual_is_held():
    residuals = RNG.normal(size=(5, 10))
    products = resample(residuals @ residuals.T, [0.9, 0.7, 0.5, 0.3, 0.2], [1.0, 0.9, 0.2, 0.1])
    assert products[0, 0] == pytest.approx(products[1, 1]) and products[2, 3] == pytest.approx(products[3, 3])


def test_expected_residuals_keep_their_sizes_and_turn_apart():
    sigmas, sizes = np.linspace(1, 0.1, 6), np.array([1, 1.2, 1.3, 1.3, 1.1, 0.8])
    products = expected_products(list(sizes), list(sigmas))
    np.testing.assert_allclose(np.diag(products), sizes**2)
    cosines = products / np.outer(sizes, sizes)
    assert (np.diff(cosines[0]) < 0).all() and np.linalg.eigvalsh(products).min() > -1e-9
