"""Holds what sessions decide, and what a reused evaluation is given, against the plan and against what was really recorded."""

from __future__ import annotations

import weakref
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import pytest
import torch

from magcache.comfyui.patch import MagCachePatch
from magcache.curves.curve import same_sigma
from magcache.reports.run_report import RunReport
from magcache.runtime import session as session_module
from magcache.runtime.records import Record, Sources
from magcache.runtime.residuals import Residual, Stored
from magcache.runtime.session import ComputedEvaluation, Evaluation, ReusedEvaluation, Session


@dataclass(slots=True)
class Sessions:
    """What the sessions of a test did."""

    alive: list[weakref.ref[Any]] = field(default_factory=list)
    """Sessions, and the residuals that they kept."""
    wrong: list[str] = field(default_factory=list)
    """What they did that they must not do."""
    compared: int = 0
    """Members of reused forwards whose residual was recorded for the very same thing."""
    records: WeakKeyDictionary[Session, dict[tuple[Hashable, int], Record]] = field(default_factory=WeakKeyDictionary)
    """The last record of each composition at each step."""
    reused: WeakKeyDictionary[Session, dict[int, Sources]] = field(default_factory=WeakKeyDictionary)
    """What each evaluation drew on, by its index."""
    members: list[Hashable] = field(default_factory=list)
    """What the members of the present forward look at."""
    looks: dict[int, tuple[Stored, Hashable]] = field(default_factory=dict)
    """What the member looked at whose residual this is."""

    def begins(self, session: Session, call: Hashable, evaluation: Evaluation) -> None:
        if session not in self.records:
            self.alive.append(weakref.ref(session))
            self.records[session], self.reused[session] = {}, {}
        if isinstance(evaluation, ReusedEvaluation):
            self.reused[session][evaluation.index] = evaluation.sources
            for record, _ in evaluation.sources:
                if self.records[session].get((call, record.step)) is not record or not record.complete:
                    self.wrong.append(f"evaluation {evaluation.index} draws on what another composition left, or on a part of it")
        elif evaluation.record is not None:
            self.records[session][call, evaluation.record.step] = evaluation.record

    def stores(self, record: Record, keys: Sequence[Hashable]) -> None:
        for member, key in zip(self.members, keys, strict=True):
            stored = record.residuals[key]
            self.looks[id(stored)] = stored, member

    def draws(self, sources: Sources, keys: Sequence[Hashable]) -> None:
        for record, _ in sources:
            for member, key in zip(self.members, keys, strict=True):
                self.compared += 1
                if self.looks[id(record.residuals[key])][1] != member:
                    self.wrong.append(f"what {member} gets was recorded for {self.looks[id(record.residuals[key])][1]}")

    def check(self, session: Session, report: RunReport) -> None:
        """Every reused evaluation was planned, and drew on what is as old as planned or fresher."""
        self.looks.clear()
        plan = report.plan
        for index, event in enumerate(report.events):
            if not event.reused:
                continue
            if event.step is None or not event.planned or not plan.reused[event.step]:
                self.wrong.append(f"{event} was not planned")
                continue
            sources = self.reused[session][index]
            shares = tuple((record.step, weights) for record, weights in sources)
            fresher = len(shares) == 1 and shares[0][1] == (1.0,) and shares[0][0] > plan.source(event.step)
            if not (fresher or shares == plan.shares(event.step)):
                self.wrong.append(f"{event} drew on {shares} instead of {plan.shares(event.step)}")
            for record, _ in sources:
                if record.step > event.step or not (record.sigma > event.sigma or same_sigma(record.sigma, event.sigma)):
                    self.wrong.append(f"{event} drew on {record.step} at {record.sigma}, which comes later")


def _looks_at(base: Any, x: torch.Tensor, text: torch.Tensor | None, options: dict[str, Any]) -> list[Hashable]:
    """What each member of a forward looks at, whatever name it goes by: its text, its place, the hooks and the patches on its blocks."""
    count = len(options["uuids"])
    texts = [None] * count if text is None else [hash(part.numpy().tobytes()) for part in text.chunk(count)]
    hooks = base.current_patcher.current_hooks
    strengths = tuple(hook.strength for hook in hooks.hooks) if hooks else ()
    patches = frozenset(id(patch) for table in options.get("patches_replace", {}).values() for patch in table.values())
    return [(text, tuple(x.shape[1:]), strengths, patches) for text in texts]


def watched(monkeypatch: pytest.MonkeyPatch) -> Sessions:
    """All sessions from now on."""
    found = Sessions()
    begin, computed, close, keep = Session.begin, Session._computed, Session.close, Session.keep
    store, drawn, apply_model = ComputedEvaluation.store, session_module.drawn, MagCachePatch.apply_model

    def begun(session: Session, call: Hashable, sigma: float, device: torch.device) -> Evaluation:
        evaluation = begin(session, call, sigma, device)
        found.begins(session, call, evaluation)
        return evaluation

    def recomputed(session: Session, call: Hashable, *rest: Any) -> ComputedEvaluation:
        evaluation = computed(session, call, *rest)
        found.begins(session, call, evaluation)
        return evaluation

    def closed(session: Session) -> RunReport:
        report = close(session)
        found.check(session, report)
        return report

    def kept(session: Session, residual: Residual) -> Residual:
        result = keep(session, residual)
        found.alive.extend(map(weakref.ref, (*residual, *result)))
        return result

    def stored(evaluation: ComputedEvaluation, keys: Sequence[Hashable], *rest: Any) -> None:
        store(evaluation, keys, *rest)
        if evaluation.record is not None and not evaluation.missed:
            found.stores(evaluation.record, keys)

    def draws(sources: Sources, keys: Sequence[Hashable], device: torch.device) -> Residual:
        residual = drawn(sources, keys, device)
        found.draws(sources, keys)
        return residual

    def applied(
        patch: MagCachePatch, executor: Any, x: torch.Tensor, t: Any, concat: Any, text: Any, control: Any, options: Any, **more: Any
    ):
        found.members = _looks_at(executor.class_obj, x, text, options)
        return apply_model(patch, executor, x, t, concat, text, control, options, **more)

    for name, function in {"begin": begun, "_computed": recomputed, "close": closed, "keep": kept}.items():
        monkeypatch.setattr(Session, name, function)
    monkeypatch.setattr(ComputedEvaluation, "store", stored)
    monkeypatch.setattr(session_module, "drawn", draws)
    monkeypatch.setattr(MagCachePatch, "apply_model", applied)
    return found
