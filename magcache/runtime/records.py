"""What a run has recorded, and how a reused residual is drawn from it. Thread-safe where forwards may run at once."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import torch

from .residuals import Residual, StaleResidualError, Stored, assemble, combine


@dataclass(slots=True)
class Record:
    """The residuals of the last evaluation that was computed in a step with one composition of conditionings."""

    sigma: float
    step: int
    residuals: dict[Hashable, Stored] = field(default_factory=dict[Hashable, Stored])
    complete: bool = False


Sources = tuple[tuple[Record, tuple[float, ...]], ...]
"""Records and the weights of each one's residual: one a stream, or one for all."""
Shares = tuple[tuple[int, tuple[float, ...]], ...]
"""The same by step (`Plan.shares`)."""


class Members:
    """Checks that no member of a batch comes twice in one evaluation: then residuals could not be told apart. Thread-safe."""

    def __init__(self) -> None:
        self._seen: set[Hashable] = set()
        self._lock = threading.Lock()

    def claim(self, keys: Sequence[Hashable]) -> bool:
        """Whether all of `keys` are seen for the first time."""
        with self._lock:
            fresh = len(set(keys)) == len(keys) and self._seen.isdisjoint(keys)
            self._seen.update(keys)
        return fresh


def sources_of(shares: Shares, usable: dict[int, Record]) -> Sources:
    """The records that are meant; none if one is missing."""
    return tuple((usable[step], weights) for step, weights in shares) if all(step in usable for step, _ in shares) else ()


def drawn(sources: Sources, keys: Sequence[Hashable], device: torch.device) -> Residual:
    """The residual of a batch with these members. Raises `StaleResidualError` if a part of it was never recorded."""
    if not sources or len(set(keys)) < len(keys) or any(key not in record.residuals for record, _ in sources for key in keys):
        raise StaleResidualError("a forward of this evaluation was not recorded")
    return combine([(assemble([record.residuals[key] for key in keys], device), weights) for record, weights in sources])
