"""What must hold for every pipeline: untouched without a speed-up, calibrated by the first call, skipped in the second as reported."""

from __future__ import annotations

from pathlib import Path

import pytest
from diffusers import DiffusionPipeline

from magcache.diffusers import apply, remove
from magcache.reports.run_report import RunReport

from .pipelines import PIPES
from .tiny_parts import Pipe, same
from .watching import RULE, Seen, models_of, plan_by_rule, watched

STEPS = 16
"""Enough for a plan to beat plain sampling with fewer steps, which is looked at before anything is skipped."""


@pytest.fixture(params=PIPES)
def kind(request: pytest.FixtureRequest) -> Pipe:
    return PIPES[request.param]


def _own(pipe: DiffusionPipeline) -> list[set[str]]:
    """What hangs on the models themselves, and what stands in torch's slot."""
    return [{*vars(model), str(vars(model).get("_compiled_call_impl"))} for model in models_of(pipe).values()]


def test_a_speedup_of_1_changes_nothing_and_removing_leaves_nothing(kind: Pipe, tmp_path: Path):
    pipe = kind.build()
    plain = kind.run(pipe)
    own = _own(pipe)
    with apply(pipe, 1.0, folder=tmp_path):
        assert same(kind.run(pipe), plain)
    assert _own(pipe) == own
    cache = apply(pipe, folder=tmp_path, **RULE)
    with watched(pipe) as seen:
        assert not same(kind.run(pipe), plain)
    _check_decisions(kind, pipe, seen, cache.report())
    remove(pipe)
    assert _own(pipe) == own
    assert same(kind.run(pipe), plain)
    assert not list(tmp_path.iterdir())


def _check_decisions(kind: Pipe, pipe: DiffusionPipeline, seen: Seen, report: RunReport) -> None:
    """Every step of every run was recognised, followed one decision in all its forwards, and is reported as it was."""
    steps = "".join("r" if event.reused else "c" for event in report.events)
    assert [event.step for event in report.events] == list(range(len(steps)))
    assert seen.steps(kind.branches) == steps
    assert seen.blocks == report.nfe * kind.branches
    assert not report.disturbances
    if report.plan.reason is None and report.label.curve == "given" and kind.fraction == 1 and len(models_of(pipe)) == 1:
        assert steps == plan_by_rule() * kind.runs


def test_the_first_call_calibrates_and_the_second_skips(kind: Pipe, tmp_path: Path):
    pipe = kind.build()
    plain = kind.run(pipe, steps=STEPS)
    cache = apply(pipe, 2.0, folder=tmp_path)
    with watched(pipe) as seen:
        found = kind.run(pipe, steps=STEPS)
    first = cache.report()
    _check_decisions(kind, pipe, seen, first)
    section = kind.evaluations(STEPS) // kind.runs
    assert first.evaluations == section * kind.runs
    assert not any(event.reused for event in first.events[:section])
    if kind.runs == 1:
        assert same(found, plain)
    else:  # The first section calibrates; the second one skips already.
        assert any(event.reused for event in first.events[section:])
    if kind.adds_noise:
        assert first.label.kind == "full" and not list(tmp_path.iterdir())
        return
    assert first.label.kind == ("calibrating" if kind.runs == 1 else "skipping") and list(tmp_path.iterdir())
    with watched(pipe) as seen:
        second = kind.run(pipe, seed=1, steps=STEPS)
    report = cache.report()
    _check_decisions(kind, pipe, seen, report)
    assert report.label.kind == "skipping" and report.reused >= kind.evaluations(STEPS) // 4
    assert same(kind.run(pipe, seed=1, steps=STEPS), second)
    assert cache.report().reused == report.reused
