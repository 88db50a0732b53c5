"""What acts in a part of the schedule only: at its edges a residual from the other side is not reused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from comfy.patcher_extension import WrappersMP

from .runs import cached, close, sample
from .test_control import FakeControl
from .test_patches import _scheduled
from .tiny import Tiny

EDGE = 0.5
"""Where what is tested begins or ends, as a part of the schedule. The simple schedule of 8 steps has step 4 there."""


class RangedControl(FakeControl):
    """Heeds its own start and end percent, as ComfyUI's ControlNets do."""

    def get_control(self, x_noisy: torch.Tensor, t: torch.Tensor, *rest: Any) -> Any:
        previous = self.previous_controlnet.get_control(x_noisy, t, *rest) if self.previous_controlnet else None
        begin, end = self.timestep_range
        if t[0] > begin or t[0] < end:
            return previous
        own = super().get_control(x_noisy, t)
        if previous is None:
            return own
        return {place: [one + other for one, other in zip(own[place], previous[place], strict=True)] for place in own}


def ranged(begin: float, end: float) -> RangedControl:
    control = RangedControl()
    control.timestep_percent_range = (begin, end)
    return control


def chain() -> RangedControl:
    """One that acts throughout, behind which another ends half way."""
    control = ranged(0.0, 1.0)
    control.set_previous_controlnet(ranged(0.0, EDGE))
    return control


def exchanged() -> RangedControl:
    """One whose place another of the same strength takes half way."""
    control = ranged(0.0, EDGE)
    control.set_previous_controlnet(ranged(EDGE + 0.05, 1.0))
    return control


def computed_at(log: Any) -> set[int]:
    return {event.step for event in log.reports[0].events if not event.reused}


@pytest.mark.parametrize(
    "make",
    [lambda: ranged(0.0, EDGE), lambda: ranged(EDGE, 1.0), chain, exchanged],
    ids=["ends", "begins", "chained", "exchanged"],
)
def test_a_controlnet_that_begins_or_ends_is_not_reused_across_its_edge(flux: Tiny, make: Any):
    def conds() -> dict[str, Any]:
        return {"positive": flux.conditioning(1, control=make(), control_apply_to_uncond=True)}

    model, log = cached(flux.model, "crrrrrrr")
    result = sample(flux, model, count=8, cfg=3.0, **conds())
    edges = computed_at(log)
    assert edges > {0} and len(edges) == 2, "once more after the edge, and then reused again"
    (edge,) = edges - {0}
    pattern = "c" + "r" * (edge - 1) + "c" + "r" * (7 - edge)
    same, _ = cached(flux.model, pattern)
    assert torch.equal(result, sample(flux, same, count=8, cfg=3.0, **conds()))


class StrongControl(FakeControl):
    """Heeds its strength."""

    def get_control(self, x_noisy: torch.Tensor, t: torch.Tensor, *rest: Any) -> Any:
        added = super().get_control(x_noisy, t, *rest)
        return {place: [each * self.strength for each in tensors] for place, tensors in added.items()}


def test_a_controlnet_whose_strength_changes_is_computed_where_it_does(flux: Tiny):
    control = StrongControl()
    model, log = cached(flux.model, "crrrrrrr")

    def fade(step: int, *_: Any) -> None:
        control.strength = 1.0 if step < 3 else 0.2

    sample(flux, model, count=8, positive=flux.conditioning(1, control=control, control_apply_to_uncond=True), callback=fade)
    assert computed_at(log) == {0, 4}


