"""What a user is told of a run that did not skip as asked, and that nothing is told of one that did."""

from __future__ import annotations

from dataclasses import replace

import pytest

from magcache.comfyui.notify import advice
from magcache.planning.plan import Plan, Reason, compute_all
from magcache.reports.reasons import WHY
from magcache.reports.run_report import Disturbance, Event, RunLabel, RunReport
from magcache.texts import Text

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
    assert found is not None
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


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason not in (Reason.OFF, Reason.UNUSABLE)])
@pytest.mark.parametrize("count", [1, 4, 20])
def test_every_reason_of_the_plan_is_said_with_what_to_do(reason: Reason, count: int):
    """However short the run is: the number of steps is not taken for a reason."""
    text = told(report("c" * count, reason))
    assert text.startswith(f"Nothing was skipped. {WHY[reason]} ") and len(text.removeprefix(f"Nothing was skipped. {WHY[reason]}")) > 13


def test_the_figures_of_the_run_go_before_the_general_reason():
    label = RunLabel("full", why=Text("This run has {count} steps.", count=4))
    text = told(report("cccc", Reason.TOO_SHORT_TO_MEASURE, label=label))
    assert text.startswith("Nothing was skipped. This run has 4 steps. Run it once with 10 steps or more.")
    assert "no curve" not in text


def test_a_plan_without_a_reason_needs_none():
    assert advice(report("cccc")) is None


def test_a_run_that_changed_on_the_way():
    for run in (report("cxxx"), report("c" * 10 + "x" * 10)):
        assert "The prompt, the size, the batch or a patch changed from step to step" in told(run) and "Prompt schedules" in told(run)


def test_a_model_with_a_memory_of_its_own():
    run = report("cxxx")
    run = replace(run, events=tuple(replace(event, withheld=True) for event in run.events))
    assert "keeps a memory of its own" in told(run) and "prompt" not in told(run).lower()


@pytest.mark.parametrize("decisions", ["c" * 20, "cr" * 10, "cx" * 10])
@pytest.mark.parametrize(
    ("name", "words"), [("LazyCache", "LazyCache is on this model too"), ("", "Another node skipped steps of this model")]
)
def test_another_cache_is_named_before_all_else(decisions: str, name: str, words: str):
    disturbances = (Disturbance.EXTRA_EVALUATIONS, Disturbance.OTHER_CACHE)
    run = replace(report(decisions, Reason.LIMITED), disturbances=disturbances, other_cache=name)
    assert told(run).startswith(words) and told(run).endswith("Remove one of the two.")


def test_a_check_that_failed_is_told():
    run = replace(report("cx" * 10, Reason.LIMITED), disturbances=(Disturbance.NOT_REPRODUCED,))
    assert "did not give the right result on this model" in told(run) and "Remove other nodes" in told(run)
    unknown = replace(run, label=replace(LABEL, unknown="NewDiT"))
    assert told(unknown).startswith("MagCache does not know this kind of model (NewDiT).")


# Something was skipped, but not as asked


def test_a_speedup_out_of_reach_is_told():
    why = Text("You asked for {asked:.1f}×.", asked=4)
    text = told(report("ccr" * 4, Reason.LIMITED, label=replace(LABEL, why=why)))
    assert text.startswith("about 1.5× faster (predicted) · 8 of 12 steps computed · 4 skipped · curve flux. You asked for 4.0×.")
    assert text.endswith("Use more steps for more speed.")


def test_a_run_of_few_steps_that_skipped_is_warned_of():
    text = told(report("ccrr"))
    assert text.endswith("It skipped 2 of only 4 steps, which can change the picture a lot.")
    assert told(report("ccr")).endswith("It skipped 1 of only 3 steps, which can change the picture a lot.")


def test_all_notes_of_a_run_are_told():
    label = RunLabel("skipping", "flux", note="The sampler adds noise.")
    text = told(report("ccr", Reason.LIMITED, label=label))
    parts = ["The sampler adds noise.", str(WHY[Reason.LIMITED]), "It skipped 1 of only 3 steps"]
    assert [text.index(part) for part in parts] == sorted(text.index(part) for part in parts)
    assert told(report("cr" * 10, label=label)).endswith("curve flux. The sampler adds noise.")


def test_a_run_without_corrections_says_why():
    run = replace(report("cr" * 10), disturbances=(Disturbance.EXTRA_EVALUATIONS,))
    assert told(run).endswith("more often than once a step, so errors of skipped steps were not corrected.")
