"""What two processes do in the tests of calibrations. Each has a folder of its own, as on hosts of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from diffusers import DiffusionPipeline

import magcache.diffusers as mc
from magcache import MagnitudeCurve
from magcache.reports.run_report import RunReport

from ..pipelines import PIPES
from ..tiny_parts import Pipe
from .divided import ODD, TEXTS, apart, divide, steps

STEPS = 20


def pictures(name: str, folder: str, odd: bool = False) -> dict[str, Any]:
    """Two pictures in each process by itself, then two divided ones. Each process has a folder of its own, as on hosts of their own.

    That of the last process holds the curve that it measured alone: it must not be used, because the first one has none.
    """
    kind = PIPES[name]
    call = {"steps": STEPS, **(ODD if odd else TEXTS.get(name, {}))}
    alone, own = Path(folder) / f"alone{dist.get_rank()}", Path(folder) / f"own{dist.get_rank()}"
    pipe = kind.build()
    *_, expected = _two_pictures(kind, pipe, call, alone)
    curve = _only_curve(alone)
    assert curve is not None
    if dist.get_rank():
        curve.save(own / "mine.json")
    divide(pipe.transformer, ulysses_anything=odd)
    first, second, picture = _two_pictures(kind, pipe, call, own)
    measured = _only_curve(own)
    return {
        "first": (first.label.kind, steps(first)), "second": (second.label.kind, steps(second)), "apart": apart(picture, expected),
        "file": measured and measured.name, "file alone": curve.name, "curves apart": measured and _curves_apart(measured, curve),
        "plan": repr(second.plan),
    }  # fmt: skip


def thorough(folder: str) -> dict[str, Any]:
    """A thorough calibration by all processes, each with a folder of its own."""
    kind = PIPES["flux"]
    own = Path(folder) / f"own{dist.get_rank()}"
    arguments = kind.call(0, STEPS, **TEXTS["flux"])
    alone = mc.calibrate(kind.build(), thorough=True, folder=Path(folder) / f"alone{dist.get_rank()}", **arguments)
    pipe = kind.build()
    divide(pipe.transformer)
    curve = mc.calibrate(pipe, thorough=True, folder=own, **kind.call(0, STEPS, **TEXTS["flux"]))
    saved = _only_curve(own)
    (errors,), (errors_alone,) = curve.propagation.trials, alone.propagation.trials
    return {
        "errors apart": max(abs(one - other) / other for one, other in zip(errors, errors_alone, strict=True)),
        "saved": saved is not None and saved == curve, "curve": json.dumps(curve.to_json()),
    }  # fmt: skip


def _two_pictures(
    kind: Pipe, pipe: DiffusionPipeline, call: dict[str, Any], folder: Path
) -> tuple[RunReport, RunReport, list[torch.Tensor]]:
    """The reports of both, and the second one."""
    cache = mc.apply(pipe, 2.0, folder=folder)
    kind.run(pipe, **call)
    first = cache.report()
    picture = kind.run(pipe, **call)
    return first, cache.report(), picture


def _only_curve(folder: Path) -> MagnitudeCurve | None:
    """The calibration in a folder; None if there is none."""
    found = [path for path in folder.glob("*.json") if path.stem != "mine"]
    assert len(found) <= 1
    return MagnitudeCurve.load(found[0]) if found else None


def _curves_apart(one: MagnitudeCurve, other: MagnitudeCurve) -> float:
    assert one.sigmas == other.sigmas and one.ratios.keys() == other.ratios.keys() and one.products.keys() == other.products.keys()
    pairs = [(torch.tensor(one.ratios[branch]), torch.tensor(other.ratios[branch])) for branch in one.ratios]
    pairs += [(torch.tensor(one.products[pair]), torch.tensor(other.products[pair])) for pair in one.products]
    return max(apart([first], [second]) for first, second in pairs)
