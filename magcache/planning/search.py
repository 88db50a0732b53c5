"""The cheapest choice of computed steps for each number of evaluations: exact dynamic programming (docs/how_it_works.md, section 7)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..curves.products import Matrix


def best_steps(costs: Matrix, first: int, allowed: npt.NDArray[np.bool_]) -> dict[int, tuple[float, list[int]]]:
    """For every number of evaluations that can be reached: the least total cost and the computed steps.

    `costs` are those of gaps, [d − 1, last, m] as in `Gaps`. Steps 0 to `first` − 1 and the last one are computed, and so is every
    step that `allowed` rules out. The state is (the last two computed steps, how many were computed), so the result is exact.
    """
    depth, steps, reach = costs.shape
    if steps <= first:
        return {steps: (0.0, list(range(steps)))}
    best = np.full((steps, depth, steps + 1), np.inf)
    came = np.zeros((steps, depth, steps + 1), dtype=np.int64)
    best[first - 1, 0, first] = 0.0
    blocked = np.flatnonzero(~allowed)
    for last in range(first - 1, steps - 1):
        stop = blocked[np.searchsorted(blocked, last + 1)] if blocked.size and blocked[-1] > last else steps - 1
        span = min(reach, steps - 1 - last, stop - last)
        totals = best[last][:, None, :] + costs[:, last, :span, None]
        chosen = totals.argmin(axis=0)
        values = np.take_along_axis(totals, chosen[None], axis=0)[0]
        for m in range(span):
            best[last + m + 1, m, 1:] = values[m, :-1]
            came[last + m + 1, m, 1:] = chosen[m, :-1]
    found: dict[int, tuple[float, list[int]]] = {}
    for count in range(first, steps + 1):
        d = int(best[steps - 1, :, count].argmin())
        cost = float(best[steps - 1, d, count])
        if np.isfinite(cost):
            found[count] = (cost, _trace(came, first, steps - 1, d, count))
    return found


def _trace(came: npt.NDArray[np.int64], first: int, last: int, d: int, count: int) -> list[int]:
    """The computed steps that led to the state (`last`, `last` − `d` − 1, `count`)."""
    path = [last]
    while last > first - 1:
        last, d, count = last - d - 1, int(came[last, d, count]), count - 1
        path.append(last)
    return sorted({*path, *range(first)})
