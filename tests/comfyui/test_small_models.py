"""The small models of the benchmarks in ComfyUI: they draw what they draw in diffusers, and MagCache skips steps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.small.cases import make_cases
from benchmarks.small.comfyui_host import Host, SamplingSetting, with_magcache
from benchmarks.small.loop import sample
from benchmarks.small.models import IMAGE, VIDEO, SmallModel
from magcache import MagnitudeCurve
from magcache.curves.shipped import known_propagation
from magcache.runtime.modes import SpeedupMode

SETTING = SamplingSetting(6, 2.0)


@pytest.mark.parametrize("small", [IMAGE, VIDEO], ids=["image", "video"])
def test_both_hosts_draw_the_same(small: SmallModel, tmp_path: Path, curves_folder: Path):
    host, (case, _) = Host(small, tmp_path), make_cases(small, 1)
    drawn = host.sample(host.model(3.0), case.prompt, case.noise, SETTING)
    plain = sample(small, small.load(), torch.tensor(host.sigmas(SETTING)), case.noise, case.prompt, SETTING.guidance)
    assert drawn.nfe == plain.nfe == 6
    assert (drawn.latents - plain.latents).norm() < 1e-3 * plain.latents.norm()


def test_evaluations_are_counted(tmp_path: Path, curves_folder: Path):
    host, (case, _) = Host(IMAGE, tmp_path), make_cases(IMAGE, 1)
    setting = SamplingSetting(16, 2.0)
    model, reports = with_magcache(host.model(3.0), SpeedupMode(2.0))
    full, fast = (host.sample(model, case.prompt, case.noise, setting) for _ in range(2))
    assert (full.nfe, fast.nfe) == (16, 8) == (reports[0].nfe, reports[1].nfe)
    assert (fast.latents - full.latents).norm() < 0.1 * full.latents.norm()


def test_it_is_known_of_the_demos_model_that_errors_shrink_in_it(tmp_path: Path, curves_folder: Path):
    host, (case, _) = Host(IMAGE, tmp_path), make_cases(IMAGE, 1)
    model, reports = with_magcache(host.model(3.0), SpeedupMode(2.0))
    host.sample(model, case.prompt, case.noise, SamplingSetting(12, 2.0))
    (curve,) = [MagnitudeCurve.load(path) for path in tmp_path.rglob("flux-*.json")]
    found = curve.propagation
    assert reports[0].label.kind == "calibrating" and found.source == "measured" and not found.trials and not found.grows
    known = known_propagation(None, curve.provenance["fingerprint"])
    assert known is not None and known.trials and found == replace(known, trials=()), "trials of other runs are not counted again"
