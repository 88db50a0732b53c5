"""Tells one model from another by its class, its dimensions and some of its weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, cast

import torch

_VECTORS, _NUMBERS = 4, 16
"""How many weight vectors count, and how many numbers of each."""


def fingerprint(class_name: str, config: Mapping[str, Any], weights: Mapping[str, torch.Tensor]) -> str:
    """16 hexadecimal digits. `weights` are the model's own, without those of LoRAs, by their names in its state dict.

    Only vectors (biases, norms) are read: they are short, and the same in every quantised version of a model.
    """
    digest = hashlib.sha256(class_name.encode())
    digest.update(json.dumps(config, sort_keys=True, default=str).encode())
    vectors = sorted(((name, value) for name, value in weights.items() if value.ndim == 1), key=lambda item: item[0])
    for name, value in vectors[:_VECTORS]:
        # Rounded, so that small numerical differences between ways to load a checkpoint do not matter.
        numbers = cast("list[float]", value.detach().flatten()[:_NUMBERS].float().tolist())  # pyright: ignore[reportUnknownMemberType]
        digest.update(name.encode() + " ".join(f"{number:.1e}" for number in numbers).encode())
    return digest.hexdigest()[:16]
