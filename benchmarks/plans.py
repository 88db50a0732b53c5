"""Our plans for real models beside public ones: how far apart they are, and whether our cost ranks the public ones rightly.

    python -m benchmarks.plans

`benchmarks/data/reference_plans.json` holds plans that others published for real models, with what is known of their scores. Only
published magnitudes and an expected turning of the residuals go into ours. "Before" is the cost that MagCache used until November 2026:
squared drift, an early weight of 100, gaps of at most 6 steps.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer
from rich.console import Console
from scipy.stats import spearmanr

from magcache import MagnitudeCurve, load_curve, plan_budget, predicted_error
from magcache.curves.propagation import Propagation
from magcache.planning.prediction import ErrorModel
from magcache.planning.search import best_steps

FILE = Path(__file__).parent / "data" / "reference_plans.json"
CURVES = {
    "FLUX.1-dev": "flux",
    "Qwen-Image": "qwen_image",
    "Wan2.1-T2V-1.3B": "wan2.1_t2v_1.3B",
    "HunyuanVideo": "hunyuan_video",
    "Wan2.1-T2V-14B": "wan2.1_t2v_14B",
}
"""The shipped curve of each model."""
STEPS = 50
SETS = ("searched on final PSNR", "searched on final LPIPS", "BudCache", "MeanCache", "LeMiCa", "most frequent TeaCache plan", "uniform")
"""Kinds of public plans whose distance is shown; the first three were searched on the final picture or latent."""
BEFORE, _LONGEST_BEFORE = Propagation(growth=2.0, shape=1.0, stride=1.0, coherence=1.0), 6
EXHAUSTIVE, ABLATION = "GP-K41-337", "MagCache-wan-ablation"
_PLANS_OF_FIVE = 1_370_754
console = Console()


@dataclass(frozen=True, slots=True)
class PublicPlan:
    """A plan that somebody published."""

    model: str
    steps: int
    computed: tuple[int, ...]
    how: str
    group: str
    labels: tuple[str, ...]
    psnr: float | None

    @property
    def nfe(self) -> int:
        return len(self.computed)


def public_plans() -> list[PublicPlan]:
    """All of them."""
    rows: list[dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8"))["plans"]
    return [
        PublicPlan(
            row["model"], row["steps"], tuple(row["computed"]), row["how"], row["group"], tuple(row.get("labels", ())), row.get("psnr")
        )
        for row in rows
    ]


@dataclass(frozen=True, slots=True)
class Planner:
    """A way to plan for real models: today's, or that of before."""

    propagation: Propagation | None
    """None: that of the curve."""
    longest: int = STEPS
    """Most steps in a gap."""

    def curve(self, model: str) -> MagnitudeCurve:
        curve = load_curve(CURVES[model], STEPS)
        return curve if self.propagation is None else replace(curve, propagation=self.propagation)

    def plan(self, model: str, nfe: int) -> tuple[int, ...] | None:
        """The computed steps of the plan with `nfe` evaluations; None if there is none."""
        curve = self.curve(model)
        if self.propagation is None:
            return plan_budget(curve, curve.sigmas_for(STEPS), nfe=nfe).computed
        costs = ErrorModel.of(curve, curve.sigmas_for(STEPS), reuse="hold").costs(self.longest)
        found = best_steps(costs, 3, np.ones(STEPS, bool), nfe).get(nfe)
        return found and tuple(found[1])

    def error(self, plan: PublicPlan) -> float:
        """The predicted error of a public plan."""
        curve = self.curve(plan.model)
        return predicted_error(curve, curve.sigmas_for(STEPS), plan.computed)


NOW, EARLIER = Planner(None), Planner(BEFORE, _LONGEST_BEFORE)


def distances(plans: list[PublicPlan], planner: Planner) -> dict[tuple[str, int, str], float | None]:
    """Mean of |our i-th computed step − theirs| over the public plans of a model, a number of evaluations and a kind."""
    found: dict[tuple[str, int, str], float | None] = {}
    keys = {(plan.model, plan.nfe, kind) for plan in plans for kind in SETS if _is_of(plan, kind)}
    for model, nfe, kind in sorted(keys):
        own = planner.plan(model, nfe)
        theirs = [plan.computed for plan in plans if plan.model == model and plan.nfe == nfe and _is_of(plan, kind)]
        found[model, nfe, kind] = None if own is None else float(np.mean([np.abs(np.subtract(own, other)).mean() for other in theirs]))
    return found


def _is_of(plan: PublicPlan, kind: str) -> bool:
    return plan.model in CURVES and plan.steps == STEPS and plan.how.startswith(kind)


