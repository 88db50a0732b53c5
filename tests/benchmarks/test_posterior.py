"""The model without a network: an exact flow, growing or contracting as it says, and what a thorough calibration finds out about it."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.small import posterior
from benchmarks.small.posterior import CONTRACTING, GROWING, Kind, Posterior, Sheet
from magcache import MagnitudeCurve, Plan, euler_influence
from magcache.planning.plan import Correction
from magcache.planning.trials import measure_propagation, trial_plans

KINDS = {"growing": GROWING, "contracting": CONTRACTING}
PROMPTS = {
    "growing": ("sky", "triangle", "square"),
    "contracting": ("a orange circle on snow", "a red triangle on night", "a blue star on sky"),
}
SIGMAS = posterior.schedule(20)
each_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
flow = Posterior.of


def distance(latent: np.ndarray, reference: np.ndarray) -> float:
    return float(np.linalg.norm(latent - reference) / np.linalg.norm(reference))


def plan_of(steps: int, recipes: dict[int, tuple[tuple[int, float], ...]], corrections: dict[int, Correction] | None = None) -> Plan:
    return Plan(
        posterior.schedule(steps),
        tuple(step in recipes for step in range(steps)),
        (0.0,) * steps,
        tuple(recipes.get(step, ()) for step in range(steps)),
        tuple((corrections or {}).get(step) for step in range(steps)),
    )


# The flow


@each_kind
@pytest.mark.parametrize("sigma", [1.0, 0.9, 0.5, 0.05])
def test_the_velocity_is_that_of_the_exact_posterior(kind: Kind, sigma: float):
    model = flow(kind.prompts[0], kind)
    pictures, variance = model.pictures.astype(float), ((1 - sigma) * kind.detail) ** 2 + sigma**2
    rng = np.random.default_rng(0)
    latent = (1 - sigma) * pictures[:3] + np.sqrt(variance) * rng.standard_normal((3, pictures.shape[1]))
    for row, found in zip(latent, model.velocity(latent.astype(np.float32), sigma), strict=True):
        scores = -((row - (1 - sigma) * pictures) ** 2).sum(axis=1) / (2 * variance)
        chances = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
        # Of each picture: E[x₀ | x] and E[ε | x], by the joint distribution of the latent with detail and noise.
        rest = row - (1 - sigma) * pictures
        clean, noise = pictures + (1 - sigma) * kind.detail**2 / variance * rest, sigma / variance * rest
        np.testing.assert_allclose(found, chances @ (noise - clean), rtol=2e-3, atol=2e-3)


@each_kind
def test_a_run_ends_at_one_of_the_pictures_but_for_the_detail(kind: Kind):
    model = flow(kind.prompts[0], kind)
    latent = model.sample(model.noise(1, 200), posterior.schedule(60)).latent
    apart = np.sqrt(((latent[:, None] - model.pictures) ** 2).mean(axis=2)).min(axis=1)
    assert np.median(apart) == pytest.approx(kind.detail, rel=0.25)


def test_tiles_do_not_look_at_each_other():
    model = flow("star", GROWING)
    noise = model.noise(3, 8)
    whole, part = model.sample(noise, SIGMAS).latent, model.sample(noise[2:3], SIGMAS).latent
    np.testing.assert_allclose(whole[2:3], part, atol=1e-3)


def test_a_prompt_has_the_same_pictures_each_time_and_other_ones_than_others():
    one, again, other = (flow(prompt, GROWING).pictures for prompt in ("star", "star", "circle"))
    np.testing.assert_array_equal(one, again)
    assert one.shape == (posterior.PICTURES, 3 * posterior.SIDE**2) and not np.allclose(one, other)
    assert np.abs(one).max() <= GROWING.contrast * 1.001
    assert all(flow(prompt, kind).pictures.shape == one.shape for kind in KINDS.values() for prompt in kind.prompts[::7])


def test_a_prompt_of_other_words_is_refused():
    with pytest.raises(ValueError, match="'a cat'; expected words such as"):
        flow("a cat", GROWING)


def test_the_schedule_falls_from_1():
    for steps in (1, 4, 50):
        sigmas = posterior.schedule(steps)
        assert len(sigmas) == steps and sigmas[0] == 1 and sigmas[-1] > 0 and (np.diff(sigmas) < 0).all()


def test_psnr_is_90_for_the_same_sheet_and_20_for_a_tenth_of_the_range():
    model = flow("star", GROWING)
    latent = np.zeros((2, 5, 48), np.float32)
    assert model.psnr(latent, latent).tolist() == pytest.approx([90, 90])
    assert model.psnr(latent + 0.2 * GROWING.contrast, latent).tolist() == pytest.approx([20, 20], abs=1e-4)


# What a plan changes


def test_without_reuse_a_plan_changes_nothing():
    model = flow("star", GROWING)
    noise = model.noise(0, 8)
    full, planned = model.sample(noise, SIGMAS), model.sample(noise, SIGMAS, plan_of(20, {}))
    np.testing.assert_array_equal(full.latent, planned.latent)
    assert full.evaluations == planned.evaluations == 20


def test_recipes_and_corrections_are_carried_out():
    model = flow("star", GROWING)
    noise, sigmas = model.noise(0, 8), (*posterior.schedule(5), 0.0)
    plan = plan_of(5, {2: ((1, 1.5), (0, -0.5)), 3: ((1, 2.0), (0, -1.0))}, {4: Correction(0.7, ((1, 2.5), (0, -1.5)))})
    run = model.sample(noise, sigmas[:-1], plan)
    assert run.evaluations == 3
    latent, velocities = noise, []
    for step in range(5):
        computed = model.velocity(latent, sigmas[step])
        velocity = {2: lambda v: 1.5 * v[1] - 0.5 * v[0], 3: lambda v: 2 * v[1] - v[0]}.get(step, lambda v, now=computed: now)(velocities)
        velocities.append(velocity)
        if step == 4:
            velocity = velocity + 0.7 * (velocity - (2.5 * velocities[1] - 1.5 * velocities[0]))
        latent = latent + (sigmas[step + 1] - sigmas[step]) * velocity
    np.testing.assert_allclose(run.latent, latent, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(run.residuals, np.stack(velocities), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", KINDS)
def test_an_early_nudge_grows_in_one_kind_and_shrinks_in_the_other(name: str):
    model = flow(PROMPTS[name][1], KINDS[name])
    noise = model.noise(7, 512)
    amplified = []
    for begin in (4, 16):
        latents = [noise, None]
        for step, (sigma, after) in enumerate(itertools.pairwise((*SIGMAS, 0.0))):
            if step == begin:
                latents[1] = latents[0] + 0.02 * np.random.default_rng(step).standard_normal(noise.shape, dtype=np.float32)
                nudge = np.linalg.norm(latents[1] - latents[0])
            latents = [each if each is None else each + np.float32(after - sigma) * model.velocity(each, sigma) for each in latents]
        amplified.append(np.linalg.norm(latents[1] - latents[0]) / nudge)
    early, late = amplified
    assert early > 2 * late if name == "growing" else early < late


# What a calibration finds out


def calibrated(model: Posterior, noise: np.ndarray, sigmas: tuple[float, ...]) -> tuple[Sheet, MagnitudeCurve]:
    full = model.sample(noise, sigmas)
    return full, posterior.curve_of(full, sigmas)


def test_the_curve_holds_what_the_run_had():
    model = flow("star", GROWING)
    full, curve = calibrated(model, model.noise(0, 16), SIGMAS)
    rows = full.residuals.reshape(20, -1).astype(float)
    found = np.array(curve.products_at(SIGMAS, 1.0))
    np.testing.assert_allclose(found / found[3, 5], rows @ rows.T / (rows[3] @ rows[5]), rtol=1e-6)
    assert curve.sigmas == SIGMAS and curve.ratios["cond"][0] == 1
    assert curve.ratios["cond"][4] == pytest.approx(
        (np.linalg.norm(full.residuals[4], axis=1) / np.linalg.norm(full.residuals[3], axis=1)).mean()
    )


@pytest.mark.parametrize("correct", [True, False], ids=["corrected", "not corrected"])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", KINDS)
def test_trial_plans_tell_whether_errors_grow(name: str, seed: int, correct: bool):
    model = flow(PROMPTS[name][seed], KINDS[name])
    noise, sigmas = model.noise(seed), posterior.schedule(28)
    full, curve = calibrated(model, noise, sigmas)
    plans = trial_plans(curve, sigmas, influence=euler_influence(sigmas), correct=correct)
    assert plans[0].computed != plans[1].computed and [plan.nfe for plan in plans] == [11, 11]
    assert any(plans[0].corrections) == any(plans[1].corrections) == correct
    grows = name == "growing"
    taken = replace(curve, propagation=replace(curve.propagation, growth=0.0 if grows else 3.75))  # The trials must overrule it.
    found = measure_propagation(taken, plans, lambda plan: distance(model.sample(noise, sigmas, plan).latent, full.latent)).propagation
    assert found.grows is grows and found.source == "measured"
    (errors,) = found.trials
    better, worse = errors[::-1] if grows else errors
    assert 0 < better < worse / 1.1 and worse < 0.1, f"an error of {better:.4f} against {worse:.4f}"
