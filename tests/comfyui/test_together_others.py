"""Together with others that act around a forward: wrappers, attention, exchanged modules, threads, several devices, several samplers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import comfy.samplers
import nodes
import pytest
import torch
from comfy.ldm.wan.model import WanModel
from comfy.patcher_extension import WrappersMP
from torch import nn

from .runs import cached, counted
from .tiny import Tiny, _wan, flux_dev, noise, wan_t2v
from .together import Item, Put, as_it_is, assert_computes_alike, assert_reuses_rightly, draw, unharmed


def attention(act: Any) -> Put:
    """As nodes for sparse attention put theirs in place of ComfyUI's own."""

    def put(model: Any) -> Any:
        model = model.clone()
        model.model_options["transformer_options"]["optimized_attention_override"] = act(model.get_model_object("model_sampling"))
        return model

    return put


def sparse(_: Any) -> Any:
    """Leaves out the last keys."""

    def attend(full: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, heads: int, *args: Any, **kwargs: Any) -> torch.Tensor:
        kept = k.shape[-2] // 2
        kwargs["mask"] = None
        return full(q, k[..., :kept, :], v[..., :kept, :], heads, *args, **kwargs)

    return attend


class SparseLater:
    """Attends to everything first."""

    def __init__(self, sampling: Any) -> None:
        self.sigma_start = sampling.percent_to_sigma(0.5)
        self.attend = sparse(sampling)

    def __call__(self, full: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        late = float(kwargs["transformer_options"]["sigmas"][0]) <= self.sigma_start
        return self.attend(full, *args, **kwargs) if late else full(*args, **kwargs)


def around(change: Callable[..., torch.Tensor]) -> Put:
    """A wrapper around the model's own forward."""

    def put(model: Any) -> Any:
        model = model.clone()
        model.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "other", change)
        return model

    return put