def ranking(plans: list[PublicPlan], planner: Planner) -> dict[str, float]:
    """How rightly the predicted error ranks public plans whose scores are known."""
    exhaustive = [plan for plan in plans if plan.group == EXHAUSTIVE]
    best, random = ([plan for plan in exhaustive if label in plan.labels] for label in ("mean_top64", "random"))
    errors, chance = [planner.error(plan) for plan in best], [planner.error(plan) for plan in random]
    ablation = [plan for plan in plans if plan.group == ABLATION]
    order = spearmanr([-planner.error(plan) for plan in ablation], [plan.psnr for plan in ablation]).statistic
    return {
        "auc": float(np.mean(np.less.outer(errors, chance))),
        "place": place_among_all(planner, best),
        "wan_spearman": float(order),
        "winners": _winners(plans, planner),
    }


def place_among_all(planner: Planner, best: list[PublicPlan]) -> float:
    """The geometric mean of the places at which these FLUX plans come among all with 9 of 50 steps, three first and the last one."""
    curve = planner.curve("FLUX.1-dev")
    model = ErrorModel.of(curve, curve.sigmas_for(STEPS), reuse="hold")
    last = np.arange(STEPS, dtype=np.int64)
    gaps = model.gaps_after(last - 1, last, STEPS - 1)[1].costs

    def total(middle: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        ends = np.concatenate([np.full((len(middle), 1), 2), middle, np.full((len(middle), 1), STEPS - 1)], axis=1)
        return gaps[ends[:, :-1], np.diff(ends, axis=1) - 1].sum(axis=1)

    everything = total(np.array(list(itertools.combinations(range(3, STEPS - 1), 5)), dtype=np.int64))
    assert len(everything) == _PLANS_OF_FIVE
    places = np.searchsorted(np.sort(everything), total(np.array([plan.computed[3:8] for plan in best])), side="left") + 1
    return math.exp(float(np.log(places).mean()))


def _winners(plans: list[PublicPlan], planner: Planner) -> float:
    """Mean part of its pool that the best plan of a pool on images is predicted to beat. Plans of a search were not in the pools."""
    parts: list[float] = []
    for winner in plans:
        if "best of pool" in winner.labels and winner.model in ("FLUX.1-dev", "Qwen-Image"):
            pool = [plan for plan in plans if plan.group == winner.group and plan.nfe == winner.nfe and plan is not winner]
            own = planner.error(winner)
            parts.append(float(np.mean([own < planner.error(plan) for plan in pool if not plan.how.startswith("searched")])))
    return float(np.mean(parts))


def lines(result: dict[str, Any]) -> Iterator[str]:
    """The page of the results."""
    yield "# Plans for real models beside public ones"
    yield ""
    yield "Mean distance in steps, of 50, between our computed steps and those of public plans with as many evaluations. Measured by"
    yield "`python -m benchmarks.plans`; no model ran. Searches differ by about 1 among themselves; 3 was worth 1 dB in one case."
    yield ""
    yield "| model | evaluations | public plans | MagCache | before |"
    yield "| --- | --- | --- | --- | --- |"
    for row in result["distances"]:
        yield f"| {row['model']} | {row['nfe']} | {row['kind']} | {_shown(row['now'])} | {_shown(row['before'])} |"
    yield ""
    yield "| ranking of public plans whose scores are known | MagCache | before |"
    yield "| --- | --- | --- |"
    titles = {
        "auc": "FLUX, 9 of 50: part of pairs (one of the best, one at random) in the right order",
        "place": f"FLUX, 9 of 50: place of 37 of the 64 best among all {_PLANS_OF_FIVE:,} plans, geometric mean",
        "wan_spearman": "Wan2.1 1.3B, eight plans with 19 to 27 dB: rank correlation",
        "winners": "FLUX and Qwen-Image, pools of 13 to 31 plans: part of the pool that the winner is predicted to beat",
    }
    for name, title in titles.items():
        yield f"| {title} | {_shown(result['ranking']['now'][name])} | {_shown(result['ranking']['before'][name])} |"
    yield ""
    yield "| model | evaluations of 50 | the plan |"
    yield "| --- | --- | --- |"
    for row in result["plans"]:
        yield f"| {row['model']} | {row['nfe']} | {' '.join(map(str, row['computed']))} |"


def _shown(value: float | None) -> str:
    return "no plan" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def main(out: Annotated[Path, typer.Option(help="Folder for plans.json and plans.md.")] = Path(__file__).parent / "results") -> None:
    plans = public_plans()
    now, before = distances(plans, NOW), distances(plans, EARLIER)
    result: dict[str, Any] = {
        "distances": [{"model": m, "nfe": n, "kind": k, "now": now[m, n, k], "before": before[m, n, k]} for m, n, k in now],
        "ranking": {"now": ranking(plans, NOW), "before": ranking(plans, EARLIER)},
        "plans": [{"model": model, "nfe": nfe, "computed": NOW.plan(model, nfe)} for model in CURVES for nfe in (25, 21, 17, 13, 9)],
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "plans.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (out / "plans.md").write_text("\n".join(lines(result)) + "\n", encoding="utf-8")
    console.print((out / "plans.md").read_text(encoding="utf-8"), highlight=False, markup=False)


if __name__ == "__main__":
    typer.run(main)
