"""Whatever comes together in a run: no error, nothing left behind, nothing reused that is older than planned, the same thing each time.

`--random-runs` chooses how many combinations are tried. The number of a case is its seed.
"""

from __future__ import annotations

import gc
import logging
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch

from magcache.comfyui.patch import MagCachePatch
from magcache.runtime.calibration_mode import CalibrationMode

from .combinations import EVERY, Combination, EndlessError, Interrupted, drawn, patched, sampled
from .runs import Log, structure
from .session_watch import Sessions, watched
from .tiny import Tiny

_FEW_CASES = 30
log = logging.getLogger(__name__)
tally: Counter[str] = Counter()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", range(metafunc.config.getoption("--random-runs")))


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> Sessions:
    return watched(monkeypatch)


def outline(value: Any) -> Any:
    """Options as they stand, with objects by identity."""
    if isinstance(value, dict):
        return [(name, outline(each)) for name, each in value.items()]
    return [outline(each) for each in value] if isinstance(value, list) else id(value)


def state(tiny: Tiny, *patchers: Any) -> Any:
    """What a run must leave as it was: modules, their hooks and attributes, and the options of patchers."""
    modules = {id(module): (len(module._forward_hooks), len(module._forward_pre_hooks), set(vars(module))) for module in tiny.dit.modules()}
    return structure(tiny.model.model), modules, [(outline(each.model_options), outline(each.wrappers)) for each in patchers]


def same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Bit by bit, also where they are not numbers."""
    return torch.equal(one.view(torch.int32), other.view(torch.int32))


def with_plain(seed: int) -> tuple[Combination, Tiny, Any, torch.Tensor]:
    """The first combination of a seed that works without MagCache, and what comes of it."""
    random = Random(seed)
    while True:
        found = drawn(random)
        tiny = EVERY[found.model]()
        try:
            model = patched(found, tiny)
            plain = sampled(found, tiny, model, most_forwards=30)  # More would take too long.
        except Exception as error:  # noqa: BLE001 - the reason why this is drawn again
            log.debug("%s: %s", found, error)
            continue
        if plain.isfinite().all():
            return found, tiny, model, plain


def test_a_random_combination(seed: int, curves_folder: Path, sessions: Sessions, caplog: pytest.LogCaptureFixture):
    found, tiny, model, plain = with_plain(seed)
    log.warning("%s", found)  # Is shown if the case fails.
    before = state(tiny, tiny.model, model)
    if found.calibrated:
        calibrating = MagCachePatch(CalibrationMode("auto", ""), Log().add).attach(tiny.model)
        sampled(found, tiny, calibrating, steps=8, sampler_name="euler", denoise=1.0)
    curves = {path: path.read_bytes() for path in curves_folder.iterdir()}
    runs = Log()
    patch = MagCachePatch(found.mode, runs.add, found.device).attach(model)
    options = state(tiny, patch)

    def run(interrupt: tuple[str, int] | None = None) -> torch.Tensor | None:
        for path in curves_folder.iterdir():
            path.unlink()
        for path, content in curves.items():
            path.write_bytes(content)
        try:
            return sampled(found, tiny, patch, interrupt)
        except Interrupted:
            assert interrupt
        except EndlessError:
            assert found.sampler == "dpm_adaptive"
        return None

    if found.interrupt:
        run(found.interrupt)
        assert state(tiny, tiny.model, model) == before and state(tiny, patch) == options
        nothing_lives(sessions)
    runs.reports.clear()
    once, again = run(), run()
    assert state(tiny, tiny.model, model) == before and state(tiny, patch) == options
    nothing_lives(sessions)
    assert not sessions.wrong
    assert not [record for record in caplog.records if record.name.startswith("magcache") and record.levelno >= logging.ERROR]
    assert same(sampled(found, tiny, model), plain), "nothing is left in the model"
    assert (once is None) == (again is None)
    tally["cases"] += 1
    if once is None or again is None:
        return
    first, second = runs.reports
    assert str(first.events) == str(second.events) and same(once, again)  # As texts: some schedulers make one sigma, and no number.
    changed = any(event.reused or event.corrected for event in first.events)
    assert not (found.off and changed)
    assert changed or same(once, plain), "what is computed in full is what it is without MagCache"
    corrected = any(event.corrected for event in first.events)
    tally.update({"changed": changed, "corrected": corrected, "interrupted": bool(found.interrupt), "compared": sessions.compared})


def nothing_lives(sessions: Sessions) -> None:
    if any(reference() is not None for reference in sessions.alive):
        gc.collect()
    assert not [reference for reference in sessions.alive if reference() is not None]


def test_the_cases_show_something():
    """Must come last."""
    if tally["cases"] < _FEW_CASES:
        pytest.skip("too few cases were run")
    assert tally["changed"] > 0.3 * tally["cases"] and tally["corrected"] and tally["interrupted"] and tally["compared"], tally
