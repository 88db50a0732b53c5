"""What a model returns, in whatever form: a tensor, a tuple or list of tensors, or a host's own class of outputs."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils import _pytree as pytree


def tensors_of(output: Any) -> list[torch.Tensor]:
    """The tensors in an output, in their order."""
    return [leaf for leaf in pytree.tree_leaves(output) if isinstance(leaf, torch.Tensor)]


def corrected(result: Any, expected: Any, gain: float) -> Any:
    """result + gain · (result − expected), in the form of `result`. What is no tensor of numbers stays as it is in `result`."""
    guesses = iter(pytree.tree_leaves(expected))

    def correct(leaf: Any) -> Any:
        guess = next(guesses)
        is_number = isinstance(leaf, torch.Tensor) and leaf.is_floating_point()
        return leaf + gain * (leaf - guess) if is_number else leaf

    return pytree.tree_map(correct, result)