class Ranged:
    """A patch object that acts between two sigmas, as ComfyUI's own for Anima and Uni3C do."""

    def __init__(self, sigma_start: float, sigma_end: float) -> None:
        self.sigma_start, self.sigma_end = sigma_start, sigma_end

    def __call__(self, args: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
        out = extra["original_block"](args)
        sigma = float(args["transformer_options"]["sigmas"][0])
        return {**out, "img": out["img"] * 1.5} if self.sigma_end <= sigma <= self.sigma_start else out


class OtherNames:
    """The same with other names for its limits, which are tensors."""

    def __init__(self, start_sigma: float, end_sigma: float) -> None:
        self.start_sigma, self.end_sigma = torch.tensor(start_sigma), torch.tensor(end_sigma)

    def __call__(self, args: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
        return Ranged(float(self.start_sigma), float(self.end_sigma))(args, extra)


def closed_over(sigma_start: float, sigma_end: float) -> Any:
    """The same as a function within a function."""
    act = Ranged(sigma_start, sigma_end)

    def replace(args: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
        assert sigma_start >= sigma_end
        return act(args, extra)

    return replace


def unet_function(sigma_start: float, sigma_end: float) -> Any:
    def apply(function: Any, args: dict[str, Any]) -> torch.Tensor:
        inside = sigma_end <= float(args["timestep"][0]) <= sigma_start
        return function(args["input"], args["timestep"], **args["c"]) * (1.1 if inside else 1.0)

    return apply


def attention(sigma_start: float, sigma_end: float) -> Any:
    def louder(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *_: Any, extra_options: dict[str, Any], **__: Any) -> Any:
        inside = sigma_end <= float(extra_options["sigmas"][0]) <= sigma_start
        return {"v": v * 2} if inside else {}

    return louder


def wrapper(sigma_start: float, sigma_end: float) -> Any:
    def around(executor: Any, x: torch.Tensor, timestep: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        inside = sigma_end <= float(timestep[0]) <= sigma_start
        return executor(x, timestep, *args, **kwargs) * (1.1 if inside else 1.0)

    return around


REPLACING = {
    "object": Ranged,
    "closure": closed_over,
    "method": lambda start, end: Ranged(start, end).__call__,
    "other names": OtherNames,
}


@pytest.mark.parametrize("kind", [*REPLACING, "function", "attention", "wrapper"])
def test_a_patch_that_acts_between_two_sigmas_is_not_reused_across_them(flux: Tiny, kind: str):
    model = flux.model.clone()
    middle = float(model.get_model_object("model_sampling").percent_to_sigma(EDGE))
    if kind == "function":
        model.set_model_unet_function_wrapper(unet_function(middle, 0.0))
    elif kind == "attention":
        model.set_model_attn1_patch(attention(middle, 0.0))
    elif kind == "wrapper":
        model.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "test", wrapper(middle, 0.0))
    else:
        model.set_model_patch_replace(REPLACING[kind](middle, 0.0), "dit", "double_block", 1)
    skipping, log = cached(model, "crrrrrrr")
    sample(flux, skipping, count=8)
    assert len(computed_at(log)) == 2


def test_a_conditioning_that_begins_later_is_not_reused_from_before(flux: Tiny):
    """Reference latents, masks and texts by range: ComfyUI keeps the range on the conditioning."""
    late = [[text, {**options, "start_percent": EDGE, "end_percent": 1.0}] for text, options in flux.conditioning(9)]
    early = [[text, {**options, "start_percent": 0.0, "end_percent": EDGE}] for text, options in flux.positive]
    model, log = cached(flux.model, "crrrrrrr")
    sample(flux, model, count=8, cfg=3.0, positive=early + late)
    assert computed_at(log) > {0}


def test_where_a_conditioning_ends_the_others_are_computed(flux: Tiny):
    ending = [[text, {**options, "start_percent": 0.0, "end_percent": EDGE}] for text, options in flux.conditioning(9)]
    model, log = cached(flux.model, "crrrrrrr")
    sample(flux, model, count=8, cfg=3.0, positive=flux.positive + ending)
    assert len(computed_at(log)) == 2 and 0 in computed_at(log)


def test_a_lora_with_keyframes_is_computed_where_its_strength_changes(flux: Tiny):
    """Hooks with ranges: each strength has residuals of its own."""

    def conds() -> dict[str, Any]:
        hooks = _scheduled({0.0: 1.0, EDGE: 0.1})
        return {"positive": flux.conditioning(1, **hooks), "negative": flux.conditioning(2, **hooks)}

    model, log = cached(flux.model, "crrrrrrr")
    result = sample(flux, model, count=8, cfg=3.0, **conds())
    edges = computed_at(log)
    assert len(edges) == 2
    (edge,) = edges - {0}
    same, _ = cached(flux.model, "c" + "r" * (edge - 1) + "c" + "r" * (7 - edge))
    assert close(result, sample(flux, same, count=8, cfg=3.0, **conds()), 1e-5)
