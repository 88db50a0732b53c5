"""What a user is told of a run that did not skip as asked, and that nothing is told of one that did."""

from __future__ import annotations

from dataclasses import replace

import pytest

from magcache.comfyui.notify import advice
from magcache.planning.plan import Plan, Reason, compute_all
from magcache.reports.run_report import Disturbance, Event, RunLabel, RunReport

LABEL = RunLabel("skipping", "flux")


def report(decisions: str, reason: Reason | None = None, steps: int | None = None, label: RunLabel = LABEL) -> RunReport:
    """A run written as one letter an evaluation: c computed, r reused, x planned to be reused but computed."""
    count = len(decisions) if steps is None else steps
    sigmas = tuple(1 - i / 50 for i in range(count))
    reused = tuple(letter in "rx" for letter in decisions[:count])
    events = tuple(Event(1 - i / 50, i, planned=letter in "rx", reused=letter == "r") for i, letter in enumerate(decisions))
    return RunReport(label, Plan(sigmas, reused, (0.0,) * count, reason=reason), events, (), 0)


def told(run: RunReport) -> str:
    found = advice(run)
    assert found is not None and found.startswith("MagCache: ")
    return found


# Nothing to tell


@pytest.mark.parametrize("decisions", ["c" * 9 + "r", "c" * 8 + "xr", "cr" * 20])
def test_nothing_is_told_of_a_run_that_skipped(decisions: str):
    assert advice(report(decisions)) is None


def test_nothing_is_told_of_a_run_that_was_switched_off():
    assert advice(report("c" * 20, Reason.OFF)) is None


def test_nothing_is_told_of_a_run_that_did_not_begin():
    assert advice(RunReport(LABEL, compute_all((1.0,), Reason.NO_CURVE), (), (), 0)) is None


@pytest.mark.parametrize("decisions", ["c" * 20, "c" * 4])
def test_a_calibration_is_not_warned_of(decisions: str):
    assert advice(report(decisions, Reason.NO_CURVE, label=RunLabel("calibrating"))) is None
    disturbed = replace(report(decisions, label=RunLabel("calibrating")), disturbances=(Disturbance.OTHER_CACHE,))
    assert advice(disturbed) is None, "it tells by itself why nothing was calibrated"


def test_a_curve_that_is_called_calibration_is_warned_of_as_any_other():
    assert "raise magcache_thresh" in told(report("c" * 20, Reason.ERROR_TOO_LARGE, label=RunLabel("skipping", "calibration")))


# Nothing was skipped


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (report("cccc"), "With 4 steps there is little to skip. Few-step (distilled) models"),
        (report("cccc", Reason.TOO_SHORT), "With 4 steps there is little to skip"),
        (report("c", Reason.TOO_SHORT), "With 1 step there is little to skip"),
        (report("cccc", Reason.ERROR_TOO_LARGE), "With 4 steps there is little to skip"),
        (report("c" * 16, steps=8), "With 8 steps"),
        (report("cxxx"), "the conditioning, the size or the patches changed between steps"),
        (report("c" * 10 + "x" * 10), "the conditioning, the size or the patches changed between steps"),
        (
            report("c" * 20, Reason.NO_CURVE),
            "there is no curve for this model. Run it once with MagCache Calibration",
        ),
        (report("c" * 4, Reason.NO_CURVE), "because there is no curve for this model"),
        (report("c" * 20, Reason.NOT_FALLING), "because the noise levels do not fall. Use a schedule whose sigmas fall"),
        (report("c" * 4, Reason.NOT_FALLING), "because the noise levels do not fall"),
        (report("c" * 20, Reason.NO_STEP_ALLOWED), "settings allow no step to be skipped. Lower retention_ratio or start_step"),
        (report("c" * 4, Reason.NO_STEP_ALLOWED), "because the settings allow no step to be skipped"),
        (report("c" * 10, Reason.ERROR_TOO_LARGE), "For more speed raise magcache_thresh or magcache_K, or lower retention_ratio"),
        (report("c" * 20, Reason.NOT_COVERED), "Calibrate with the scheduler, shift and denoise of this run"),
        (report("c" * 20, Reason.LIMITED), "cannot be planned for this run. Use more steps, or a lower speed-up"),
    ],
)
def test_nothing_was_skipped(run: RunReport, words: str):
    text = told(run)
    assert text.startswith("MagCache: nothing was skipped")
    assert words in text


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason is not Reason.OFF])
def test_every_reason_comes_with_what_to_do(reason: Reason):
    text = told(report("c" * 20, reason))
    assert reason.value in text and len(text.split(". ", 1)[1]) > 20


def test_the_note_of_a_run_says_why():
    label = RunLabel("full", note="A run of fewer than 10 steps does not calibrate a model.")
    assert told(report("cccc", Reason.NO_CURVE, label=label)) == f"MagCache: nothing was skipped. {label.note}"


@pytest.mark.parametrize("decisions", ["c" * 20, "cr" * 10, "cx" * 10])
def test_another_cache_is_named_before_all_else(decisions: str):
    run = replace(report(decisions, Reason.LIMITED), disturbances=(Disturbance.EXTRA_EVALUATIONS, Disturbance.OTHER_CACHE))
    assert "another step cache (such as EasyCache) is on this model" in told(run)


def test_a_check_that_failed_is_told():
    run = replace(report("cx" * 10, Reason.LIMITED), disturbances=(Disturbance.NOT_REPRODUCED,))
    assert "a skipped step would not give what its blocks give" in told(run) and "Remove other nodes" in told(run)


# Something was skipped, but not as asked


def test_a_speedup_out_of_reach_is_told():
    text = told(report("ccr" * 4, Reason.LIMITED))
    assert "12 evaluations · 4 reused" in text
    assert text.endswith("With 12 steps no more than 1.5× can be planned.")


def test_a_run_of_few_steps_that_skipped_is_warned_of():
    text = told(report("ccrr"))
    assert text.endswith("It skipped 2 of only 4 steps, which can change the picture a lot.")
    assert told(report("ccr")).endswith("It skipped 1 of only 3 steps, which can change the picture a lot.")


def test_all_notes_of_a_run_are_told():
    label = RunLabel("skipping", "flux", note="The sampler adds noise.")
    text = told(report("ccr", Reason.LIMITED, label=label))
    parts = ["The sampler adds noise.", "With 3 steps no more than 1.5× can be planned.", "It skipped 1 of only 3 steps"]
    assert [text.index(part) for part in parts] == sorted(text.index(part) for part in parts)
    assert told(report("cr" * 10, label=label)).endswith("curve flux. The sampler adds noise.")


def test_a_run_without_corrections_says_why():
    run = replace(report("cr" * 10), disturbances=(Disturbance.EXTRA_EVALUATIONS,))
    assert told(run).endswith("more often than once a step, so errors of skipped steps were not corrected.")
