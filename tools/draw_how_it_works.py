"""Draws the figure of docs/how_it_works.md: a plan of eight steps, and the drift of its gaps with and without correction.

python -m tools.draw_how_it_works
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from magcache import MagnitudeCurve, Plan, euler_influence, plan_budget
from magcache.curves.propagation import CONTRACTING
from magcache.planning.plan import Recipe

FILE = Path(__file__).parents[1] / "docs" / "how_it_works.svg"
SIGMAS = (1.0, 0.9, 0.8, 0.7, 0.55, 0.4, 0.25, 0.1)
RESIDUALS = np.array([(2, 4 * sigma * (1 - sigma), sigma**3) for sigma in SIGMAS])
"""One row a step."""
STRIDES = np.diff((*SIGMAS, 0.0))
_COMPUTED, _REUSED, _REUSED_BAND, _LINE = "#2563a8", "#f08a24", "#fdf1e3", "#b8c0cb"
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "magcache",
    "font.family": "sans-serif",
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def example() -> MagnitudeCurve:
    """The curve of the worked example."""
    sizes = np.linalg.norm(RESIDUALS, axis=1)
    return MagnitudeCurve(
        name="example",
        family="example",
        sigmas=SIGMAS,
        ratios={"cond": (1.0, *(sizes[1:] / sizes[:-1]).tolist())},
        products={("cond", "cond"): tuple(map(tuple, (RESIDUALS @ RESIDUALS.T).tolist()))},
        propagation=CONTRACTING,
    )


def drifts(plan: Plan, corrected: bool) -> list[tuple[range, list[float]]]:
    """For each gap: the steps from the computed one before it to the computed one after it, and |E| after each of them."""
    found: list[tuple[range, list[float]]] = []
    for last, after in zip(plan.computed, plan.computed[1:], strict=False):
        if after == last + 1:
            continue
        drift, sizes = np.zeros(RESIDUALS.shape[1]), [0.0]
        for step in range(last + 1, after):
            drift = drift + STRIDES[step] * (_composed(plan.recipe(step)) - RESIDUALS[step])
            sizes.append(float(np.linalg.norm(drift)))
        correction = plan.correction(after)
        if corrected and correction:
            drift = drift - correction.gain * STRIDES[after] * (_composed(correction.expected) - RESIDUALS[after])
        found.append((range(last, after + 1), [*sizes, float(np.linalg.norm(drift))]))
    return found


def draw(path: Path = FILE) -> None:
    """Write the figure as SVG."""
    plan = plan_budget(example(), SIGMAS, nfe=5, influence=euler_influence(SIGMAS))
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(8, 6), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 4))
        _draw_magnitudes(above, plan)
        _draw_drifts(below, plan)
        for axes in (above, below):
            _shade(axes, plan)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


def _composed(recipe: Recipe) -> npt.NDArray[np.float64]:
    return np.sum([weight * RESIDUALS[source] for source, weight in recipe], axis=0)


def _draw_magnitudes(axes: Axes, plan: Plan) -> None:
    sizes = np.linalg.norm(RESIDUALS, axis=1)
    axes.plot(SIGMAS, sizes, color=_LINE, linewidth=2, zorder=1)
    for label, color, steps in (
        ("computed", _COMPUTED, plan.computed),
        ("reused", _REUSED, tuple(step for step, reuse in enumerate(plan.reused) if reuse)),
    ):
        axes.scatter([SIGMAS[step] for step in steps], sizes[list(steps)], s=70, facecolor=color, zorder=2, label=label)
    for step, (sigma, size) in enumerate(zip(SIGMAS, sizes, strict=True)):
        axes.annotate(str(step), (sigma, size), (0, 9), textcoords="offset points", ha="center")
    axes.set(ylim=(0, 2.75), ylabel="residual magnitude ‖r‖")
    axes.legend(loc="lower left", frameon=False, ncols=2)


def _draw_drifts(axes: Axes, plan: Plan) -> None:
    ends = (*SIGMAS[1:], 0.0)
    for corrected, color, label in ((False, _REUSED, "without correction"), (True, _COMPUTED, "with correction")):
        for number, (steps, sizes) in enumerate(drifts(plan, corrected)):
            places = [ends[step] for step in steps]
            shown = slice(-2, None) if corrected else slice(None)  # They differ in the last step only.
            named = {"label": label} if number == 0 else {}
            axes.plot(places[shown], sizes[shown], color=color, marker="o", markersize=5, linewidth=2, **named)
            axes.annotate(f"{sizes[-1]:.4f}", (places[-1], sizes[-1]), (7, -4), textcoords="offset points")
    axes.set(xlim=(1.03, -0.1), ylim=(-0.001, 0.036), xlabel="sigma (the run goes to the right)", ylabel="drift of the gap |E|")
    axes.legend(loc="upper left", frameon=False)


def _shade(axes: Axes, plan: Plan) -> None:
    """Mark the part of the schedule over which residuals are reused."""
    for sigma, stride, reuse in zip(SIGMAS, STRIDES, plan.reused, strict=True):
        if reuse:
            axes.axvspan(sigma, sigma + stride, color=_REUSED_BAND, linewidth=0, zorder=0)


if __name__ == "__main__":
    draw()
