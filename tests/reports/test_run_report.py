"""What is told about a run."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from magcache.planning.plan import Plan, Reason
from magcache.reports.run_report import Disturbance, Event, RunLabel, RunReport
from magcache.reports.wording import size_of, status, summary

LABEL = RunLabel("skipping", "flux")


def report(decisions: str, seconds: tuple[float, ...] = (), steps: int | None = None, residual_bytes: int = 0) -> RunReport:
    """A run written as one letter an evaluation: c computed, r reused, x planned to be reused but computed."""
    events = tuple(Event(1 - i / 50, i, planned=letter in "rx", reused=letter == "r") for i, letter in enumerate(decisions))
    count = len(decisions) if steps is None else steps
    reused = tuple(i > 0 and letter in "rx" for i, letter in enumerate(decisions.ljust(count, "c")[:count]))
    plan = Plan(tuple(1 - i / 50 for i in range(count)), reused, (0.0,) * count)
    return RunReport(LABEL, plan, events, seconds, residual_bytes)


def test_counts():
    run = report("ccrrxrc")
    assert (run.evaluations, run.reused, run.nfe, run.refused) == (7, 3, 4, 1)
    assert run.predicted == 7 / 4


def test_nothing_happened():
    run = report("")
    assert (run.evaluations, run.nfe, run.predicted, run.measured) == (0, 0, 1.0, None)
    assert run.line() == "MagCache: nothing skipped · 0 steps computed · curve flux"


def test_measured_speedup():
    assert report("crcr", (1.0, 0.1, 1.0, 0.1)).measured == pytest.approx(4 / 2.2)
    assert report("ccrcr", (5.0, 1.0, 0.1, 1.0, 0.1)).measured == pytest.approx(5 / 7.2), "a slow first step does not flatter"
    assert report("crxr", (1.0, 0.1, 1.0, 0.1)).measured == pytest.approx(4 / 2.2), "a refused step is a computed one"


@pytest.mark.parametrize(("decisions", "seconds"), [("cccc", (1.0,) * 4), ("crcr", ()), ("crcr", (0.0,) * 4), ("rr", (0.1, 0.1))])
def test_no_measure_without_grounds(decisions: str, seconds: tuple[float, ...]):
    run = report(decisions, seconds)
    assert run.measured is None
    assert "measured" not in run.line()
    assert run.to_json()["measured_speedup"] is None


def test_line():
    run = report("crcrx", (1.0, 0.1, 1.0, 0.1, 1.0), residual_bytes=12_345_678)
    assert run.line() == (
        "MagCache: 1.6× faster (predicted 1.7×) · 3 of 5 steps computed · 2 skipped · curve flux · 12.3 MB of memory · "
        "1 planned skip was not safe"
    )
    assert "2.50 GB of memory" in report("cr", residual_bytes=2_500_000_000).line()
    assert "memory" not in report("cr").line()
    assert "2 planned skips were not safe" in report("crxx").line() and "not safe" not in report("cr").line()


def test_the_line_for_the_log_holds_what_is_no_word_for_a_node():
    run = replace(report("cr"), label=replace(LABEL, errors=(("video", 0.0123), ("sound", 0.2))), reuses="prediction")
    more = "predicted error video 0.012, sound 0.200 · the model's prediction is reused as a whole"
    assert run.line() == f"MagCache: {summary(run)} · {more}"
    assert run.line("calibrated") == f"MagCache: calibrated · {more}"


def test_to_json():
    run = report("crx", (1.0, 0.25, 1.0), residual_bytes=64)
    run = replace(run, label=replace(LABEL, asked=3.0), plan=replace(run.plan, reason=Reason.LIMITED))
    document = json.loads(json.dumps(run.to_json(), allow_nan=False))
    assert document == {
        "kind": "skipping",
        "curve": "flux",
        "tuned": False,
        "asked_speedup": 3.0,
        "reason": "a higher speed-up cannot be planned for this run",
        "reuses": "blocks",
        "predicted_errors": {},
        "steps": 3,
        "evaluations": 3,
        "nfe": 2,
        "predicted_speedup": 1.5,
        "measured_speedup": 3 / 2.25,
        "residual_bytes": 64,
        "sigmas": [1.0, 0.98, 0.96],
        "decisions": ["compute", "reuse", "compute"],
        "seconds": [1.0, 0.25, 1.0],
    }


def of_steps(*letters: str, planned: str, seconds: tuple[float, ...] = ()) -> RunReport:
    """A run with a group of evaluations for each step, as a sampler such as Heun makes."""
    plan = Plan(tuple(1 - i / 50 for i in range(len(planned))), tuple(letter == "r" for letter in planned), (0.0,) * len(planned))
    events = [Event(plan.sigmas[step], step, plan.reused[step], letter == "r") for step, group in enumerate(letters) for letter in group]
    return RunReport(LABEL, plan, tuple(events), seconds, 0)


def test_evaluations_of_a_step_are_put_together():
    run = of_steps("c", "cc", "rr", "rc", planned="ccrr", seconds=(1.0, 1.0, 2.0, 0.25, 0.5, 0.25, 1.0))
    steps = run.outcomes()
    assert [step.evaluations for step in steps] == [1, 2, 2, 2]
    assert [step.computed for step in steps] == [1, 2, 0, 1]
    assert [step.refused for step in steps] == [0, 0, 0, 1]
    assert [step.reused for step in steps] == [False, False, True, False]
    assert [step.seconds for step in steps] == [1.0, 3.0, 0.75, 1.25]
    assert [step.sigma for step in steps] == list(run.plan.sigmas)


def test_a_step_is_only_told_what_is_known():
    run = of_steps("c", "cc", "r", planned="ccrr", seconds=(1.0, 0.5))
    first, second, third, last = run.outcomes()
    assert (first.seconds, second.seconds, third.seconds) == (1.0, None, None)
    assert (last.evaluations, last.reused) == (0, False), "a step that was not reached is not reused"
    assert {step.ratio for step in run.outcomes()} == {None}
    assert [step.ratio for step in replace(run, ratios=(1.0, 0.9, 0.8, 0.7)).outcomes()] == [1.0, 0.9, 0.8, 0.7]


def test_an_evaluation_outside_of_the_plan_belongs_to_no_step():
    run = report("cr")
    run = replace(run, events=(Event(2.0, None, False, False), *run.events), seconds=(1.0, 2.0, 0.5))
    assert [step.seconds for step in run.outcomes()] == [2.0, 0.5]
    assert run.evaluations == 3


def test_status():
    assert status(report("c", steps=28), 1, 28) == "1 of 28 steps · 0 skipped"
    assert status(report("ccrr", (1.0, 1.0, 0.25, 0.25), steps=28), 4, 28) == "4 of 28 steps · 2 skipped · 1.6× so far"
    assert status(report("ccrr", (1.0, 1.0), steps=28), 4, 28) == "4 of 28 steps · 2 skipped", "the device has not come that far"
    assert status(of_steps("c", "cc", "rr", "r", planned="ccrr"), 4, 4) == "4 of 4 steps · 2 skipped", "steps, not evaluations"
    assert status(replace(report("cc"), label=RunLabel("calibrating")), 2, 28) == "2 of 28 steps · measuring"


def test_a_single_step_is_one_step():
    assert status(report("c"), 1, 1) == "1 of 1 step · 0 skipped"
    assert summary(report("c")) == "nothing skipped · 1 step computed · curve flux"
    assert summary(report("cr")).startswith("about 2.0× faster (predicted) · 1 of 2 steps computed · 1 skipped")


def test_a_run_that_was_no_faster_is_not_called_faster():
    assert summary(report("crcr", (1.0, 0.95, 1.0, 0.95))).startswith("not faster (1.0× measured, 2.0× predicted) · ")


def test_steps_are_counted_and_calls_beside_them_where_there_are_more():
    run = of_steps("c", "cc", "rr", "rc", planned="ccrr")
    assert summary(run).startswith("about 1.8× faster (predicted) · 3 of 4 steps computed · 1 skipped · 4 of 7 calls of the model computed")


def test_table():
    run = replace(report("crx", (1.0, 0.0125, 2.0)), ratios=(1.0, 1.0204, 0.9))
    run = replace(run, plan=replace(run.plan, errors=(0.0, 0.0345, 0.1)))
    assert run.table().splitlines() == [
        "step    sigma   ratio   error        ms  blocks",
        "   0   1.0000   1.000            1000.0  computed",
        "   1   0.9800   1.020   0.035      12.5  reused",
        "   2   0.9600   0.900   0.100    2000.0  computed, planned to be reused",
    ]
    unknown = report("c", steps=2).table().splitlines()
    assert unknown[1:] == ["   0   1.0000                            computed", "   1   0.9800                            not reached"]


def test_a_corrected_step_is_told_as_one():
    run = report("ccrc")
    events = (*run.events[:3], replace(run.events[3], corrected=True))
    assert replace(run, events=events).table().splitlines()[-1].endswith("  computed, corrected the steps before")
    assert [step.corrected for step in replace(run, events=events).outcomes()] == [0, 0, 0, 1]


@pytest.mark.parametrize(
    ("label", "text"),
    [
        (RunLabel("skipping", "flux"), "curve flux"),
        (RunLabel("skipping", "flux", tuned=True), "curve flux (tuned)"),
        (RunLabel("full"), "no curve"),
        (RunLabel("calibrating"), "measuring a curve"),
        (RunLabel("skipping", "calibration"), "curve calibration"),
        (RunLabel("skipping", "none"), "curve none"),
    ],
)
def test_what_a_run_goes_by(label: RunLabel, text: str):
    """A curve's name is only a name: one that is called `calibration` does not make a run one."""
    run = replace(report("cr"), label=label)
    assert f" · {text}" in run.line()
    assert status(run, 2, 2).endswith("measuring") == (label.kind == "calibrating")


@pytest.mark.parametrize(
    ("label", "fields"),
    [
        (RunLabel("calibrating"), {"kind": "calibrating", "curve": None, "tuned": False}),
        (RunLabel("full", note="Few steps."), {"kind": "full", "curve": None, "tuned": False}),
        (RunLabel("skipping", "mine", tuned=True), {"kind": "skipping", "curve": "mine", "tuned": True}),
    ],
)
def test_the_label_in_json(label: RunLabel, fields: dict[str, object]):
    document = replace(report("cr"), label=label).to_json()
    assert {title: document[title] for title in fields} == fields


def test_what_disturbed_a_run_does_not_change_its_figures():
    run = report("crcr", (1.0, 0.1, 1.0, 0.1))
    assert replace(run, disturbances=tuple(Disturbance)).to_json() == run.to_json()
    assert run.disturbances == ()


@pytest.mark.parametrize(("count", "text"), [(64, "0.0 MB"), (12_345_678, "12.3 MB"), (2_500_000_000, "2.50 GB")])
def test_sizes(count: int, text: str):
    assert size_of(count) == text
