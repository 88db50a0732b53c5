"""Which evaluations may share a residual: those that look at the same thing in the same way, once a step."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import comfy.sample
import comfy.samplers
import pytest
import torch
from comfy.patcher_extension import WrappersMP

from magcache import MagnitudeCurve
from magcache.comfyui.patch import MagCachePatch
from magcache.planning.plan import Correction, Plan
from magcache.reports.run_report import Disturbance
from magcache.runtime.calibration_mode import CalibrationMode

from .runs import FixedMode, Log, PlanOf, cached, close, counted, sample, steps
from .tiny import Tiny, flux_schnell, noise

Ask = Callable[[Any, torch.Tensor, torch.Tensor, dict[str, Any], Any], torch.Tensor]


@torch.inference_mode()
def sample_with(tiny: Tiny, model: Any, ask: Ask, *, count: int = 6, cfg: float = 3.0, sampler: str = "euler") -> torch.Tensor:
    """As a guider samples that answers each question of the sampler by `ask`."""

    class Guider(comfy.samplers.CFGGuider):
        def predict_noise(self, x: Any, timestep: Any, model_options: Any = {}, seed: Any = None) -> Any:  # noqa: B006
            return ask(super().predict_noise, x, timestep, model_options, seed)

    guider = Guider(model)
    guider.set_conds(tiny.positive, tiny.negative)
    guider.set_cfg(cfg)
    latent = torch.zeros(1, *tiny.latent)
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "simple", count)
    return guider.sample(noise(*latent.shape, seed=5), latent, comfy.samplers.sampler_object(sampler), sigmas, disable_pbar=True, seed=1)


def thrice(
    answer: Callable[..., torch.Tensor], x: torch.Tensor, timestep: torch.Tensor, options: dict[str, Any], seed: Any
) -> torch.Tensor:
    """Three evaluations at slightly different sigmas, of which the last counts: as nodes for inpainting do it."""
    for factor in (1.002, 0.998):
        answer(x, timestep * factor, options, seed)
    return answer(x, timestep, options, seed)


def corrected(plan: str) -> PlanOf:
    """`plan`, whose computed steps after a gap correct it."""

    def plan_of(sigmas: list[float]) -> Plan:
        base = steps(plan)(sigmas)
        corrections = tuple(
            Correction(0.5, ((base.source(step - 1), 1.0),)) if not base.reused[step] and step and base.reused[step - 1] else None
            for step in range(base.steps)
        )
        return Plan(base.sigmas, base.reused, base.errors, (), corrections)

    return plan_of


def test_three_evaluations_a_step_do_not_shift_the_steps(flux: Tiny):
    model, log = cached(flux.model, corrected("crcrrc"))
    with counted(flux.dit.double_blocks[0]) as calls:
        result = sample_with(flux, model, thrice)
    assert calls == [9], "no correction is begun, so none has to be computed again without it"
    assert log.decisions == ["ccc" + "rrr" + "ccc" + "rrr" * 2 + "ccc"]
    assert [event.step for event in log.reports[0].events] == [step for step in range(6) for _ in range(3)]
    assert log.reports[0].disturbances == (Disturbance.EXTRA_EVALUATIONS,)
    assert not any(event.corrected for event in log.reports[0].events)
    once, _ = cached(flux.model, "crcrrc")
    assert close(result, sample_with(flux, once, lambda answer, *rest: answer(*rest)), 1e-5)


def test_a_calibration_under_them_saves_nothing(flux: Tiny, curves_folder: Path):
    log = Log()
    result = sample_with(flux, MagCachePatch(CalibrationMode("auto", ""), log.add).attach(flux.model), thrice, count=12)
    assert "more often than once a step" in log.texts[0] and not list(curves_folder.iterdir())
    assert torch.equal(result, sample_with(flux, flux.model, thrice, count=12))


def asking_again(flux: Tiny, at: set[int]) -> Any:
    """The model with a wrapper that has the sampler ask a second time at some steps, as a step within a step does."""
    model, count = flux.model.clone(), iter(range(1000))

    def twice(executor: Any, x: torch.Tensor, timestep: torch.Tensor, *rest: Any) -> Any:
        if next(count) in at:
            executor.class_obj.outer_predict_noise(x, timestep, *rest)
        return executor(x, timestep, *rest)

    model.add_wrapper_with_key(WrappersMP.PREDICT_NOISE, "again", twice)
    return model


def test_a_second_question_before_a_step_is_over_is_noticed(flux: Tiny):
    model, log = cached(asking_again(flux, {2}), corrected("ccrrcr"))
    sample(flux, model, count=6)
    (report,) = log.reports
    assert [event.step for event in report.events][-3:] == [3, 4, 5], "the steps after it are found by their sigma"
    assert Disturbance.EXTRA_EVALUATIONS in report.disturbances and not any(event.corrected for event in report.events)


def cropping(model: Any, crop: Callable[[torch.Tensor, int], torch.Tensor]) -> Any:
    """`model` with a function that evaluates the positive again on a crop of the latent, and adds a little of it."""
    model, count = model.clone(), iter(range(1000))

    def post_cfg(args: dict[str, Any]) -> torch.Tensor:
        part = crop(args["input"], next(count))
        (again,) = comfy.samplers.calc_cond_batch(args["model"], [args["cond"]], part, args["sigma"], args["model_options"])
        return args["denoised"] + 0.1 * again.mean()

    model.set_model_sampler_post_cfg_function(post_cfg, disable_cfg1_optimization=True)
    return model


@pytest.mark.parametrize(
    "crop",
    [
        lambda x, step: x.roll(4 * step, dims=-1),
        lambda x, step: x[..., (step % 2) * 4 : (step % 2) * 4 + 4],
        lambda x, step: -x,
    ],
    ids=["rolled", "another half", "another latent"],
)
def test_an_evaluation_of_another_part_of_the_latent_is_computed(flux: Tiny, crop: Callable[[torch.Tensor, int], torch.Tensor]):
    model, log = cached(cropping(flux.model, crop), "crrrcr")
    seen: list[torch.Tensor] = []
    original = flux.dit.final_layer.register_forward_pre_hook(lambda _, args: seen.append(args[0].clone()))
    try:
        sample(flux, model, count=6)
    finally:
        original.remove()
    assert log.decisions == ["cc" + "rc" * 3 + "cc" + "rc"], "the whole latent is skipped as planned, its parts never"


def test_the_same_evaluation_twice_for_one_question_has_two_residuals(flux: Tiny):
    """The second answers otherwise, for it gets another patch: a fresh object each time, whose id may be that of one that is gone."""

    def louder(answer: Any, x: torch.Tensor, timestep: torch.Tensor, options: dict[str, Any], seed: Any) -> torch.Tensor:
        def replace(args: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
            out = extra["original_block"](args)
            return {**out, "img": out["img"] * 1.5}

        plain = answer(x, timestep, options, seed)
        patched = comfy.model_patcher.set_model_options_patch_replace(options.copy(), replace, "dit", "double_block", 1)
        return plain + 0.5 * (answer(x, timestep, patched, seed) - plain)

    model, log = cached(flux.model, "crcr")
    result = sample_with(flux, model, louder, count=4, cfg=1.0)
    assert log.decisions == ["cc" + "rc" + "cc" + "rc"], "what a fresh patch does is not known from another one"
    plain = sample_with(flux, flux.model, louder, count=4, cfg=1.0)
    only, _ = cached(flux.model, "crcr")
    reused = sample_with(flux, only, lambda answer, *rest: answer(*rest), count=4, cfg=1.0)
    assert not close(result, reused, 1e-3) and not close(plain, reused, 1e-3)


def test_the_same_evaluation_twice_is_told_apart_by_its_number(flux: Tiny):
    """A guider that asks the same twice gets for each question the residual of that very question."""
    model, log = cached(flux.model, "crcr")
    result = sample_with(flux, model, lambda answer, *rest: (answer(*rest), answer(*rest))[1], count=4)
    assert log.decisions == ["cc" + "rr" + "cc" + "rr"]
    once, _ = cached(flux.model, "crcr")
    assert torch.equal(result, sample_with(flux, once, lambda answer, *rest: answer(*rest), count=4))


def test_an_evaluation_at_another_sigma_for_the_same_question_has_a_residual_of_its_own(flux: Tiny):
    """The first one counts. The second one looks at the same thing, so only its number tells it apart."""

    def and_another(answer: Any, x: torch.Tensor, timestep: torch.Tensor, *rest: Any) -> torch.Tensor:
        first = answer(x, timestep, *rest)
        answer(x, 0.5 * timestep, *rest)
        return first

    model, log = cached(flux.model, "crcr")
    result = sample_with(flux, model, and_another, count=4)
    assert log.decisions == ["cc" + "rr" + "cc" + "rr"]
    once, _ = cached(flux.model, "crcr")
    assert torch.equal(result, sample_with(flux, once, lambda answer, *rest: answer(*rest), count=4))


class Neighbour:
    """What another node puts around or into the blocks. It changes nothing, and nobody knows that."""

    __slots__ = ("kind",)

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.kind == "replaced block":
            return args[1]["original_block"](args[0])
        if self.kind == "patch":
            return {}
        if self.kind == "wrapper":
            return args[0](*args[1:], **kwargs)
        return args[0](args[1]["input"], args[1]["timestep"], **args[1]["c"])

    def put(self, options: dict[str, Any]) -> dict[str, Any]:
        """Model options of which it is a part."""
        if self.kind == "function":
            return {**options, "model_function_wrapper": self}
        places: dict[str, Any] = {
            "replaced block": {"patches_replace": {"dit": {("double_block", 1): self}}},
            "patch": {"patches": {"attn1_patch": [self]}},
            "wrapper": {"wrappers": {**options["transformer_options"].get("wrappers", {}), "diffusion_model": {"test": [self]}}},
        }
        return {**options, "transformer_options": {**options["transformer_options"], **places[self.kind]}}


@pytest.mark.parametrize("kind", ["replaced block", "patch", "wrapper", "function"])
@pytest.mark.parametrize("fresh", [True, False])
def test_another_object_around_the_blocks_is_another_evaluation_even_at_the_same_address(flux: Tiny, kind: str, fresh: bool):
    kept, ids = Neighbour(kind), set[int]()

    def ask(answer: Any, x: torch.Tensor, timestep: torch.Tensor, options: dict[str, Any], seed: Any) -> torch.Tensor:
        if not fresh:
            return answer(x, timestep, kept.put(options), seed)
        gc.collect()
        made = [Neighbour(kind) for _ in range(1000)]
        neighbour = next((each for each in made if id(each) in ids), made[0])
        del made
        ids.add(id(neighbour))
        return answer(x, timestep, neighbour.put(options), seed)

    model, log = cached(flux.model, "crrr")
    sample_with(flux, model, ask, count=4, cfg=1.0)
    assert log.decisions == ["cccc" if fresh else "crrr"]


def test_two_models_that_answer_the_same_question_have_residuals_of_their_own(flux: Tiny):
    """As guiders ask that guide a model with a second one, here now before and now after the first."""
    second, count = flux_schnell().model, iter(range(1000))
    second.pre_run()

    def both(answer: Any, x: torch.Tensor, timestep: torch.Tensor, options: dict[str, Any], seed: Any) -> torch.Tensor:
        guider, number = answer.__self__, next(count)
        models = {"first": guider.inner_model, "second": second.model}
        answers = {
            name: comfy.samplers.calc_cond_batch(models[name], [guider.conds["positive"]], x, timestep, options)[0]
            for name in sorted(models, reverse=number % 2 == 1)
        }
        return answers["first"]

    model, log = cached(flux.model, "crrr")
    result = sample_with(flux, model, both, count=4, cfg=1.0)
    assert log.decisions == ["cc" + "rr" * 3]
    alone, _ = cached(flux.model, "crrr")
    assert torch.equal(result, sample_with(flux, alone, lambda answer, *rest: answer(*rest), count=4, cfg=1.0))


def tiled(model: Any, moving: bool) -> Any:
    """`model` with a wrapper that evaluates the latent in two tiles, in one batch, which may move from step to step."""
    model, count = model.clone(), iter(range(1000))

    def apply(function: Any, args: dict[str, Any]) -> torch.Tensor:
        shift = 2 * next(count) if moving else 0
        x, rest = args["input"].roll(shift, dims=-1), dict(args["c"])
        tiles = torch.cat(x.chunk(2, dim=-1))
        rest = {name: torch.cat([value] * 2) if isinstance(value, torch.Tensor) else value for name, value in rest.items()}
        out = function(tiles, torch.cat([args["timestep"]] * 2), **rest)
        return torch.cat(out.chunk(2), dim=-1).roll(-shift, dims=-1)

    model.set_model_unet_function_wrapper(apply)
    return model


@pytest.mark.parametrize("moving", [False, True])
def test_tiles_in_a_batch_are_computed(flux: Tiny, moving: bool):
    model, log = cached(tiled(flux.model, moving), "crrr")
    assert torch.equal(sample(flux, model), sample(flux, tiled(flux.model, moving)))
    assert log.decisions == ["cccc"] and log.reports[0].refused == 3


@pytest.mark.parametrize("moving", [False, True])
def test_tiles_one_after_the_other_are_computed(flux: Tiny, moving: bool):
    def tiles(source: Any) -> Any:
        model, count = source.clone(), iter(range(1000))

        def apply(function: Any, args: dict[str, Any]) -> torch.Tensor:
            shift = 2 * next(count) if moving else 0
            parts = args["input"].roll(shift, dims=-1).chunk(2, dim=-1)
            return torch.cat([function(part, args["timestep"], **args["c"]) for part in parts], dim=-1).roll(-shift, dims=-1)

        model.set_model_unet_function_wrapper(apply)
        return model

    model, log = cached(tiles(flux.model), "crrr")
    assert torch.equal(sample(flux, model), sample(flux, tiles(flux.model)))
    assert log.decisions == ["cccc"] and log.reports[0].refused == 3


@pytest.mark.parametrize(
    ("evaluated", "decisions"),
    [((0.9, 0.675, 0.45, 0.225), "crcr"), ((1.0, 0.75, 0.5, 0.25, 0.25), "crcrr")],
    ids=["elsewhere", "once more at the end"],
)
def test_the_expected_sigmas_are_compared_with_the_samplers_own(
    flux: Tiny, monkeypatch: pytest.MonkeyPatch, evaluated: tuple[float, ...], decisions: str
):
    """If a sampler that was tried out evaluates otherwise in the run itself, the report says so and no curve is saved."""
    from magcache.comfyui import patch
    from magcache.comfyui.samplers import SamplerTraits

    monkeypatch.setattr(patch, "traits_of", lambda *_: SamplerTraits(one_a_step=True, adds_noise=False))
    log = Log()
    model = MagCachePatch(FixedMode(steps("crcr")), log.add).attach(flux.model)

    def otherwise(
        denoise: Any, x: torch.Tensor, sigmas: torch.Tensor, extra_args: Any = None, callback: Any = None, **_: Any
    ) -> torch.Tensor:
        for step, sigma in enumerate(evaluated):
            x = denoise(x, torch.tensor([sigma]), **extra_args)
            callback({"i": step, "denoised": x, "x": x})
        return x

    sigmas = torch.tensor([1.0, 0.75, 0.5, 0.25, 0.0])
    with torch.inference_mode():
        comfy.sample.sample_custom(
            model, noise(1, *flux.latent, seed=5), 1.0, comfy.samplers.KSAMPLER(otherwise), sigmas, flux.positive, flux.negative,
            torch.zeros(1, *flux.latent), disable_pbar=True, seed=1,
        )  # fmt: skip
    assert log.reports[0].disturbances == (Disturbance.EXTRA_EVALUATIONS,) and log.decisions == [decisions]


def test_a_sampler_that_evaluates_without_asking_the_guider_is_computed(flux: Tiny):
    model, log = cached(flux.model, "crrr")

    def direct(denoise: Any, x: torch.Tensor, sigmas: torch.Tensor, extra_args: Any = None, **_: Any) -> torch.Tensor:
        guider = denoise.inner_model
        for sigma in sigmas[:-1]:
            conds = [guider.conds["positive"]]
            (x,) = comfy.samplers.calc_cond_batch(guider.inner_model, conds, x, sigma.expand(1), extra_args["model_options"])
        return x

    with torch.inference_mode():
        comfy.sample.sample_custom(
            model, noise(1, *flux.latent, seed=5), 1.0, comfy.samplers.KSAMPLER(direct), torch.tensor([1.0, 0.75, 0.5, 0.25, 0.0]),
            flux.positive, flux.negative, torch.zeros(1, *flux.latent), disable_pbar=True, seed=1,
        )  # fmt: skip
    assert log.decisions == ["cccc"] and [event.step for event in log.reports[0].events] == [0, 1, 2, 3]


def test_a_curve_measured_in_a_quiet_run_is_saved(flux: Tiny, curves_folder: Path):
    sample(flux, MagCachePatch(CalibrationMode("auto", ""), Log().add).attach(flux.model), count=12)
    (path,) = curves_folder.iterdir()
    assert MagnitudeCurve.load(path).steps == 12
