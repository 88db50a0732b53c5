"""The cheapest choice of computed steps for each number of evaluations: exact dynamic programming (docs/how_it_works.md, section 7)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..curves.products import Matrix


def best_steps(costs: Matrix, first: int, allowed: npt.NDArray[np.bool_], most: int) -> dict[int, tuple[float, list[int]]]:
    """For every number of evaluations up to `most` that can be reached: the least total cost and the computed steps.

    `costs` are those of gaps, [distance − 1, last, m], for m reused steps after the computed step `last`, the one before which was
    computed `distance` steps earlier. A single distance stands for all: what a gap costs then does not depend on it. Steps 0 to
    `first` − 1 and the last one are computed, and so is every step that `allowed` rules out. The state is (the last two computed
    steps, how many were computed), so the result is exact.
    """
    _, steps, reach = costs.shape
    if steps <= first:
        return {steps: (0.0, list(range(steps)))}
    counts = min(most, steps) + 1
    best = np.full((steps, reach, counts), np.inf)  # [last, distance − 1, count]
    came = np.zeros((steps, reach, counts), dtype=np.int16)
    if first < counts:
        best[first - 1, 0, first] = 0.0
    blocked = np.flatnonzero(~allowed)
    for last in range(first - 1, steps - 1):
        stop = blocked[np.searchsorted(blocked, last + 1)] if blocked.size and blocked[-1] > last else steps - 1
        span = min(reach, steps - 1 - last, stop - last)
        used = slice(first, min(last + 2, counts - 1))  # No more steps than that were computed so far.
        states = best[last, : min(reach, max(last, 1)), used]
        chosen, values = _least(states, costs[:, last, :span])
        gap = np.arange(span, dtype=np.int64)
        best[last + 1 + gap, gap, used.start + 1 : used.stop + 1] = values
        came[last + 1 + gap, gap, used.start + 1 : used.stop + 1] = chosen
    found: dict[int, tuple[float, list[int]]] = {}
    for count in range(first, counts):
        distance = int(best[steps - 1, :, count].argmin())
        cost = float(best[steps - 1, distance, count])
        if np.isfinite(cost):
            found[count] = (cost, _trace(came, first, steps - 1, distance, count))
    return found


def _least(states: Matrix, costs: Matrix) -> tuple[npt.NDArray[np.int64], Matrix]:
    """For each gap and count, the state [distance − 1, count] from which the gap is reached at the least cost, and that cost."""
    if len(costs) == 1:
        chosen = np.broadcast_to(states.argmin(axis=0), (costs.shape[1], states.shape[1]))
        return chosen, states.min(axis=0) + costs[0][:, None]
    # The states come last, where NumPy finds their minimum fastest.
    by_count = np.ascontiguousarray(np.einsum("dc->cd", states))
    by_gap = np.ascontiguousarray(np.einsum("dm->md", costs[: len(states)]))
    totals = by_count[None, :, :] + by_gap[:, None, :]
    chosen = totals.argmin(axis=2)
    return chosen, totals.min(axis=2)


def _trace(came: npt.NDArray[np.int16], first: int, last: int, distance: int, count: int) -> list[int]:
    """The computed steps that led to the state (`last`, `distance`, `count`)."""
    path = [last]
    while last > first - 1:
        last, distance, count = last - distance - 1, int(came[last, distance, count]), count - 1
        path.append(last)
    return sorted({*path, *range(first)})