def louder(executor: Any, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    return 1.1 * executor(0.9 * x, *args, **kwargs)


def function(apply: Callable[[Any, dict[str, Any]], torch.Tensor]) -> Put:
    def put(model: Any) -> Any:
        model = model.clone()
        model.set_model_unet_function_wrapper(apply)
        return model

    return put


def scaled(forward: Any, args: dict[str, Any]) -> torch.Tensor:
    return 1.1 * forward(args["input"] * 0.9, args["timestep"], **args["c"])


def parts(args: dict[str, Any], told: bool) -> list[tuple[Any, ...]]:
    """The members of a batch, each with what belongs to it. Whether its options are told which one it is, is as with other packs."""
    count = len(args["cond_or_uncond"])
    rows = {name: value.chunk(count) for name, value in args["c"].items() if isinstance(value, torch.Tensor)}
    found = []
    for place, (x, t) in enumerate(zip(args["input"].chunk(count), args["timestep"].chunk(count), strict=True)):
        options = dict(args["c"]["transformer_options"])
        if told:
            options |= {name: options[name][place : place + 1] for name in ("cond_or_uncond", "uuids")}
        own = {name: value[place] for name, value in rows.items()}
        found.append((x, t, {**args["c"], **own, "transformer_options": options}))
    return found


def one_by_one(forward: Any, args: dict[str, Any]) -> torch.Tensor:
    return torch.cat([forward(x, t, **c) for x, t, c in parts(args, told=True)])


def one_by_one_untold(forward: Any, args: dict[str, Any]) -> torch.Tensor:
    return torch.cat([forward(x, t, **c) for x, t, c in parts(args, told=False)])


def at_once(forward: Any, args: dict[str, Any]) -> torch.Tensor:
    """Each conditioning in a thread of its own, as packs do that divide the work."""

    def work(part: tuple[Any, ...]) -> torch.Tensor:
        with torch.inference_mode():
            return forward(part[0], part[1], **part[2])

    with ThreadPoolExecutor(2) as pool:
        return torch.cat(list(pool.map(work, parts(args, told=True))))


class Louder(nn.Module):
    def __init__(self, real: nn.Module) -> None:
        super().__init__()
        self.real = real

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        image, text = self.real(*args, **kwargs)
        return 1.2 * image, text


def exchanged(model: Any) -> Any:
    """Puts a block of its own in place of the first one for each forward, as torch.compile's wrapper does."""
    model, own = model.clone(), {}

    def exchange(executor: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        blocks = executor.class_obj.diffusion_model.double_blocks
        real = blocks[0]
        blocks[0] = own.setdefault(id(real), Louder(real))
        try:
            return executor(*args, **kwargs)
        finally:
            blocks[0] = real

    model.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "other", exchange)
    return model


ITEMS = {
    "sparse attention": Item(flux_dev, attention(sparse), without=as_it_is),
    "sparse attention that begins later": Item(flux_dev, attention(SparseLater), decisions="crrcr", without=as_it_is),
    "a wrapper around the model": Item(flux_dev, around(louder), without=as_it_is),
    "a function around the model": Item(flux_dev, function(scaled), without=as_it_is),
    "a function that runs one row after the other": Item(flux_dev, function(one_by_one)),
    "a function that does and says nothing of it": Item(flux_dev, function(one_by_one_untold), decisions="ccccc"),
    "a function that runs rows at once": Item(flux_dev, function(at_once)),
    "an exchanged block": Item(flux_dev, exchanged, without=as_it_is),
}


@pytest.mark.parametrize("name", ITEMS)
def test_computing_everything_gives_the_very_same_picture(name: str):
    assert_computes_alike(ITEMS[name])


@pytest.mark.parametrize("name", ITEMS)
def test_a_reused_evaluation_gives_what_the_computed_one_gave(name: str):
    assert_reuses_rightly(ITEMS[name])


def test_conditionings_that_run_at_once_wait_for_each_other(flux: Tiny):
    """While one of them has the blocks taken out, the other must not begin."""
    inside, most = [0], [0]

    def enter(*_: Any) -> None:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        threading.Event().wait(0.02)

    def leave(*_: Any) -> None:
        inside[0] -= 1

    handles = [flux.dit.register_forward_pre_hook(enter), flux.dit.register_forward_hook(leave)]
    item = Item(lambda: flux, function(at_once), count=3, plan="crr")
    model, log = cached(item.put(flux.model), item.plan)
    try:
        result = draw(item, flux, model)
    finally:
        for handle in handles:
            handle.remove()
    assert most == [1] and log.decisions == ["crr"]
    apart = function(one_by_one)
    assert torch.equal(result, draw(replace(item, put=apart), flux, cached(apart(flux.model), item.plan)[0]))


def test_several_devices_that_share_the_conditionings():
    """ComfyUI's own division of work. The processor counts as two devices, which differ in name."""
    if not hasattr(comfy.samplers, "_calc_cond_batch_multigpu"):
        pytest.skip("this ComfyUI has no division of work")
    first, second = wan_t2v(), Tiny(_wan(WanModel, model_type="t2v", in_dim=16), wan_t2v().latent, 4096)
    second.model.load_device = torch.device("cpu", 0)
    second.model.is_multigpu_base_clone = True

    def put(model: Any) -> Any:
        model = model.clone()
        model.set_additional_models("multigpu", [second.model])
        return model

    item = Item(lambda: first, put)
    with unharmed(second), counted(second.dit.blocks[0]) as calls:
        assert_computes_alike(item)
        assert calls[0] > 0, "or else this shows nothing"
        calls[0] = 0
        draw(item, first, cached(put(first.model), item.plan)[0])
        assert calls == [1]
        assert_reuses_rightly(item)


def test_three_samplers_of_two_experts_share_nothing():
    """Wan 2.2 as it is often drawn: some steps without and some with a LoRA on the first expert, the rest on the second."""
    high, low = wan_t2v(0), wan_t2v(1)
    weight = "diffusion_model.blocks.0.self_attn.q.weight"
    plan = "crcr"

    def with_lora(model: Any) -> Any:
        model = model.clone()
        assert model.add_patches({weight: ("diff", (noise(128, 128, seed=7) * 0.5,))}, 1.0) == [weight]
        return model

    def three(models: list[Any]) -> list[torch.Tensor]:
        latent, drawn = {"samples": high.empty()}, []
        for place, model in enumerate(models):
            more = {"start_step": 4 * place, "last_step": 4 * place + 4, "disable_noise": place > 0, "force_full_denoise": place == 2}
            with torch.inference_mode():
                (latent,) = nodes.common_ksampler(
                    model, 1, 12, 3.0, "euler", "simple", high.positive, high.negative, latent, **more
                )  # fmt: skip
            drawn.append(latent["samples"])
        return drawn

    one, log = cached(high.model, plan)
    two, other_log = cached(low.model, plan)
    with unharmed(high), unharmed(low):
        drawn = three([one, with_lora(one), two])
        assert log.decisions == [plan] * 2 and other_log.decisions == [plan]
        apart = three([cached(high.model, plan)[0], cached(with_lora(high.model), plan)[0], cached(low.model, plan)[0]])
    assert all(torch.equal(one, other) for one, other in zip(drawn, apart, strict=True))
    assert not torch.equal(drawn[1], three([one, one, two])[1])
