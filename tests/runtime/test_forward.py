"""Evaluations and their forwards: skipped, computed, corrected, or computed again as a whole if one of them cannot follow."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import pytest
import torch

from magcache import Plan
from magcache.planning.plan import Correction
from magcache.reports.run_report import Disturbance, RunReport
from magcache.runtime.block_stack import BlockStack
from magcache.runtime.forward import run_evaluation, run_forward
from magcache.runtime.recorder import Recorder
from magcache.runtime.residuals import StaleResidualError
from magcache.runtime.session import Evaluation, Session

from .runs import CPU, LABEL, begin_computed, begin_reused
from .two_streams import FAMILY, Model, calls, change_over_the_blocks, inputs, structure

Tokens = tuple[torch.Tensor, torch.Tensor]


class Host:
    """Runs evaluations of one batch or of several, as ComfyUI does."""

    def __init__(self, plan: Plan, model: Model | None = None, recorder: Recorder | None = None) -> None:
        self.model = model or Model()
        self.session = Session(plan, LABEL, recorder=recorder)
        self.stack = BlockStack(self.model, FAMILY)
        self.again = 0
        """Evaluations that were computed again."""

    def evaluate(self, sigma: float, *batches: tuple[Sequence[Hashable] | None, Tokens], call: Hashable = "call") -> list[torch.Tensor]:
        attempts: list[Evaluation] = []

        def forwards(evaluation: Evaluation) -> list[torch.Tensor]:
            attempts.append(evaluation)
            return [self.forward(evaluation, keys, tokens, sigma) for keys, tokens in batches]

        results = run_evaluation(self.session, call, sigma, CPU, forwards)
        self.again += len(attempts) - 1
        return results

    def forward(self, evaluation: Evaluation, keys: Sequence[Hashable] | None, tokens: Tokens, sigma: float) -> torch.Tensor:
        branches = ["cond"] * len(keys or ())
        return run_forward(evaluation, self.stack, keys, branches, CPU, lambda _: self.model(*tokens, sigma))

    def close(self) -> RunReport:
        return self.session.close()


def plan(decisions: str, gain: float | None = None) -> Plan:
    """A plan of one letter a step, that corrects in the last step if a gain is given: predicted by the last two computed residuals."""
    reused = tuple(letter == "r" for letter in decisions)
    steps = len(reused)
    computed = [step for step in range(steps - 1) if not reused[step]]
    expected = ((computed[-1], 2.0), (computed[-2], -1.0)) if gain is not None else ()
    corrections = (*((None,) * (steps - 1)), Correction(gain, expected)) if gain is not None else ()
    return Plan(tuple(1 - step / 10 for step in range(steps)), reused, (0.0,) * steps, corrections=corrections)


def one(result: Sequence[torch.Tensor]) -> torch.Tensor:
    (only,) = result
    return only


# Computed and skipped


def test_a_run_that_skips_nothing_is_bit_identical_and_not_watched():
    host = Host(plan("cccc"))
    before, during = structure(host.model), []
    host.model.register_forward_pre_hook(lambda *_: during.append(structure(host.model)))
    for sigma in host.session.plan.sigmas:
        assert torch.equal(one(host.evaluate(sigma, (["a", "b"], inputs()))), host.model(*inputs(), sigma))
    report = host.close()
    assert (report.reused, report.residual_bytes) == (0, 0)
    assert len(during) == 8 and all(seen == before for seen in during), "no module is exchanged, not even for the time of a forward"


def test_a_step_is_computed_as_ever_and_then_reused():
    host = Host(plan("crr"))
    full = one(host.evaluate(1.0, (["a", "b"], inputs())))
    assert torch.equal(full, host.model(*inputs(), 1.0))
    before = calls(host.model)
    torch.testing.assert_close(one(host.evaluate(0.9, (["a", "b"], inputs()))), full, msg="the same input gives the same result")
    moved = inputs(seed=1)
    residual = change_over_the_blocks(Model(), *inputs(), 1.0)
    expected = torch.cat([host.model.heads.image(moved[0] + residual[0]), host.model.heads.sound(moved[1] + residual[1])], dim=1)
    torch.testing.assert_close(one(host.evaluate(0.8, (["a", "b"], moved))), expected)
    assert calls(host.model) == before, "no block ran"
    assert (host.close().nfe, host.again) == (1, 0)


def test_members_may_come_in_other_batches():
    host = Host(plan("cr"))
    both = inputs()
    host.evaluate(1.0, (["a", "b"], both))
    alone = [tuple(stream[row : row + 1] for stream in both) for row in range(2)]
    found = host.evaluate(0.9, (["b"], alone[1]), (["a"], alone[0]))
    torch.testing.assert_close(torch.cat(found[::-1]), host.model(*both, 1.0))


def test_the_recorder_sees_what_was_computed():
    recorder = Recorder()
    host = Host(plan("ccc"), recorder=recorder)
    for sigma, seed in zip(host.session.plan.sigmas, range(3), strict=True):
        host.evaluate(sigma, (["a"], inputs(1, seed)))
    assert recorder.sigmas == list(host.session.plan.sigmas)


# Members that cannot be told apart


def test_without_keys_a_forward_is_computed_and_not_reused():
    host = Host(plan("crr"))
    assert torch.equal(one(host.evaluate(1.0, (None, inputs()))), host.model(*inputs(), 1.0))
    assert torch.equal(one(host.evaluate(0.9, (["a", "b"], inputs()))), host.model(*inputs(), 0.9))
    assert host.close().refused == 1


def test_one_forward_without_keys_spoils_its_evaluation():
    host = Host(plan("cr"))
    host.evaluate(1.0, (["a", "b"], inputs()), (None, inputs()))
    host.evaluate(0.9, (["a", "b"], inputs()))
    assert host.close().reused == 0


def test_without_keys_a_reused_evaluation_is_computed_again():
    host = Host(plan("cr"))
    host.evaluate(1.0, (["a", "b"], inputs()))
    assert torch.equal(one(host.evaluate(0.9, (None, inputs()))), host.model(*inputs(), 0.9))
    assert (host.again, host.close().reused) == (1, 0)


def test_a_member_that_comes_twice_is_computed():
    host = Host(plan("crr"))
    host.evaluate(1.0, (["a", "b"], inputs()))
    found = host.evaluate(0.9, (["a"], inputs(1)), (["a"], inputs(1, seed=1)))
    assert torch.equal(found[0], host.model(*inputs(1), 0.9)) and torch.equal(found[1], host.model(*inputs(1, seed=1), 0.9))
    torch.testing.assert_close(one(host.evaluate(0.8, (["a", "b"], inputs()))), host.model(*inputs(), 1.0), msg="step 0 still serves")
    assert (host.again, host.close().reused) == (1, 1)


def test_nothing_of_an_evaluation_with_a_member_twice_is_reused():
    host = Host(plan("cr"))
    host.evaluate(1.0, (["a"], inputs(1)), (["a"], inputs(1, seed=1)))
    assert torch.equal(one(host.evaluate(0.9, (["a"], inputs(1)))), host.model(*inputs(1), 0.9))
    assert (host.again, host.close().reused) == (0, 0)


# Stale in the middle of an evaluation


@pytest.mark.parametrize("second", [["c"], ["a"]], ids=["never recorded", "twice"])
def test_a_stale_forward_has_the_whole_evaluation_computed(second: list[str]):
    """A fresh branch beside a stale one would be harmful under guidance."""
    host = Host(plan("cr"))
    host.evaluate(1.0, (["a"], inputs(1)), (["b"], inputs(1, seed=1)))
    found = host.evaluate(0.9, (["a"], inputs(1)), (second, inputs(1, seed=1)))
    assert [torch.equal(got, host.model(*inputs(1, seed), 0.9)) for seed, got in enumerate(found)] == [True, True]
    report = host.close()
    assert (host.again, report.evaluations, report.reused, report.refused) == (1, 2, 0, 1)


def test_tokens_of_another_shape_are_computed_again_and_leave_the_model_as_it_was():
    host = Host(plan("cr"))
    before = structure(host.model)
    host.evaluate(1.0, (["a", "b"], inputs()))
    other = (torch.zeros(2, 7, 8), inputs()[1])
    assert torch.equal(one(host.evaluate(0.9, (["a", "b"], other))), host.model(*other, 0.9))
    assert host.again == 1 and structure(host.model) == before


# Another cache


class SkippedByOthers(Model):
    """Another step cache returns what it had kept, without the model."""

    others = False

    def forward(self, *args: torch.Tensor | float) -> torch.Tensor:
        return torch.full((2, 8, 8), 7.0) if self.others else super().forward(*args)  # type: ignore[arg-type]


def test_a_forward_that_another_cache_skipped_is_noticed():
    model = SkippedByOthers()
    host = Host(plan("cccrr"), model)
    host.evaluate(1.0, (["a", "b"], inputs()))
    model.others = True
    host.evaluate(0.9, (["a", "b"], inputs()))
    model.others = False
    for sigma in (0.8, 0.7, 0.6):
        assert torch.equal(one(host.evaluate(sigma, (["a", "b"], inputs()))), host.model(*inputs(), sigma))
    report = host.close()
    assert report.disturbances == (Disturbance.OTHER_CACHE,) and report.reused == 0


# Corrections


def corrected(host: Host, *batches: tuple[Sequence[Hashable] | None, Tokens]) -> list[torch.Tensor]:
    """The result of the step after the gap of "ccrc"."""
    for sigma in (1.0, 0.9, 0.8):
        host.evaluate(sigma, (["a", "b"], inputs()))
    return host.evaluate(0.7, *batches)


def test_a_correction_adds_to_the_result_what_was_not_predicted():
    host = Host(plan("ccrc", gain=0.5))
    found = one(corrected(host, (["a", "b"], inputs())))
    result = host.model(*inputs(), 0.7)
    first, second = (change_over_the_blocks(host.model, *inputs(), sigma) for sigma in (1.0, 0.9))
    image, sound = (tokens + 2 * newer - older for tokens, newer, older in zip(inputs(), second, first, strict=True))
    expected = torch.cat([host.model.heads.image(image), host.model.heads.sound(sound)], dim=1)
    torch.testing.assert_close(found, result + 0.5 * (result - expected))
    assert not torch.allclose(found, result)
    assert [event.corrected for event in host.close().events] == [False, False, False, True]


def test_the_blocks_run_once_in_a_correcting_step():
    host = Host(plan("ccrc", gain=0.5))
    for sigma in (1.0, 0.9, 0.8):
        host.evaluate(sigma, (["a", "b"], inputs()))
    before = calls(host.model)
    host.evaluate(0.7, (["a", "b"], inputs()))
    assert calls(host.model) - before == 3


@pytest.mark.parametrize(
    "second",
    [(["c"], inputs(1)), (None, inputs(1)), (["b", "b"], inputs()), (["b"], (torch.zeros(1, 9, 8), inputs(1)[1]))],
    ids=["never recorded", "not told apart", "twice in a batch", "another shape"],
)
def test_an_evaluation_is_corrected_in_all_its_forwards_or_in_none(second: tuple[Sequence[Hashable] | None, Tokens]):
    host = Host(plan("ccrc", gain=0.5))
    batches = (["a"], inputs(1)), second
    found = corrected(host, *batches)
    for got, (_, tokens) in zip(found, batches, strict=True):
        assert torch.equal(got, host.model(*tokens, 0.7)), "uncorrected"
    report = host.close()
    assert host.again == 1 and not any(event.corrected for event in report.events)


def test_a_result_of_another_cache_is_not_corrected():
    model = SkippedByOthers()
    host = Host(plan("ccrc", gain=0.5), model)
    for sigma in (1.0, 0.9, 0.8):
        host.evaluate(sigma, (["a", "b"], inputs()))
    evaluation = begin_computed(host.session, 0.7)
    assert evaluation.expected

    def forward(_: bool) -> torch.Tensor:
        """The other cache lets the prediction through and skips what is computed."""
        result = model(*inputs(), 0.7)
        model.others = True
        return result

    with pytest.raises(StaleResidualError, match="something else took part"):
        run_forward(evaluation, host.stack, ["a", "b"], ["cond", "uncond"], CPU, forward)
    again = host.session.recompute(evaluation, "call")
    result = run_forward(again, host.stack, ["a", "b"], ["cond", "uncond"], CPU, lambda _: model(*inputs(), 0.7))
    assert torch.equal(result, torch.full((2, 8, 8), 7.0))
    report = host.close()
    assert report.disturbances == (Disturbance.OTHER_CACHE,) and not any(event.corrected for event in report.events)


def test_an_interrupt_puts_everything_back():
    host = Host(plan("cr"))
    before = structure(host.model)
    host.evaluate(1.0, (["a", "b"], inputs()))

    def interrupt(_: bool) -> torch.Tensor:
        raise KeyboardInterrupt

    for evaluation in (begin_reused(host.session, 0.9), begin_computed(host.session, 1.0)):
        with pytest.raises(KeyboardInterrupt):
            run_forward(evaluation, host.stack, ["a", "b"], ["cond", "uncond"], CPU, interrupt)
        assert structure(host.model) == before


# The check of the model's description, once a run


class Fragile(Model):
    """Fails without its blocks, or does something between them and its tails."""

    way = ""

    def forward(self, image: torch.Tensor, sound: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        if self.way == "fails" and not len(self.trunk.late):
            raise ValueError("no blocks")
        if self.way == "depends" and not len(self.trunk.late):
            image = image * 1.01
        return super().forward(image, sound, scale)


@pytest.mark.parametrize("way", ["fails", "depends"])
def test_a_model_that_is_not_what_its_family_says_runs_in_full(way: str):
    model = Fragile()
    model.way = way
    host = Host(plan("crr"), model)
    before = structure(model)
    results = [one(host.evaluate(sigma, (["a", "b"], inputs()))) for sigma in (1.0, 0.9, 0.8)]
    report = host.close()
    assert report.disturbances == (Disturbance.NOT_REPRODUCED,) and report.reused == 0 and report.refused == 2
    assert all(torch.equal(result, model(*inputs(), sigma)) for result, sigma in zip(results, (1.0, 0.9, 0.8), strict=True))
    assert structure(model) == before


def test_the_check_is_one_skipped_forward_a_run():
    host = Host(plan("ccrc"))
    forwards: list[bool] = []
    host.model.register_forward_pre_hook(lambda *_: forwards.append(bool(len(host.model.trunk.late))))
    for sigma in host.session.plan.sigmas:
        host.evaluate(sigma, (["a", "b"], inputs()))
    assert forwards == [True, False, True, False, True], "computed and checked, computed, reused, computed"
    assert not host.close().disturbances


def test_a_run_without_reuse_is_not_checked():
    host = Host(plan("ccc"))
    forwards: list[None] = []
    host.model.register_forward_pre_hook(lambda *_: forwards.append(None))
    for sigma in host.session.plan.sigmas:
        host.evaluate(sigma, (["a", "b"], inputs()))
    assert len(forwards) == 3


def test_a_check_whose_residual_does_not_fit_is_made_at_a_later_step():
    """Such as where a patch drops reference tokens after the first step."""

    class Dropping(Model):
        forwards = 0

        def forward(self, image: torch.Tensor, sound: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
            self.forwards += 1
            return super().forward(image if self.forwards == 1 else image[:, 1:], sound, scale)

    host = Host(plan("ccrr"), Dropping())
    for sigma in host.session.plan.sigmas:
        host.evaluate(sigma, (["a", "b"], inputs()))
    report = host.close()
    assert report.reused == 2 and not report.disturbances
