"""Together with other kinds of guidance: further evaluations for a step, patches of attention, other guiders."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import comfy.samplers
import pytest
import torch

from .tiny import Tiny, flux_dev, flux_schnell, sd3
from .together import Item, Put, as_it_is, assert_computes_alike, assert_reuses_rightly, node
from .zoo_unets import sd15


def both(first: Put, second: Put) -> Put:
    return lambda model: second(first(model))


def slg(double: str, single: str, end: float = 1.0) -> Put:
    return lambda model: node("nodes_slg", "SkipLayerGuidanceDiT").execute(model, 3.0, 0.0, end, double, single).args[0]


def slg_simple(start: float, end: float) -> Put:
    return lambda model: node("nodes_slg", "SkipLayerGuidanceDiTSimple").execute(model, start, end, "1", "0").args[0]


def slg_sd3(model: Any) -> Any:
    return node("nodes_sd3", "SkipLayerGuidanceSD3").execute(model, "1", 3.0, 0.0, 0.5).args[0]


def nag(model: Any) -> Any:
    return node("nodes_nag", "NAGuidance").execute(model, 5.0, 0.5, 1.5).args[0]


def zero_star(model: Any) -> Any:
    return node("nodes_cfg", "CFGZeroStar").execute(model).args[0]


def pag(model: Any) -> Any:
    return node("nodes_pag", "PerturbedAttentionGuidance").execute(model, 3.0).args[0]


@cache
def attentive() -> Tiny:
    """A U-Net whose attention in the middle, which PAG disturbs, can be seen in the picture."""
    tiny = sd15.__wrapped__()
    for name, parameter in tiny.dit.middle_block.named_parameters():
        parameter.data *= 10 if "attn1" in name else 1
    return tiny


def guidance_off_after(end: float) -> Put:
    return lambda model: node("nodes_custom_sampler", "CFGOverride").execute(model, 1.0, end, 1.0).args[0]


def second_look(change: Callable[[dict[str, Any]], dict[str, Any]], end: float = 1.0) -> Put:
    """A node that looks at the positive again for each step until `end`, with other options, as guidance by perturbation does."""

    def put(model: Any) -> Any:
        model = model.clone()
        last = model.get_model_object("model_sampling").percent_to_sigma(end)

        def post_cfg(args: dict[str, Any]) -> torch.Tensor:
            if float(args["sigma"].flatten()[0]) < last:
                return args["denoised"]
            options = change(args["model_options"].copy())
            (worse,) = comfy.samplers.calc_cond_batch(args["model"], [args["cond"]], args["input"], args["sigma"], options)
            return args["denoised"] + 0.5 * (args["cond_denoised"] - worse)

        model.set_model_sampler_post_cfg_function(post_cfg, disable_cfg1_optimization=True)
        return model

    return put


def other_attention(attend: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """As nodes for sparse and for perturbed attention do: in place of ComfyUI's own."""
    return lambda options: {**options, "transformer_options": {**options["transformer_options"], "optimized_attention_override": attend}}


def quieter(attention: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
    return attention(*args, **kwargs) * 0.2


def louder(attention: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
    return attention(*args, **kwargs) * 3.0


def dual(style: str) -> Callable[..., Any]:
    def guider(tiny: Tiny, model: Any, cfg: float, **_: Any) -> Any:
        conds = tiny.conditioning(1), tiny.conditioning(3), tiny.negative
        return node("nodes_custom_sampler", "DualCFGGuider").execute(model, *conds, cfg, 2.0, style).args[0]

    return guider


def perp_neg(tiny: Tiny, model: Any, cfg: float, **_: Any) -> Any:
    return node("nodes_perpneg", "PerpNegGuider").execute(model, tiny.positive, tiny.negative, tiny.conditioning(3), cfg, 0.7).args[0]


def basic(tiny: Tiny, model: Any, cfg: float, **_: Any) -> Any:
    return node("nodes_custom_sampler", "BasicGuider").execute(model, tiny.positive).args[0]


def two_models(tiny: Tiny, model: Any, cfg: float, **_: Any) -> Any:
    """The negative by another model, and both by one and the same text."""
    return node("nodes_custom_sampler", "DualModelGuider").execute(model, tiny.positive, cfg, flux_schnell().model, tiny.negative).args[0]


LARGE = (4, 16, 16)
"""With more than one token in the middle of a U-Net."""
ITEMS = {
    "SLG": Item(flux_dev, slg("1", "0"), decisions="cc" + "rr" * 4, without=as_it_is),
    "SLG that ends": Item(flux_dev, slg("1", "0", 0.5), decisions="cc" + "rr" * 2 + "rr", without=as_it_is),
    "SLG that ends, another that goes on": Item(
        flux_dev, both(slg("1", "", 0.5), slg("", "0, 1")), decisions="ccc" + "rrr" * 2 + "rr" * 2, without=as_it_is
    ),
    "SLG of the negative only": Item(flux_dev, slg_simple(0.0, 1.0), decisions="cc" + "rr" * 4, without=as_it_is),
    "SLG of the negative only, that ends": Item(flux_dev, slg_simple(0.0, 0.5), decisions="cc" + "rr" * 2 + "cr", without=as_it_is),
    "SLG of SD3": Item(sd3, slg_sd3, decisions="cc" + "rr" * 2 + "rr", without=as_it_is),
    "NAG": Item(flux_dev, nag, without=as_it_is),
    "NAG without CFG": Item(flux_dev, nag, cfg=1.0, without=as_it_is),
    "CFG-Zero*": Item(flux_dev, zero_star, without=as_it_is),
    "CFG-Zero* and NAG and SLG": Item(flux_dev, both(zero_star, both(nag, slg("1", "0"))), decisions="cc" + "rr" * 4, without=zero_star),
    "PAG": Item(attentive, pag, size=LARGE, decisions="cc" + "rr" * 4, without=as_it_is),
    "a second look that ends, and PAG": Item(
        attentive, both(second_look(lambda options: options, 0.5), pag), size=LARGE, decisions="ccc" + "rrr" * 2 + "rr" * 2,
        without=as_it_is,
    ),
    "guidance by two other kinds of attention": Item(
        flux_dev, both(second_look(other_attention(quieter), 0.5), second_look(other_attention(louder))),
        decisions="ccc" + "rrr" * 2 + "rr" * 2, without=second_look(other_attention(louder)),
    ),
    "guidance that ends": Item(flux_dev, guidance_off_after(0.5), decisions="crrcr", without=as_it_is),
    "DualCFGGuider": Item(flux_dev, guider=dual("regular")),
    "DualCFGGuider, nested": Item(flux_dev, guider=dual("nested")),
    "DualCFGGuider with SLG": Item(flux_dev, slg("1", "0"), guider=dual("regular"), decisions="cc" + "rr" * 4, without=as_it_is),
    "PerpNegGuider": Item(flux_dev, guider=perp_neg),
    "BasicGuider": Item(flux_dev, guider=basic),
    "DualModelGuider": Item(flux_dev, guider=two_models, decisions="cc" + "rr" * 4),
}  # fmt: skip


@pytest.mark.parametrize("name", ITEMS)
def test_computing_everything_gives_the_very_same_picture(name: str):
    assert_computes_alike(ITEMS[name])


@pytest.mark.parametrize("name", ITEMS)
def test_a_reused_evaluation_gives_what_the_computed_one_gave(name: str):
    assert_reuses_rightly(ITEMS[name])
