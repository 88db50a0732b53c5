"""What conditionings and other nodes may bring into a run of random things. Each is drawn from a `Random`, the same from the same one."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import comfy.hooks
import comfy.samplers
import torch
from comfy.patcher_extension import WrappersMP
from comfy_extras.nodes_slg import SkipLayerGuidanceDiT

from .tiny import Tiny, noise


def _weight(tiny: Tiny, random: Random) -> tuple[str, torch.Tensor]:
    found = [(name, weight) for name, weight in tiny.dit.named_parameters() if weight.ndim == 2 and name.endswith(".weight")]
    name, weight = random.choice(found)
    return f"diffusion_model.{name}", weight


def _area(tiny: Tiny, random: Random) -> dict[str, Any]:
    others = (len(tiny.latent) - 2) * (1.0,)
    return {"area": ("percentage", *others, 0.5, *(0.0,) * len(others), random.choice([0.0, 0.5])), "strength": random.uniform(0.3, 1)}


def _mask(tiny: Tiny, random: Random) -> dict[str, Any]:
    mask = (noise(1, *tiny.latent[-2:], seed=random.randrange(100)) > 0).float()
    return {"mask": mask, "mask_strength": random.uniform(0.3, 1), "set_area_to_bounds": False}


def _start(tiny: Tiny, random: Random) -> dict[str, Any]:
    start = random.uniform(0, 0.6)
    return {"start_percent": start, "end_percent": random.uniform(start, 1)}


def _hooks(tiny: Tiny, random: Random) -> dict[str, Any]:
    """A LoRA whose strength changes during the run."""
    name, parameter = _weight(tiny, random)
    group = comfy.hooks.create_hook_lora({f"{name.removesuffix('.weight')}.diff": noise(*parameter.shape, seed=7) * 0.1}, 1.0, 1.0)
    keyframes = comfy.hooks.HookKeyframeGroup()
    for start in (0.0, random.uniform(0.2, 0.8)):
        keyframes.add(comfy.hooks.HookKeyframe(random.uniform(0.2, 1.5), start))
    group.set_keyframes_on_hooks(keyframes)
    return {"hooks": group}


TEXTS: dict[str, Callable[[Tiny, Random], dict[str, Any]]] = {"area": _area, "mask": _mask, "part of the run": _start, "hooks": _hooks}


def _lora(model: Any, tiny: Tiny, random: Random) -> None:
    name, weight = _weight(tiny, random)
    assert model.add_patches({name: ("diff", (noise(*weight.shape, seed=7) * 0.1,))}, random.uniform(0.2, 1)) == [name]


def _left_out(model: Any, tiny: Tiny, random: Random) -> None:
    """A block without effect."""

    def replace(args: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
        before = {name: value.clone() if isinstance(value, torch.Tensor) else value for name, value in args.items()}
        return {name: before.get(name, value) for name, value in extra["original_block"](args).items()}

    place = random.randint(0, 1)
    for kind in ("double_block", "single_block", "block"):
        model.set_model_patch_replace(replace, "dit", kind, place)


def _attention_patch(model: Any, tiny: Tiny, random: Random) -> None:
    """Models call such patches in three ways."""

    def louder(*args: Any, **more: Any) -> Any:
        if len(args) == 1:
            return args[0]["x"] * 1.5
        q, k, v, *_ = args
        return {"q": q, "k": k, "v": v * 1.5} if more else (q, k, v * 1.5)

    model.set_model_attn1_patch(louder)


def _attention(model: Any, tiny: Tiny, random: Random) -> None:
    model.model_options["transformer_options"]["optimized_attention_override"] = lambda function, *args, **more: (
        function(*args, **more) * 1.1
    )


def _function(model: Any, tiny: Tiny, random: Random) -> None:
    model.set_model_unet_function_wrapper(lambda function, args: function(args["input"], args["timestep"], **args["c"]) * 0.98)


def _around(kind: str) -> Callable[[Any, Tiny, Random], None]:
    def add(model: Any, tiny: Tiny, random: Random) -> None:
        model.add_wrapper_with_key(kind, "random", lambda executor, *args, **more: executor(*args, **more))

    return add


def _post_cfg(model: Any, tiny: Tiny, random: Random) -> None:
    """Looks at the positive once more, and at the latent as a whole or at another one."""
    turned = random.random() < 0.5

    def evaluate(args: dict[str, Any]) -> torch.Tensor:
        x = -args["input"] if turned else args["input"]
        (again,) = comfy.samplers.calc_cond_batch(args["model"], [args["cond"]], x, args["sigma"], args["model_options"])
        return args["denoised"] + 0.1 * again

    model.set_model_sampler_post_cfg_function(evaluate, disable_cfg1_optimization=random.random() < 0.5)


def _skip_layer(model: Any, tiny: Tiny, random: Random) -> None:
    patched = SkipLayerGuidanceDiT.execute(
        model, 2.0, random.choice([0.0, 0.3]), random.choice([0.7, 1.0]), double_layers="1", single_layers="0"
    )
    model.model_options = patched.args[0].model_options


OTHERS: dict[str, Callable[[Any, Tiny, Random], None]] = {
    "lora": _lora,
    "left out": _left_out,
    "attention patch": _attention_patch,
    "attention": _attention,
    "function": _function,
    "in apply": _around(WrappersMP.APPLY_MODEL),
    "in model": _around(WrappersMP.DIFFUSION_MODEL),
    "post cfg": _post_cfg,
    "skip layer": _skip_layer,
}
