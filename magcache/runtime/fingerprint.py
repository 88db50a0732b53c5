"""Tells one model from another by its class, its dimensions and some of its weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, cast

import torch

from .family import Family

_VECTORS, _NUMBERS = 4, 16
"""How many weight vectors count, and how many numbers of each."""
_ENOUGH_ANCHORS = 3


def fingerprint(class_name: str, config: Mapping[str, Any], weights: Mapping[str, torch.Tensor], family: Family | None = None) -> str:
    """16 hexadecimal digits. `weights` are the model's own, without those of LoRAs, by their names in its state dict.

    Only vectors (biases, norms) are read: they are short, and the same in every quantised version of a model. The anchors of
    the model's family give the same result in every host.
    """
    anchors = [name for name in family.anchors if name in weights] if family else []
    if family and len(anchors) >= _ENOUGH_ANCHORS:
        digest = hashlib.sha256(family.name.encode())
        for name in anchors:
            digest.update(f"{weights[name].numel()} {_rounded(weights[name])}".encode())
        return digest.hexdigest()[:16]
    digest = hashlib.sha256(class_name.encode())
    digest.update(json.dumps(config, sort_keys=True, default=str).encode())
    vectors = sorted(((name, value) for name, value in weights.items() if value.ndim == 1), key=lambda item: item[0])
    for name, value in vectors[:_VECTORS]:
        digest.update(name.encode() + _rounded(value).encode())
    return digest.hexdigest()[:16]


def _rounded(vector: torch.Tensor) -> str:
    """Its first numbers, rounded as in bfloat16 and then more, so that the type in which a checkpoint is loaded does not matter."""
    numbers = cast("list[float]", vector.detach().flatten()[:_NUMBERS].bfloat16().float().tolist())  # pyright: ignore[reportUnknownMemberType]
    return " ".join(f"{number:.1e}" for number in numbers)
