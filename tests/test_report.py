"""What is told about a run."""

from __future__ import annotations

import json

import pytest

from magcache.report import Event, RunReport
from magcache.schedule import Plan


def report(decisions: str, seconds: tuple[float, ...] = (), steps: int | None = None, residual_bytes: int = 0) -> RunReport:
    """A run written as one letter an evaluation: c computed, r reused, x planned to be reused but computed."""
    events = [Event(1 - i / 50, i, planned=letter in "rx", reused=letter == "r") for i, letter in enumerate(decisions)]
    count = len(decisions) if steps is None else steps
    plan = Plan(tuple(1 - i / 50 for i in range(count)), tuple(letter in "rx" for letter in decisions[:count]), (0.0,) * count)
    return RunReport.of("flux", plan, events, seconds, residual_bytes)


def test_counts():
    run = report("ccrrxrc")
    assert (run.evaluations, run.reused, run.nfe, run.refused) == (7, 3, 4, 1)
    assert run.predicted == 7 / 4


def test_nothing_happened():
    run = report("")
    assert (run.evaluations, run.nfe, run.predicted, run.measured) == (0, 0, 1.0, None)
    assert run.warning() is None
    assert run.line() == "MagCache: 0 evaluations · 0 reused · NFE 0 · predicted 1.00× · curve flux"


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
        "MagCache: 5 evaluations · 2 reused · NFE 3 · predicted 1.67× · measured 1.56× · curve flux · residuals 12.3 MB · "
        "1 computed although planned to be reused (no matching residual)"
    )
    assert "residuals 2.50 GB" in report("cr", residual_bytes=2_500_000_000).line()
    assert "residuals" not in report("cr").line()
    assert "although" not in report("cr").line()


def test_no_warning_when_something_was_reused():
    assert report("cccr").warning() is None
    assert report("ccxr").warning() is None


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (report("cccc"), "With 4 steps there is little to skip"),
        (report("cxxx"), "With 4 steps there is little to skip"),
        (report("c" * 8 + "c" * 8, steps=8), "With 8 steps"),
        (report("c" * 10 + "x" * 10), "the conditioning, the size or the patches changed between steps"),
        (report("c" * 10), "raise speedup (MagCache Auto), or raise magcache_thresh"),
    ],
    ids=["few steps", "few steps refused", "few steps many evaluations", "refused", "nothing"],
)
def test_warning(run: RunReport, words: str):
    warning = run.warning()
    assert warning is not None
    assert warning.startswith("MagCache: nothing was skipped")
    assert words in warning


def test_to_json():
    run = report("crx", (1.0, 0.25, 1.0), residual_bytes=64)
    document = json.loads(json.dumps(run.to_json(), allow_nan=False))
    assert document == {
        "curve": "flux",
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
