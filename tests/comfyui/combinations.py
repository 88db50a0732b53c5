"""Random combinations of what can meet in one run: a model, a sampler, conditionings, other nodes, a mode of MagCache, an interrupt."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from random import Random
from typing import Any

import comfy.model_management
import comfy.sample
import comfy.samplers
import torch
from comfy.nested_tensor import NestedTensor

from magcache.planning.plan import Correction, Plan, Reason, Recipe, compute_all, falling_stretches, joined
from magcache.runtime.modes import SpeedupMode, ThresholdMode
from magcache.runtime.run_setup import AUTO, Mode
from magcache.settings import CacheDevice, ThresholdSettings

from .combined_with import OTHERS, TEXTS
from .runs import FixedMode, PlanOf, WatchingPlan, blocks
from .tiny import Tiny
from .zoo import EVERY

Interrupted = comfy.model_management.InterruptProcessingException
Conds = list[list[Any]]


class EndlessError(Exception):
    """The model is called more often than is allowed, as by a sampler that chooses its own steps and does not come to an end."""


@dataclass(frozen=True, slots=True)
class Combination:
    """One run to be."""

    model: str
    sampler: str
    scheduler: str
    steps: int
    cfg: float
    batch: int
    denoise: float
    size: tuple[int, int] | None
    text: str
    """What is special about the conditionings."""
    others: tuple[str, ...]
    """What other nodes do to the model."""
    off: bool
    """Whether the mode skips nothing."""
    calibrated: bool
    """Whether a curve of the model was measured before."""
    device: CacheDevice
    interrupt: tuple[str, int] | None
    """Where the user interrupts the run, and at which count."""
    seed: int
    """Of all that is drawn later."""
    mode: Mode = field(repr=False)
    told: str = ""
    """The mode, in words."""

    def random(self) -> Random:
        return Random(self.seed)


def drawn(random: Random) -> Combination:
    model = random.choice(list(EVERY))
    tiny = EVERY[model]()
    sampler, scheduler = random.choice(comfy.samplers.SAMPLER_NAMES), random.choice(comfy.samplers.SCHEDULER_NAMES)
    steps, (mode, off, told) = random.randint(1, 12), random.choice([_threshold, _speedup, _fixed, _fixed])(random)
    return Combination(
        model,
        sampler,
        scheduler,
        steps,
        cfg=random.choice([1.0, random.uniform(1.5, 7)]),
        batch=1 if tiny.single else random.choice([1, 1, 2]),
        denoise=random.choice([1.0, 1.0, random.uniform(0.2, 0.95)]),
        size=_size(tiny, random),
        text=random.choice(["plain", "plain", *TEXTS]),
        others=tuple(name for name in OTHERS if random.random() < 0.15),
        off=off,
        calibrated=not isinstance(mode, FixedMode) and random.random() < 0.7,
        device=random.choice(["auto", "cpu"]),
        interrupt=random.choice([None, None, ("callback", random.randrange(steps)), *[("module", random.randint(1, steps))] * 2]),
        seed=random.randrange(2**32),
        mode=mode,
        told=told,
    )


def _size(tiny: Tiny, random: Random) -> tuple[int, int] | None:
    if len(tiny.latent) < 3:
        return None
    height, width = tiny.latent[-2:]
    larger = [(height, width * 2), (height * 2, width)] if height * width <= 64 else []
    return random.choice([None, None, (height, width // 2), *larger])


# Modes


def _threshold(random: Random) -> tuple[Mode, bool, str]:
    settings = ThresholdSettings(
        threshold=random.choice([0.0, random.uniform(0.01, 0.5), 5.0]),
        max_skip=random.randint(0, 6),
        retention=random.choice([0.0, 0.2, 0.5]),
    )
    curve = random.choice([AUTO, AUTO, "flux", "wan2.1_t2v_1.3B"])
    return ThresholdMode(curve, settings), settings.off, f"{settings} {curve}"


def _speedup(random: Random) -> tuple[Mode, bool, str]:
    speedup = random.choice([0.0, 1.0, random.uniform(1, 4), random.uniform(1, 4)])
    mode = SpeedupMode(
        speedup,
        random.choice([AUTO, AUTO, "flux"]),
        random.choice(["auto", "hold", "scale", "extrapolate"]),
        random.choice([0.0, 0.0, 0.3]),
        random.choice([1.0, 1.0, 0.8]),
    )
    return mode, speedup == 1, str(mode)


def _fixed(random: Random) -> tuple[Mode, bool, str]:
    part, seed = random.choice([0.0, 0.3, 0.6, 0.6, 1.0]), random.randrange(2**32)
    return FixedMode(_random_plan(part, seed)), part == 0, f"plan {seed} with {part} reused"


def _random_plan(part: float, seed: int) -> PlanOf:
    """A plan that reuses about this part of the steps, by holding and extrapolating, and corrects some gaps. With none it watches all."""

    def plan_of(sigmas: list[float]) -> Plan:
        random = Random(seed)
        stretches = falling_stretches(sigmas)
        plan = joined([_stretch(stretch.sigmas, part, random) for stretch in stretches]) if stretches else compute_all(sigmas, Reason.OFF)
        return plan if part else WatchingPlan(plan.sigmas, plan.reused, plan.errors)

    return plan_of


def _stretch(sigmas: tuple[float, ...], part: float, random: Random) -> Plan:
    reused = tuple(step > 0 and random.random() < part for step in range(len(sigmas)))
    drawn = [[_recipe(reused, step, random) for step in range(len(sigmas))] for _ in range(3)]
    recipes, others = (tuple(recipe if reuse else () for recipe, reuse in zip(row, reused, strict=True)) for row in drawn[:2])
    corrects = [step > 0 and not reuse and reused[step - 1] and random.random() < 0.5 for step, reuse in enumerate(reused)]
    corrections = tuple(
        Correction(random.uniform(-0.3, 0.8), recipe) if corrected else None for recipe, corrected in zip(drawn[2], corrects, strict=True)
    )
    return Plan(sigmas, reused, (0.0,) * len(sigmas), recipes, corrections, other_recipes=random.choice([(), (), (others,)]))


def _recipe(reused: tuple[bool, ...], step: int, random: Random) -> Recipe:
    """Hold the last step that was computed before `step`, or extrapolate from the last two; empty if there was none."""
    computed = [earlier for earlier in range(step) if not reused[earlier]]
    if len(computed) > 1 and random.random() < 0.5:
        ahead = random.uniform(0.1, 0.8)
        return (computed[-2], -ahead), (computed[-1], 1 + ahead)
    return ((computed[-1], 1.0),) if computed else ()


# Runs


def conditionings(drawn: Combination, tiny: Tiny) -> tuple[Conds, Conds]:
    """A positive and a negative, fresh ones with the same content each time."""
    random = drawn.random()
    if drawn.text == "plain":
        return tiny.positive, tiny.conditioning(2, tokens=random.choice([7, 9]))
    more = TEXTS[drawn.text](tiny, random)
    return tiny.positive + tiny.conditioning(3, **more), tiny.negative


def patched(drawn: Combination, tiny: Tiny) -> Any:
    """A clone of the model with what the other nodes do to it."""
    model, random = tiny.model.clone(), drawn.random()
    for name in drawn.others:
        OTHERS[name](model, tiny, random)
    return model


@torch.inference_mode()
def sampled(
    drawn: Combination, tiny: Tiny, model: Any, interrupt: tuple[str, int] | None = None, most_forwards: int = 400, **instead: Any
) -> torch.Tensor:
    """One run. Raises `Interrupted` if it gets so far, or `EndlessError`."""
    torch.manual_seed(0)
    positive, negative = conditionings(drawn, tiny)
    latent = tiny.empty(drawn.batch, drawn.size)
    noised = comfy.sample.prepare_noise(latent, 1)
    place, last = interrupt or ("", 0)
    calls, forwards = itertools.count(1), itertools.count(1)

    def in_module(*_: Any) -> None:
        if next(calls) == last:
            raise Interrupted

    def forward(*_: Any) -> None:
        if next(forwards) > most_forwards:
            raise EndlessError

    def callback(step: int, *_: Any) -> None:
        if place == "callback" and step == last:
            raise Interrupted

    hooks = [tiny.dit.register_forward_pre_hook(forward)]
    if place == "module":
        module = drawn.random().choice([tiny.dit, *blocks(tiny), *tiny.dit.children()])
        hooks.append(module.register_forward_pre_hook(in_module))
    choices: dict[str, Any] = {"steps": drawn.steps, "cfg": drawn.cfg, "sampler_name": drawn.sampler, "scheduler": drawn.scheduler}
    choices.update({"positive": positive, "negative": negative, "denoise": drawn.denoise, **instead})
    try:
        result = comfy.sample.sample(
            model,
            noised,
            latent_image=latent if drawn.denoise == 1 else noised * 0.5,
            callback=callback,
            disable_pbar=True,
            seed=1,
            **choices,
        )
    finally:
        for hook in hooks:
            hook.remove()
    return torch.cat([part.flatten(1) for part in result.unbind()], dim=1) if isinstance(result, NestedTensor) else result
