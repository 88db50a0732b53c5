"""What the arguments of a forward tell: their names, and which forwards are for the same prompt."""

from __future__ import annotations

import inspect
from collections.abc import Hashable, Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

_PROMPTS = ("encoder_hidden_states", "pooled_projections", "prompt_embeds", "text_embeds", "cap_feats", "class_labels")
"""How the names of arguments begin that hold a prompt. It is the same in all steps, unless somebody exchanges it."""
_LATENTS = ("hidden_states", "x", "sample")
"""Names under which transformers take what they are to denoise."""


class Prompt:
    """A tensor of a prompt as part of a key: equal to what holds the same numbers.

    Nearly always that is the same memory, unchanged; only else the numbers are compared, for which the device is waited for.
    """

    __slots__ = ("tensor", "version")

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor
        self.version = _version(tensor)

    def __hash__(self) -> int:
        return hash((self.tensor.shape, self.tensor.dtype))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Prompt) or self.tensor.shape != other.tensor.shape or self.tensor.dtype != other.tensor.dtype:
            return False
        if self.version == other.version and self.tensor.data_ptr() == other.tensor.data_ptr():
            return self.tensor.stride() == other.tensor.stride()
        return self.tensor.device == other.tensor.device and torch.equal(self.tensor, other.tensor)


def named(model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a forward of `model` by name."""
    return {**dict(zip(_positional(type(model)), args, strict=False)), **kwargs}


def key_of(arguments: Mapping[str, Any], part: int = 0, parts: int = 1) -> Hashable:
    """What a part of two forwards must have in common for the residual of one to serve the other.

    A batch of several branches has as many `parts`, in the order of its rows.
    """
    found: list[Hashable] = []
    for name in sorted(arguments):
        tensors = [leaf for leaf in pytree.tree_leaves(_part(arguments[name], part, parts)) if isinstance(leaf, torch.Tensor)]
        if name.startswith(_PROMPTS):
            found.append((name, *map(Prompt, tensors)))
        elif tensors:
            found.append((name, *((tuple(tensor.shape), tensor.dtype, tensor.device) for tensor in tensors)))
    return tuple(found)


def adapters_of(model: nn.Module) -> Hashable:
    """The LoRAs that act on a model, each with its strength on the first layer that has any."""
    if not getattr(model, "_hf_peft_config_loaded", False):
        return ()
    layer: Any = next((each for each in model.modules() if hasattr(each, "active_adapters") and hasattr(each, "scaling")), None)
    return () if layer is None else (layer.disable_adapters, *((name, layer.scaling.get(name)) for name in layer.active_adapters))


def rows_of(arguments: Mapping[str, Any]) -> int:
    """Number of rows in the batch of a forward."""
    latent = latent_of(arguments)
    return len(latent) if isinstance(latent, list | tuple | torch.Tensor) else 1


def latent_of(arguments: Mapping[str, Any]) -> Any:
    """What the model is to denoise: a tensor, or a list with one for each row."""
    return next((arguments[name] for name in _LATENTS if arguments.get(name) is not None), None)


def _part(value: Any, part: int, parts: int) -> Any:
    """The rows of one part of a batch; all of what cannot be divided."""
    if parts == 1 or not isinstance(value, list | tuple | torch.Tensor) or (isinstance(value, torch.Tensor) and not value.ndim):
        return value
    rows, rest = divmod(len(value), parts)
    return value if rest else value[part * rows : (part + 1) * rows]


@lru_cache(maxsize=64)
def _positional(kind: type[nn.Module]) -> tuple[str, ...]:
    """Names of the arguments that a forward takes by place."""
    parameters = list(inspect.signature(kind.forward).parameters.values())[1:]
    return tuple(each.name for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD))


def _version(tensor: torch.Tensor) -> int:
    """How often the tensor was written to. Tensors of inference mode do not count it."""
    return 0 if tensor.is_inference() else tensor._version
