"""How a run is decided from what is known of it: curve, plan, and what is said."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from magcache import MagnitudeCurve, Reason, SpeedupSettings, ThresholdSettings, euler_influence, load_curve
from magcache.curves.propagation import CANDIDATES, CONTRACTING, GROWING
from magcache.curves.store import CurveStore, Saved
from magcache.errors import CalibrationError
from magcache.reports.run_report import Disturbance, Event, RunReport
from magcache.runtime.calibration_mode import CalibrationMode
from magcache.runtime.family import Family, ModelFacts, Stream
from magcache.runtime.fingerprint import fingerprint
from magcache.runtime.modes import SpeedupMode, ThresholdMode
from magcache.runtime.run_setup import RunFacts, RunSetup

STEPS = 20
SIGMAS = tuple(1 - step / STEPS for step in range(STEPS))
PLAIN = Family("flux", ("Flux",), ("blocks",), (Stream("x", tail="tail"),))
KNOWN = replace(PLAIN, identify=lambda facts: "flux")
NOTHING = CurveStore(())


def run(family: Family = PLAIN, sigmas: tuple[float, ...] = SIGMAS, **more: object) -> RunFacts:
    facts: dict[str, object] = {
        "family": family, "model": ModelFacts({}), "fingerprint": "0123456789abcdef", "sigmas": sigmas, "guidance": 3.0,
        "sigma_max": 1.0, "sigma_at": lambda part: 1 - part, "influence": euler_influence(sigmas), "one_a_step": True, "adds_noise": False,
    }  # fmt: skip
    return RunFacts(**{**facts, **more})  # type: ignore[arg-type]


def observed(setup: RunSetup, sigmas: tuple[float, ...] = SIGMAS, rough: float = 0.0) -> RunReport:
    """The report of a run whose residuals turn slowly, and wander by `rough` from step to step."""
    events = []
    for step, sigma in enumerate(sigmas):
        wander = rough * math.sin(5.0 * step)
        value = torch.stack([torch.full((4,), 1 + (step / 20) ** 2 + wander), torch.full((4,), 1 - step / 60 - wander)], dim=-1)[None]
        if setup.recorder:
            setup.recorder.observe(sigma, "cond", "a", (value,))
        events.append(Event(sigma, step, planned=False, reused=False))
    return RunReport(setup.label, setup.plan, tuple(events), (), 0)


@pytest.fixture
def store(tmp_path: Path) -> CurveStore:
    return CurveStore((tmp_path,))


def test_a_threshold_without_a_curve_computes_everything_and_says_why():
    setup = ThresholdMode("auto", ThresholdSettings()).setup(run(), NOTHING)
    assert setup.label.kind == "full" and setup.plan.reason is Reason.NO_CURVE and setup.ratios == ()
    setup = ThresholdMode("auto", ThresholdSettings(threshold=0.24, max_skip=5)).setup(run(KNOWN), NOTHING)
    assert (setup.label.kind, setup.label.curve) == ("skipping", "flux") and setup.plan.speedup > 1 and len(setup.ratios) == STEPS


def test_a_speedup_calibrates_first_and_is_planned_from_then_on(store: CurveStore):
    setup = SpeedupMode(2.0).setup(run(), store)
    assert setup.label.kind == "calibrating" and setup.recorder is not None
    text = setup.conclude(observed(setup)).text
    assert "the next run of this model is faster" in text
    setup = SpeedupMode(2.0).setup(run(), store)
    assert setup.label.kind == "skipping" and setup.plan.nfe == 10 and any(setup.plan.corrections)
    for change in ({"influence": None}, {"one_a_step": False}, {"adds_noise": True}):
        assert not any(SpeedupMode(2.0).setup(run(**change), store).plan.corrections), change


def test_a_thorough_calibration_is_followed_by_trials_and_keeps_what_they_measured(store: CurveStore):
    setup = CalibrationMode("auto", "mine", thorough=True).setup(run(), store)
    assert "20 steps" in setup.announcement and f"{8 * len(CANDIDATES)} steps more" in setup.announcement
    trials = setup.conclude(observed(setup)).trials
    assert trials is not None and [plan.nfe for plan in trials.plans] == [8] * len(CANDIDATES)
    assert store.load("mine", STEPS).propagation == GROWING, "the curve is saved before the trials"
    text = trials.conclude(lambda plan: 0.1 if plan == trials.plans[0] else 0.2)
    found = store.load("mine", STEPS).propagation
    assert found == replace(CONTRACTING, source="measured", trials=((0.1, *(0.2 for _ in CANDIDATES[1:])),))
    assert "early errors shrink (measured by trials of 1 run)" in text

    again = CalibrationMode("auto", "mine", average=True, thorough=True).setup(run(), store)
    trials = again.conclude(observed(again)).trials
    assert trials is not None
    assert "early errors grow (measured by trials of 2 runs)" in trials.conclude(lambda plan: 9.0 if plan == trials.plans[0] else 0.01)
    assert len(store.load("mine", STEPS).propagation.trials) == 2


def test_a_recognised_model_is_calibrated_with_the_propagation_of_its_published_plans(store: CurveStore):
    setup = CalibrationMode("auto", "mine").setup(run(KNOWN), store)
    setup.conclude(observed(setup))
    assert store.load("mine", STEPS).propagation == load_curve("flux").propagation != GROWING


def test_a_calibration_that_is_not_thorough_or_too_short_has_no_trials(store: CurveStore):
    setup = CalibrationMode("auto", "mine").setup(run(), store)
    assert not setup.announcement and setup.conclude(observed(setup)).trials is None
    short = CalibrationMode("auto", "short", thorough=True).setup(run(sigmas=SIGMAS[:9], closing_sigma=0.5), store)
    assert "there will be none" in short.announcement and short.conclude(observed(short, SIGMAS[:9])).trials is None


def test_the_part_of_a_schedule_that_a_run_covers():
    levels = (*SIGMAS, 0.0)
    parts = [run(sigmas=levels[begin:end], closing_sigma=levels[end]).schedule_part for begin, end in ((0, 20), (0, 8), (8, 20), (19, 20))]
    assert parts == pytest.approx([1, 0.4, 0.6, 0.05], abs=2e-3)
    assert run(sigmas=(), closing_sigma=0.0).schedule_part > 0


def test_half_a_schedule_of_twenty_steps_is_no_short_run(store: CurveStore):
    """Such as that of an expert of Wan 2.2, or of the second of two samplers."""
    setup = CalibrationMode("auto", "mine").setup(run(), store)
    setup.conclude(observed(setup, rough=0.3))
    for part in (run(sigmas=SIGMAS[:10], closing_sigma=SIGMAS[10]), run(sigmas=SIGMAS[10:])):
        plan = SpeedupMode(2.0, "mine").setup(part, store).plan
        assert plan.nfe == 5 and plan.reason is None


def test_a_short_run_that_gains_little_skips_less_and_says_what_skipping_would_cost(store: CurveStore):
    setup = CalibrationMode("auto", "mine").setup(run(), store)
    setup.conclude(observed(setup, rough=0.3))
    sigmas = SIGMAS[::2]
    setup = SpeedupMode(2.0, "mine").setup(run(sigmas=sigmas), store)
    assert setup.plan.reason is Reason.FEWER_STEPS and setup.plan.nfe > 5
    possible = f"{setup.plan.speedup:.1f}×"
    assert setup.label.why.startswith(f"You asked for 2.0×. In 10 steps {possible} is possible, because with more skipped, plain sampling")
    assert setup.label.asked == 2.0
    assert "with 9, " in setup.label.detail and "with 8 evaluations; above 0.36 it is not worth it" in setup.label.detail
    assert "was not measured (thorough" in setup.label.detail


def test_zero_takes_what_was_tuned(store: CurveStore):
    setup = SpeedupMode(0).setup(run(), store)
    setup.conclude(observed(setup))
    (name,) = store.own_files()
    store.save_preset(name, SpeedupSettings(2.5, "hold", 0.3, 1.0))
    setup = SpeedupMode(0).setup(run(), store)
    assert setup.label.tuned and setup.plan.nfe == 8 and not any(setup.plan.reused[:6])


def test_a_sampler_that_adds_noise_holds_slower_and_calibrates_nothing(store: CurveStore):
    setup = SpeedupMode(2.0).setup(run(adds_noise=True), store)
    assert setup.label.kind == "full" and setup.plan.reason is Reason.TOO_NOISY_TO_MEASURE and setup.recorder is None
    setup = SpeedupMode(3.0).setup(run(KNOWN, adds_noise=True), store)
    assert setup.label.curve == "flux" and 1.4 < setup.plan.speedup <= 1.55 and "at most 1.5×" in setup.label.note
    calibrating = CalibrationMode("auto", "").setup(run(adds_noise=True), store)
    with pytest.raises(CalibrationError, match="adds noise"):
        calibrating.conclude(observed(calibrating))
    assert not store.own_files()


def test_a_run_of_few_steps_calibrates_nothing_and_says_so(store: CurveStore):
    setup = SpeedupMode(2.0).setup(run(sigmas=SIGMAS[:6]), store)
    assert setup.label.kind == "full" and setup.plan.reason is Reason.TOO_SHORT_TO_MEASURE
    assert setup.label.why == (
        "There is no curve for this model (flux) yet, and a run of 6 steps is too short to measure one: it takes 10."
    )


def test_more_than_is_possible_is_told_with_what_was_asked_and_why(store: CurveStore):
    setup = CalibrationMode("auto", "mine").setup(run(), store)
    setup.conclude(observed(setup))
    setup = SpeedupMode(8.0, "mine").setup(run(), store)
    assert setup.plan.reason is Reason.LIMITED and setup.plan.nfe > 2
    assert setup.label.why == (
        f"You asked for 8.0×. In 20 steps {setup.plan.speedup:.1f}× is possible, because the first steps, the last one and those at which "
        "the model changes fast are always computed."
    )
    setup = SpeedupMode(2.0, "mine", start_percent=0.6).setup(run(), store)
    assert setup.plan.reason is Reason.LIMITED_BY_WINDOW and "only steps between 60% and 100% of the schedule" in setup.label.why


def test_a_start_after_the_end_is_told_with_both(store: CurveStore):
    setup = CalibrationMode("auto", "mine").setup(run(), store)
    setup.conclude(observed(setup))
    setup = SpeedupMode(2.0, "mine", start_percent=0.7, end_percent=0.4).setup(run(), store)
    assert setup.plan.reason is Reason.EMPTY_WINDOW and not any(setup.plan.reused)
    assert setup.label.why == "Skipping may begin at 70% of the schedule but must end at 40% of it."
    settings = ThresholdSettings(threshold=0.24, start_step=15, end_step=-10)
    setup = ThresholdMode("flux", settings).setup(run(), store)
    assert setup.plan.reason is Reason.EMPTY_WINDOW
    assert setup.label.why == "Skipping may begin at step 15 but must end at step 10 (steps count from 0, the last one is 19)."
    setup = ThresholdMode("flux", replace(settings, start_step=0, retention=0.9)).setup(run(), store)
    assert setup.plan.reason is Reason.NO_STEP_ALLOWED
    assert setup.label.why == (
        "The first 18 of 20 steps are always computed, and the last step that may be skipped is 10: that leaves none."
    )


def test_the_published_rule_says_what_is_missing(store: CurveStore):
    setup = ThresholdMode("auto", ThresholdSettings()).setup(run(), store)
    assert setup.plan.reason is Reason.NO_CURVE and setup.label.why == "There is no curve for this model (flux) yet."
    setup = ThresholdMode("auto", ThresholdSettings(threshold=0.001)).setup(run(KNOWN, sigmas=(1.0, 0.9, 0.8, 0.7)), store)
    assert setup.plan.reason is Reason.ERROR_TOO_LARGE
    least = min(abs(1 - ratio) for ratio in load_curve("flux").ratios_at((1.0, 0.9, 0.8, 0.7), "cond")[1:])
    assert setup.label.why == f"Every skip would exceed the threshold: it is 0.001, and the least error of a skip is {least:.3g}."
    setup = ThresholdMode("auto", ThresholdSettings(threshold=least * 1.01)).setup(run(KNOWN, sigmas=(1.0, 0.9, 0.8, 0.7)), store)
    assert any(setup.plan.reused), "it skips with a threshold above it"


@pytest.mark.parametrize("disturbance", Disturbance)
def test_a_disturbed_run_saves_nothing(store: CurveStore, disturbance: Disturbance):
    setup = CalibrationMode("auto", "mine").setup(run(), store)
    with pytest.raises(CalibrationError, match="Nothing was calibrated, because"):
        setup.conclude(replace(observed(setup), disturbances=(disturbance,)))
    assert not store.own_files()


def test_a_run_that_was_not_wholly_seen_saves_nothing(store: CurveStore):
    setup = CalibrationMode("auto", "mine").setup(run(), store)
    report = observed(setup, SIGMAS[:12])
    more = tuple(Event(sigma, step, planned=False, reused=False) for step, sigma in enumerate(SIGMAS))
    with pytest.raises(CalibrationError, match=r"last seen at sigma 0.45 of a run that went down to 0.05"):
        setup.conclude(replace(report, events=more))


@pytest.mark.parametrize(
    ("sigmas", "closing", "name"),
    [
        (SIGMAS, 0.0, "mine"),
        (SIGMAS[:10], 0.5, "mine-1.000-to-0.550"),
        (SIGMAS[:5], 0.0, "mine-1.000-to-0.800"),
        (SIGMAS[10:], 0.0, "mine-below0.50"),
    ],
)
def test_a_part_of_a_schedule_gets_a_name_of_its_own(store: CurveStore, sigmas: tuple[float, ...], closing: float, name: str):
    setup = CalibrationMode("auto", "mine").setup(run(sigmas=sigmas, closing_sigma=closing), store)
    setup.conclude(observed(setup, sigmas))
    assert list(store.own_files()) == [name]


def test_averaging_counts_runs(store: CurveStore):
    for _ in range(2):
        setup = CalibrationMode("flux_calibration", "mine", average=True).setup(run(), store)
        text = setup.conclude(observed(setup)).text
    found = store.load("mine", STEPS)
    assert found.provenance["runs"] == 2 and found.provenance["model"] == "flux" and "the mean of 2 runs" in text


def test_saved_is_called_with_the_curve_and_its_path(store: CurveStore):
    seen: list[tuple[MagnitudeCurve, Saved]] = []
    setup = CalibrationMode("auto", "mine", saved=lambda curve, saved: seen.append((curve, saved))).setup(run(), store)
    setup.conclude(observed(setup))
    assert [(curve.name, saved) for curve, saved in seen] == [("mine", Saved(store.folders[0] / "mine.json"))]


def test_a_fingerprint_tells_models_apart_and_survives_rounding():
    weights = {f"block.{index}.bias": (torch.linspace(-1, 1, 32) * (index + 1)).bfloat16() for index in range(6)}
    own = fingerprint("Flux", {"dim": 8}, weights)
    assert own == fingerprint("Flux", {"dim": 8}, {name: value.float() for name, value in reversed(weights.items())})
    assert len({own, fingerprint("Wan", {"dim": 8}, weights), fingerprint("Flux", {"dim": 9}, weights)}) == 3
    other = {**weights, "block.0.bias": weights["block.0.bias"] + 0.5}
    assert own != fingerprint("Flux", {"dim": 8}, other)
