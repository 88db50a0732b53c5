"""A host in a few lines: a session over a plan written as letters, and evaluations of made-up residuals."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import torch

from magcache import Plan
from magcache.reports.run_report import RunLabel
from magcache.runtime.residuals import Residual
from magcache.runtime.session import ComputedEvaluation, ReusedEvaluation, Session

CPU = torch.device("cpu")
LABEL = RunLabel("skipping", "flux")


def plan(decisions: str) -> Plan:
    """A plan written as one letter a step, c computed and r reused, at sigmas 1.0, 0.9, …"""
    reused = tuple(letter == "r" for letter in decisions)
    return Plan(tuple(1 - step / 10 for step in range(len(reused))), reused, (0.0,) * len(reused))


def session(decisions: str | Plan, **options: Any) -> Session:
    return Session(plan(decisions) if isinstance(decisions, str) else decisions, LABEL, **options)


def residual(rows: int = 1, fill: float = 1.0, streams: int = 1) -> Residual:
    return tuple(torch.full((rows, 4 + stream, 8), float(fill)) for stream in range(streams))


def stacked(*residuals: Residual) -> Residual:
    """The residual of a batch."""
    return tuple(map(torch.cat, zip(*residuals, strict=True)))


def equal(one: Residual, other: Residual) -> bool:
    return len(one) == len(other) and all(map(torch.equal, one, other))


def begin_computed(run: Session, sigma: float, call: Hashable = "call") -> ComputedEvaluation:
    evaluation = run.begin(call, sigma, CPU)
    assert isinstance(evaluation, ComputedEvaluation)
    return evaluation


def begin_reused(run: Session, sigma: float, call: Hashable = "call") -> ReusedEvaluation:
    evaluation = run.begin(call, sigma, CPU)
    assert isinstance(evaluation, ReusedEvaluation)
    return evaluation


def is_reused(run: Session, sigma: float, call: Hashable = "call") -> bool:
    """Begin an evaluation and look at what was decided."""
    return isinstance(run.begin(call, sigma, CPU), ReusedEvaluation)


def compute(
    run: Session, sigma: float, value: Residual | None, members: Sequence[Hashable] = ("a",), call: Hashable = "call"
) -> ComputedEvaluation:
    """One computed evaluation, as a host does it."""
    evaluation = begin_computed(run, sigma, call)
    evaluation.store(members, ["cond"] * len(members), value)
    evaluation.finish()
    return evaluation


def reuse(run: Session, sigma: float, members: Sequence[Hashable] = ("a",), call: Hashable = "call") -> Residual:
    """One reusing evaluation, as a host does it."""
    return begin_reused(run, sigma, call).recall(members, CPU)
