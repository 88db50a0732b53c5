"""What the nodes say while sampling goes on."""

from __future__ import annotations

import re
from typing import Any

import comfy.model_management
import pytest
import torch

from magcache.comfyui import progress
from magcache.comfyui.patch import BEGINS, MagCachePatch
from magcache.runtime.calibration_mode import CalibrationMode
from magcache.runtime.run_setup import Mode

from .runs import FixedMode, Log, PlanOf, sample, steps
from .tiny import Tiny, wan_t2v


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every step is told."""
    monkeypatch.setattr(progress, "_SECONDS_APART", 0.0)


def telling(model: Any, plan: str | PlanOf) -> tuple[Any, list[str]]:
    """A clone of `model` that skips by `plan`, and what is said during its runs."""
    plan_of = steps(plan) if isinstance(plan, str) else plan
    return _telling(model, FixedMode(plan_of))


def _telling(model: Any, mode: Mode) -> tuple[Any, list[str]]:
    said: list[str] = []

    def tell(text: str) -> None:
        if text != BEGINS:
            said.append(text)

    return MagCachePatch(mode, Log().add, "auto", tell).attach(model), said


def counts(text: str) -> list[int]:
    """Steps done, all steps, and steps skipped."""
    found = re.match(r"(\d+) of (\d+) steps · (\d+) skipped", text)
    assert found, text
    return [int(count) for count in found.groups()]


@pytest.mark.parametrize("cfg", [1.0, 3.0])
def test_each_step_is_told_with_what_was_skipped(flux: Tiny, cfg: float):
    model, said = telling(flux.model, "ccrrcr")
    sample(flux, model, count=6, cfg=cfg)
    assert [counts(text) for text in said] == [[1, 6, 0], [2, 6, 0], [3, 6, 1], [4, 6, 2], [5, 6, 2], [6, 6, 3]]


def test_the_speed_so_far_is_told_once_something_was_skipped(flux: Tiny):
    model, said = telling(flux.model, "ccrrrr")
    sample(flux, model, count=6)
    assert [bool(re.search(r" · \d+\.\d× so far$", text)) for text in said] == [False, False, False, True, True, True]


@pytest.mark.parametrize("sampler", ["heun", "dpmpp_sde", "dpm_2", "uni_pc"])
def test_steps_are_counted_however_often_each_is_evaluated(flux: Tiny, sampler: str):
    model, said = telling(flux.model, "ccrrcrcc")
    bar: list[int] = []
    sample(flux, model, count=8, sampler=sampler, callback=lambda step, *_: bar.append(step + 1))
    done = [counts(text) for text in said]
    assert [step for step, _, _ in done] == bar == [*range(1, 9)]
    assert {all_steps for _, all_steps, _ in done} == {8}
    assert done[-1][2] == 3
    assert all(skipped <= step for step, _, skipped in done)


@pytest.mark.parametrize("watched", [True, False])
def test_the_callback_of_the_sampler_is_called_as_without_magcache(flux: Tiny, watched: bool):
    """That is what moves the progress bar and makes previews. Without one there is still a status."""
    calls: list[tuple[int, torch.Tensor, torch.Tensor, int]] = []

    def note(step: int, denoised: torch.Tensor, x: torch.Tensor, count: int) -> None:
        calls.append((step, denoised, x, count))

    plain = sample(flux, callback=note)
    expected = calls.copy()
    calls.clear()
    model, said = telling(flux.model, "cccc")
    assert torch.equal(sample(flux, model, callback=note if watched else None), plain)
    assert len(said) == 4
    if watched:
        for (step, denoised, x, count), (other, other_denoised, other_x, other_count) in zip(calls, expected, strict=True):
            assert (step, count) == (other, other_count)
            assert torch.equal(denoised, other_denoised) and torch.equal(x, other_x)


def test_a_part_of_the_schedule_counts_its_own_steps(flux: Tiny):
    model, said = telling(flux.model, "ccrr")
    sample(flux, model, count=10, start_step=6)
    assert [counts(text)[:2] for text in said] == [[1, 4], [2, 4], [3, 4], [4, 4]]


def test_each_expert_tells_of_its_own_steps():
    high, low = wan_t2v(), wan_t2v(seed=1)
    first, of_first = telling(high.model, "crrr")
    second, of_second = telling(low.model, "ccrrcc")
    latent = sample(high, first, count=10, last_step=4, force_full_denoise=False)
    assert len(of_first) == 4 and of_second == []
    sample(low, second, count=10, start_step=4, latent=latent, add_noise=False)
    assert [counts(of_first[-1]), counts(of_second[-1])] == [[4, 4, 3], [6, 6, 2]]
    assert len(of_first) == 4


@pytest.mark.parametrize("step", [0, 2])
def test_an_interrupt_is_told(flux: Tiny, step: int):
    def interrupt(index: int, *_: Any) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        if index == step:
            comfy.model_management.interrupt_current_processing()

    model, said = telling(flux.model, "crcr")
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        sample(flux, model, callback=interrupt)
    assert said[-1] == f"stopped after {step + 1} of 4 steps"
    sample(flux, model)
    assert counts(said[-1]) == [4, 4, 2], "and the next run counts anew"


def test_an_error_is_told(flux: Tiny):
    def fail(*_: Any) -> None:
        raise RuntimeError("for the test")

    model, said = telling(flux.model, "crcr")
    with pytest.raises(RuntimeError, match="for the test"):
        sample(flux, model, callback=fail)
    assert said[-1] == "stopped after 1 of 4 steps"


def test_a_calibration_says_that_it_measures(flux: Tiny):
    model, said = _telling(flux.model, CalibrationMode("auto", ""))
    sample(flux, model, count=5)
    assert said == [f"{step} of 5 steps · measuring" for step in range(1, 6)]


def test_a_fast_run_is_told_of_now_and_then(flux: Tiny, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(progress, "_SECONDS_APART", 3600)
    model, said = telling(flux.model, "ccrr")
    for run in (1, 2):
        sample(flux, model)
        assert len(said) == run, "the first step at once, the others not"


def test_nothing_is_read_from_the_device(flux: Tiny, monkeypatch: pytest.MonkeyPatch):
    def refuse(tensor: torch.Tensor) -> float:
        raise AssertionError("a value was read from the device")

    following = progress.ProgressText.following

    def guarded(status: progress.ProgressText, callback: Any) -> Any:
        stepped = following(status, callback)

        def with_guard(*args: Any) -> None:
            with monkeypatch.context() as patch:
                for name in ("__float__", "item", "tolist", "cpu"):
                    patch.setattr(torch.Tensor, name, refuse)
                stepped(*args)

        return with_guard

    monkeypatch.setattr(progress.ProgressText, "following", guarded)
    model, said = telling(flux.model, "crcr")
    sample(flux, model)
    assert len(said) == 4
