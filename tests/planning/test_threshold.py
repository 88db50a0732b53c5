"""Plans by the published rule: their invariants for any run, their windows and vetoes."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from magcache import MagnitudeCurve, Plan, Reason, ThresholdSettings, load_curve, plan_by_threshold, published_rule
from magcache.curves.curve import same_sigma
from magcache.planning.plan import compute_all

examples = settings(deadline=None, max_examples=80, database=None)
EAGER: dict[str, Any] = {"threshold": 1e9, "max_skip": 1000, "retention": 0.0}


def flat(steps: int = 10, **changes: Any) -> MagnitudeCurve:
    """A curve whose ratios are all 1, so that nothing but the settings keeps a step from being reused."""
    sigmas = tuple(1 - step / steps for step in range(steps))
    return MagnitudeCurve(name="flat", family="flux", sigmas=sigmas, ratios={"cond": (1.0,) * steps}, **changes)


@st.composite
def curves(draw: st.DrawFn) -> MagnitudeCurve:
    steps = draw(st.integers(2, 30))
    rows = st.lists(st.floats(0.7, 1.4), min_size=steps - 1, max_size=steps - 1).map(lambda row: (1.0, *row))
    return MagnitudeCurve(
        name="drawn",
        family="flux",
        sigmas=tuple(1 - step / steps for step in range(steps)),
        ratios=draw(st.dictionaries(st.sampled_from(["cond", "uncond", "ref"]), rows, min_size=1)),
        masked=tuple(draw(st.sets(st.integers(1, steps - 1), max_size=1))),
        vetoes=tuple(draw(st.lists(st.floats(0, 1), max_size=2))),
        gate=draw(st.none() | st.floats(0, 0.5)),
    )


wishes = st.builds(
    ThresholdSettings,
    threshold=st.floats(0, 2),
    max_skip=st.integers(0, 8),
    retention=st.floats(0, 1) | st.sampled_from([0.0, 0.1, 0.2]),
    start_step=st.integers(0, 12),
    end_step=st.integers(-12, 40),
)
any_runs = st.lists(st.floats() | st.floats(0, 1), max_size=12).map(tuple)


@st.composite
def runs(draw: st.DrawFn) -> tuple[float, ...]:
    """Noise levels that fall, no two of them the same, without the closing 0."""
    run: list[float] = []
    for sigma in sorted(draw(st.lists(st.floats(0, 1.5, exclude_min=True), max_size=40)), reverse=True):
        if not run or not same_sigma(sigma, run[-1]):
            run.append(sigma)
    return tuple(run)


def longest_reuse(plan: Plan) -> int:
    longest = gap = 0
    for reuse in plan.reused:
        gap = gap + 1 if reuse else 0
        longest = max(longest, gap)
    return longest


def skippable(curve: MagnitudeCurve, run: tuple[float, ...], wish: ThresholdSettings) -> set[int]:
    """Steps that the windows, the vetoes and the gate leave to the rule."""
    end = wish.end_step if wish.end_step >= 0 else len(run) + wish.end_step
    steps = set(range(max(1, int(len(run) * wish.retention), wish.start_step), min(len(run), end + 1)))
    for veto in curve.vetoes:
        nearest = min(abs(sigma - veto) for sigma in run) if run else 0
        steps -= {next(step for step, sigma in enumerate(run) if abs(sigma - veto) == nearest)} if run else set()
    if curve.gate is not None:
        for branch in curve.ratios:
            steps -= {step for step, ratio in enumerate(curve.ratios_at(run, branch)) if abs(ratio - 1) > curve.gate}
    return steps


# The rule, for any run


@examples
@given(curves(), runs(), wishes)
def test_follows_the_paper(curve: MagnitudeCurve, run: tuple[float, ...], wish: ThresholdSettings):
    """Against a second transcription of the rule (arXiv:2506.09045, Alg. 1), from the last computed step afresh for each step."""
    plan = plan_by_threshold(curve, run, wish)
    ratios = {branch: curve.ratios_at(run, branch) for branch in curve.ratios}
    free = skippable(curve, run, wish) if wish.threshold > 0 else set()
    source = -1
    for step in range(len(run)):
        changes = [[abs(1 - math.prod(row[source + 1 : upto + 1])) for upto in range(source + 1, step + 1)] for row in ratios.values()]
        error = max(map(sum, changes))
        if abs(error - wish.threshold) > 1e-9:
            assert plan.reused[step] == (step in free and step - source <= wish.max_skip and error <= wish.threshold)
        assert plan.errors[step] == (pytest.approx(max(row[-1] for row in changes)) if plan.reused[step] else 0)
        source = source if plan.reused[step] else step


@examples
@given(curves(), runs(), wishes)
def test_invariants(curve: MagnitudeCurve, run: tuple[float, ...], wish: ThresholdSettings):
    plan = plan_by_threshold(curve, run, wish)
    assert plan == plan_by_threshold(curve, list(run), wish)
    assert plan.steps == len(plan.reused) == len(plan.errors) == len(plan.decisions) == len(run)
    assert plan.reused[:1] in ((), (False,))
    assert longest_reuse(plan) <= wish.max_skip
    assert max(plan.errors, default=0) <= wish.threshold
    assert {step for step, reuse in enumerate(plan.reused) if reuse} <= skippable(curve, run, wish)


@examples
@given(curves(), runs(), wishes)
def test_counts_and_sources_agree(curve: MagnitudeCurve, run: tuple[float, ...], wish: ThresholdSettings):
    plan = plan_by_threshold(curve, run, wish)
    assert plan.nfe == sum(not reuse for reuse in plan.reused) == plan.decisions.count("compute")
    assert plan.speedup == (len(run) / plan.nfe if run else 1)
    sources = [plan.source(step) for step in range(len(run))]
    for step, source in enumerate(sources):
        assert source <= step
        assert not plan.reused[source]
        assert all(plan.reused[source + 1 : step + 1])
        uses = [later for later in range(step + 1, len(run)) if sources[later] == step]
        if not plan.reused[step]:
            assert plan.last_uses()[step] == max(uses, default=-1)


@examples
@given(curves(), any_runs, wishes)
def test_any_sigmas_get_a_plan(curve: MagnitudeCurve, run: tuple[float, ...], wish: ThresholdSettings):
    plan = plan_by_threshold(curve, run, wish)
    assert len(plan.reused) == len(plan.sigmas) <= len(run)
    assert not any(plan.reused[:1])
    if not all(map(math.isfinite, run)) or not any(after < before for before, after in pairwise(run)):
        assert not any(plan.reused)
    for step, reuse in enumerate(plan.reused):
        assert not reuse or 0 < plan.sigmas[step] < plan.sigmas[step - 1], "the first step of a stretch and a repeated sigma are not reused"
    for sigma in (*run, 0.5, math.nan, math.inf):
        for present in range(plan.steps):
            assert plan.step_at(sigma, present) in (None, *range(plan.steps))


@pytest.mark.parametrize(
    ("off", "reason"),
    [
        ({"threshold": 0.0}, Reason.OFF),
        ({"max_skip": 0}, Reason.OFF),
        ({"retention": 1.0}, Reason.NO_STEP_ALLOWED),
        ({"end_step": 0}, Reason.NO_STEP_ALLOWED),
        ({"start_step": 50}, Reason.EMPTY_WINDOW),
    ],
)
def test_off_means_off(off: dict[str, Any], reason: Reason):
    plan = plan_by_threshold(flat(), flat().sigmas, ThresholdSettings(**(EAGER | off)))
    assert plan == compute_all(flat().sigmas, reason)
    assert plan.speedup == 1


def test_a_threshold_of_zero_does_not_reuse_even_what_is_equal():
    assert plan_by_threshold(flat(), flat().sigmas, ThresholdSettings(threshold=0, max_skip=5, retention=0)).nfe == 10
    assert plan_by_threshold(flat(), flat().sigmas, ThresholdSettings(threshold=1e-300, max_skip=5, retention=0)).nfe == 2


@pytest.mark.parametrize("curve", [flat(), load_curve("flux")], ids=["plain", "with a veto"])
@pytest.mark.parametrize(
    ("run", "reused"),
    [
        ((), ()),
        ((0.0,), (False,)),
        ((1.0,), (False,)),
        ((0.0, 0.0), (False, False)),
        ((0.3, 0.3), (False, False)),
        ((0.2, 0.4, 0.6), (False,) * 3),
        ((0.6, 0.4, 0.5), (False, True, False)),
        ((math.nan,), (False,)),
        ((math.inf, 0.5), (False, False)),
        ((0.5, -math.inf), (False, False)),
    ],
)
def test_odd_runs(curve: MagnitudeCurve, run: tuple[float, ...], reused: tuple[bool, ...]):
    assert plan_by_threshold(curve, run, ThresholdSettings(**EAGER)).reused == reused


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_short_runs(steps: int):
    curve = load_curve("flux")
    run = tuple(1 - step / steps for step in range(steps))
    plan = plan_by_threshold(curve, run, ThresholdSettings(threshold=0.24, max_skip=5, retention=0.1))
    assert plan.steps == steps
    assert not plan.reused[0]


def test_a_part_of_a_schedule():
    """Denoise < 1 or a split sampler: the plan goes by sigma, not by step number."""
    curve = load_curve("hunyuan_video")
    run = curve.sigmas[30:]
    plan = plan_by_threshold(curve, run, ThresholdSettings(threshold=0.24, max_skip=6, retention=0.0))
    alone = published_rule((1.0, *curve.ratios["cond"][31:]), threshold=0.24, max_skip=6, start=1)
    assert alone == tuple(step for step, reuse in enumerate(plan.reused) if reuse)
    assert plan.nfe < len(run)


# Windows, vetoes, branches


@pytest.mark.parametrize(
    ("wish", "reused"),
    [
        ({}, range(1, 10)),
        ({"start_step": 3}, range(3, 10)),
        ({"start_step": 1}, range(1, 10)),
        ({"end_step": 9}, range(1, 10)),
        ({"end_step": 99}, range(1, 10)),
        ({"end_step": 5}, range(1, 6)),
        ({"end_step": -1}, range(1, 10)),
        ({"end_step": -2}, range(1, 9)),
        ({"end_step": -9}, range(1, 2)),
        ({"end_step": -10}, ()),
        ({"end_step": -50}, ()),
        ({"start_step": 4, "end_step": 4}, (4,)),
        ({"start_step": 5, "end_step": 4}, ()),
        ({"retention": 0.3}, range(3, 10)),
        ({"retention": 0.39}, range(3, 10)),
        ({"retention": 0.3, "start_step": 2}, range(3, 10)),
        ({"retention": 0.3, "start_step": 6}, range(6, 10)),
    ],
)
def test_window(wish: dict[str, Any], reused: Any):
    plan = plan_by_threshold(flat(), flat().sigmas, ThresholdSettings(**(EAGER | wish)))
    assert [step for step, reuse in enumerate(plan.reused) if reuse] == list(reused)


@pytest.mark.parametrize("max_skip", [1, 2, 3, 4])
def test_max_skip(max_skip: int):
    plan = plan_by_threshold(flat(12), flat(12).sigmas, ThresholdSettings(**(EAGER | {"max_skip": max_skip})))
    assert list(plan.reused) == [step % (max_skip + 1) > 0 for step in range(12)]


def test_flux_never_reuses_step_11_of_28():
    curve = load_curve("flux")
    assert curve.steps == 28
    assert plan_by_threshold(curve, curve.sigmas, ThresholdSettings(**EAGER)).computed == (0, 11)
    for threshold in (0.05, 0.24, 1.0):
        for max_skip in range(1, 8):
            wish = ThresholdSettings(threshold=threshold, max_skip=max_skip, retention=0.0)
            assert not plan_by_threshold(curve, curve.sigmas, wish).reused[11]


def test_a_veto_keeps_its_sigma_on_other_step_counts():
    curve = load_curve("flux")
    run = tuple(1 - step / 50 for step in range(50))
    computed = plan_by_threshold(curve, run, ThresholdSettings(**EAGER)).computed
    assert [run[step] for step in computed] == [1.0, pytest.approx(curve.vetoes[0], abs=0.01)]


def test_gate():
    ratios = (1.0, 1.0, 1.05, 1.0, 0.9, 1.0, 1.0)
    curve = MagnitudeCurve(name="x", family="flux", sigmas=(0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1), ratios={"cond": ratios}, gate=0.06)
    assert plan_by_threshold(curve, curve.sigmas, ThresholdSettings(**EAGER)).reused == (False, True, True, True, False, True, True)


def test_branches_decide_as_one():
    calm, wild = (1.0,) * 6, (1.0, 1.3, 1.3, 1.0, 1.3, 1.0)
    sigmas = (0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
    wish = ThresholdSettings(threshold=0.4, max_skip=9, retention=0.0)

    def reused(**ratios: tuple[float, ...]) -> tuple[bool, ...]:
        return plan_by_threshold(MagnitudeCurve(name="x", family="flux", sigmas=sigmas, ratios=ratios), sigmas, wish).reused

    alone = reused(cond=wild)
    assert alone == (False, True, False, True, True, False)
    assert reused(cond=calm, uncond=wild) == reused(cond=wild, uncond=calm) == reused(cond=wild, uncond=wild) == alone
    assert reused(cond=calm, uncond=calm) == (False, True, True, True, True, True)


def test_errors_are_those_of_the_worst_branch():
    ratios = {"cond": (1.0, 1.1, 1.1), "uncond": (1.0, 0.8, 1.0)}
    curve = MagnitudeCurve(name="x", family="flux", sigmas=(0.9, 0.6, 0.3), ratios=ratios)
    plan = plan_by_threshold(curve, curve.sigmas, ThresholdSettings(**EAGER))
    assert plan.errors == pytest.approx((0, 0.2, 0.21))


def test_published_rule_restarts_its_error_at_a_computed_step():
    assert published_rule((1.0, 1.1, 1.1, 1.1, 1.1), threshold=0.35, max_skip=9, start=1) == (1, 2, 4)
    assert published_rule((1.0, 1.1, 1.1, 1.1, 1.1), threshold=0.35, max_skip=9, start=2) == (2, 3)
    assert published_rule((1.0, 1.1, 1.1, 1.1, 1.1), threshold=0.35, max_skip=9, start=1, never={1}) == (2, 3)
    assert published_rule((1.0, 1.1, 1.2, 1.1, 1.1), threshold=0.35, max_skip=9, start=1, gate=0.15) == (1, 3, 4)
    assert published_rule((), threshold=0.35, max_skip=9, start=1) == ()


def test_error_may_reach_the_threshold():
    ratios = (1.0, 1.5, 1.0)
    assert published_rule(ratios, threshold=1.0, max_skip=9, start=1) == (1, 2)
    assert published_rule(ratios, threshold=math.nextafter(1.0, 0), max_skip=9, start=1) == (1,)
