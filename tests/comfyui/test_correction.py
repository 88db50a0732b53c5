"""The computed step after a gap corrects it, on real ComfyUI."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from magcache.comfyui.patch import MagCachePatch
from magcache.planning.plan import Correction, Plan
from magcache.runtime.calibration_mode import CalibrationMode
from magcache.runtime.modes import SpeedupMode
from magcache.runtime.session import ComputedEvaluation

from .runs import Log, cached, close, counted, sample
from .tiny import Tiny

GAIN = 0.6
EXPECTED = ((1, 1.5), (0, -0.5))


def plan_of(last: str, corrected: bool = False, expected: Any = EXPECTED) -> Any:
    """Two steps computed, one reused, the last one computed or reused too."""

    def plan(sigmas: list[float]) -> Plan:
        recipes = ((), (), ((1, 1.0),), EXPECTED if last == "r" else ())
        corrections = (None, None, None, Correction(GAIN, expected) if corrected else None)
        return Plan(tuple(sigmas), (False, False, True, last == "r"), (0.0,) * 4, recipes, corrections)

    return plan


@pytest.mark.parametrize("cfg", [1.0, 3.0])
@pytest.mark.parametrize("batch", [1, 2])
def test_it_adds_a_part_of_what_reusing_once_more_would_have_missed(tiny: Tiny, cfg: float, batch: int):
    if tiny.single and batch > 1:
        pytest.skip("takes one row at a time")
    computed, reused, corrected = (cached(tiny.model, plan_of(*how)) for how in (("c",), ("r",), ("c", True)))
    full, guess, result = (sample(tiny, model, cfg=cfg, batch=batch) for model, _ in (computed, reused, corrected))
    missed = float((full - guess).abs().max())
    assert missed > 2e-5 * float(full.abs().max())
    assert close(result, full + GAIN * (full - guess), 0.1 * missed)
    assert corrected[1].decisions == ["ccrc"] and [event.corrected for event in corrected[1].reports[0].events] == [False] * 3 + [True]
    assert "corrected" in corrected[1].reports[0].table()


def test_the_blocks_run_once_in_a_correcting_step(flux: Tiny):
    model, _ = cached(flux.model, plan_of("c", True))
    with counted(flux.dit.double_blocks[0]) as calls:
        sample(flux, model)
    assert calls == [3]


def test_a_prediction_that_fails_leaves_the_step_as_computed_and_not_reported_as_corrected(flux: Tiny, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ComputedEvaluation, "expect", lambda self, keys, device: (torch.zeros(1, 1, 1),))
    model, log = cached(flux.model, plan_of("c", True))
    assert torch.equal(sample(flux, model), sample(flux, cached(flux.model, plan_of("c"))[0]))
    assert not any(event.corrected for event in log.reports[0].events)


@pytest.mark.parametrize(
    ("sampler", "corrects"),
    [
        ("euler", True),
        ("dpmpp_2m", True),
        ("uni_pc", True),
        ("res_multistep", True),
        ("heun", False),
        ("lcm", False),
        ("euler_cfg_pp", False),
    ],
)
def test_auto_corrects_with_samplers_that_evaluate_once_a_step_and_add_no_noise(flux: Tiny, sampler: str, corrects: bool):
    sample(flux, MagCachePatch(CalibrationMode("auto", ""), Log().add).attach(flux.model), count=16, cfg=3.0)
    log = Log()
    model = MagCachePatch(SpeedupMode(2.0), log.add).attach(flux.model)
    sample(flux, model, count=16, cfg=3.0, sampler=sampler)
    assert any(event.corrected for event in log.reports[0].events) == corrects
    assert any(log.reports[0].plan.corrections) == corrects
