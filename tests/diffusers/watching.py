"""What is seen of a pipeline from outside, by hooks on its real blocks: which forwards ran them, and what the stack added to the tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers import DiffusionPipeline
from torch import nn

_FIRST_LISTS = ("transformer_blocks", "blocks", "layers", "visual_transformer_blocks")
_LAST_LISTS = ("single_transformer_blocks", "vace_blocks", *_FIRST_LISTS)
RULE: dict[str, Any] = {"curve": [1.0] * 12, "threshold": 0.1, "max_skip": 2, "retention": 0.2}
"""Settings that make a plan without a calibration: a fifth of the steps at first, then every third."""


def plan_by_rule(steps: int = 12) -> str:
    """The plan that `RULE` makes, a letter a step: c computed, r reused."""
    first = int(0.2 * steps)
    return "".join("c" if step < first or (step - first) % 3 == 2 else "r" for step in range(steps))


def models_of(pipe: DiffusionPipeline) -> dict[str, nn.Module]:
    found = {name: getattr(pipe, name, None) for name in ("transformer", "transformer_2")}
    return {name: model for name, model in found.items() if model is not None}


def ends_of(model: nn.Module) -> tuple[nn.Module, nn.Module]:
    """The first and the last block of a transformer."""
    model = getattr(model, "_orig_mod", model)
    first, last = (next(getattr(model, name) for name in names if hasattr(model, name)) for names in (_FIRST_LISTS, _LAST_LISTS))
    return first[0], last[-1]


@dataclass
class Seen:
    """How often what was called."""

    forwards: list[str] = field(default_factory=list)
    """The models, in the order of their forwards as the pipeline asks for them."""
    computed: list[bool] = field(default_factory=list)
    """Whether each forward ran its blocks."""
    first: Counter[str] = field(default_factory=Counter)
    """Calls of the first block by model."""
    last: Counter[str] = field(default_factory=Counter)

    @property
    def blocks(self) -> int:
        """Forwards that ran the block stack, which must be as many at both of its ends."""
        assert self.first == self.last
        return self.first.total()

    def steps(self, branches: int = 1) -> str:
        """A letter for each step, c computed and r reused, which all of its forwards must agree in."""
        groups = [self.computed[place : place + branches] for place in range(0, len(self.computed), branches)]
        assert all(len(set(group)) == 1 for group in groups), self.computed
        return "".join("c" if group[0] else "r" for group in groups)


@contextmanager
def watched(pipe: DiffusionPipeline, inside: bool = False) -> Iterator[Seen]:
    """Count the forwards of a pipeline's models, and those of their blocks.

    `inside` counts the first layers within the blocks: hooks of diffusers skip a block inside of its call.
    """
    seen, handles = Seen(), []

    def block(counter: Counter[str], name: str, is_first: bool) -> Any:
        def hook(*_: Any) -> None:
            counter[name] += 1
            if is_first and seen.computed:
                seen.computed[-1] = True

        return hook

    def forward(name: str) -> Any:
        def hook(*_: Any) -> None:
            seen.forwards.append(name)
            seen.computed.append(False)

        return hook

    for name, model in models_of(pipe).items():
        first, last = ends_of(model)
        if inside:
            first, last = (next(layer for layer in block.modules() if isinstance(layer, nn.Linear)) for block in (first, last))
        handles.append(first.register_forward_hook(block(seen.first, name, True)))
        handles.append(last.register_forward_hook(block(seen.last, name, False)))
        handles.append(_asked(model, forward(name)))
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


class _Asked:
    """Calls `told` before each call of a model, in front of whatever stands in torch's slot."""

    def __init__(self, model: nn.Module, told: Any) -> None:
        self.model, self.inner = model, vars(model).get("_compiled_call_impl")
        vars(model)["_compiled_call_impl"] = self
        self.told = told

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.told()
        return (self.inner or self.model._call_impl)(*args, **kwargs)

    def remove(self) -> None:
        if self.inner is None:
            del vars(self.model)["_compiled_call_impl"]
        else:
            vars(self.model)["_compiled_call_impl"] = self.inner


_asked = _Asked


@contextmanager
def residuals(model: nn.Module) -> Iterator[list[torch.Tensor]]:
    """What the stack of a Wan adds to its tokens at each forward, computed or put back: tail input − embedded latent."""
    found: list[torch.Tensor] = []
    tokens: list[torch.Tensor] = []
    handles = [
        model.patch_embedding.register_forward_hook(lambda _, __, output: tokens.append(output.flatten(2).transpose(1, 2).clone())),
        model.norm_out.register_forward_pre_hook(lambda _, args: found.append(args[0].float() - tokens[-1].float())),
    ]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()
