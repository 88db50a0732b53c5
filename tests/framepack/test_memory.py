"""diffusers' switches for little memory change where weights are, not what is made."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from magcache.framepack import memory
from magcache.framepack.memory import Placement, offload_in_groups
from magcache.framepack.model import Model
from magcache.framepack.settings import Settings

from .studio import make, same


def hooked(model: Model) -> list[str]:
    return [
        name
        for name, part in model.pipe.transformer.named_modules()
        if getattr(part, "_diffusers_hook", None) and part._diffusers_hook.hooks
    ]


@pytest.mark.parametrize("speedup", [1.0, 2.0])
def test_blocks_that_take_turns_give_the_same_video(fresh_model: Model, speedup: float):
    make(fresh_model, 2.0)  # From here on the model is measured.
    reference = make(fresh_model, speedup)
    offload_in_groups(fresh_model.pipe, torch.device("cpu"))
    assert hooked(fresh_model)
    found = make(fresh_model, speedup)
    assert same(found.frames, reference.frames)
    assert (found.report and found.report.reused) == (reference.report and reference.report.reused)


class Moves:
    """A pipeline that notes where it is put, on a device that this machine does not have."""

    def __init__(self, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[str] = []
        pipe = model.pipe
        monkeypatch.setattr(pipe, "enable_model_cpu_offload", lambda device: self.made.append(f"model {device}"), raising=False)
        monkeypatch.setattr(pipe, "to", lambda device: self.made.append(f"none {device}"), raising=False)
        monkeypatch.setattr(memory, "offload_in_groups", self._offload)
        self.placement = Placement(replace(model, device="xpu"))

    def _offload(self, pipe: object, device: torch.device) -> None:
        self.made.append(f"group {device}")
        offload_in_groups(pipe, torch.device("cpu"))

    def place(self, **settings) -> None:
        self.placement.place(Settings(prompt="", **settings))


def test_the_model_moves_when_the_setting_changes(fresh_model: Model, monkeypatch: pytest.MonkeyPatch):
    moves = Moves(fresh_model, monkeypatch)
    for wanted in ("none", "none", "group", "group", "model", "none"):
        moves.place(memory=wanted)
        assert bool(hooked(fresh_model)) == (wanted == "group"), "hooks of another setting are left"
    assert moves.made == ["none xpu", "group xpu", "model xpu", "none xpu"]


def test_after_a_failed_move_it_is_tried_again(fresh_model: Model, monkeypatch: pytest.MonkeyPatch):
    moves = Moves(fresh_model, monkeypatch)
    moves.place(memory="none")
    monkeypatch.setattr(fresh_model.pipe, "enable_model_cpu_offload", lambda device: 1 / 0, raising=False)
    with pytest.raises(ZeroDivisionError):
        moves.place(memory="model")
    moves.place(memory="none")
    assert moves.made == ["none xpu", "none xpu"]


def test_without_a_graphics_card_nothing_moves(fresh_model: Model, monkeypatch: pytest.MonkeyPatch):
    moves = Moves(fresh_model, monkeypatch)
    moves.placement = Placement(fresh_model)
    moves.place(memory="group")
    assert moves.made == [] and not hooked(fresh_model)


def test_what_a_job_has_left_is_given_back(monkeypatch: pytest.MonkeyPatch):
    freed: list[str] = []
    monkeypatch.setattr(torch.xpu, "empty_cache", lambda: freed.append("xpu"))
    for device in ("cpu", "xpu:0", "unknown"):
        memory.free_memory(device)
    assert freed == ["xpu"]
