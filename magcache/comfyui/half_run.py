"""Patches that act before the blocks and within them run only their first half in a forward without blocks.

Such a patch may carry something from one half to the other, as ComfyUI's ControlNet for Z-Image does. Left behind by a skipped
forward, it would be taken for that of the next computed one.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

_BEFORE = frozenset({"post_input", "noise_refiner"})
"""The kinds of patches that the forward calls before its blocks."""


@contextmanager
def without_traces(transformer_options: dict[str, Any]) -> Generator[None, None, None]:
    """Within: a forward without blocks. Afterwards patches of both kinds have the attributes that they had before."""
    patches: dict[str, list[Any]] = transformer_options.get("patches", {})
    before = {id(patch): patch for kind in _BEFORE & patches.keys() for patch in patches[kind]}
    within = {id(patch) for kind in patches.keys() - _BEFORE for patch in patches[kind]}
    kept = [(patch, dict(vars(patch))) for key, patch in before.items() if key in within and hasattr(patch, "__dict__")]
    try:
        yield
    finally:
        for patch, attributes in kept:
            vars(patch).clear()
            vars(patch).update(attributes)
