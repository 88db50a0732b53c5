"""One evaluation of a model, and its forwards: skipped, or computed, watched, stored and corrected. The same in every host."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar

import torch

from ..reports.run_report import Disturbance
from .block_stack import CANNOT_SKIP
from .outputs import corrected, tensors_of
from .residuals import Residual, StaleResidualError
from .self_check import Verdict, same_output, same_tokens
from .session import ComputedEvaluation, Evaluation, ReusedEvaluation, Session
from .stack import BlockStack, Stack, UnknownStack
from .whole_model import WholeModel

log = logging.getLogger("magcache")
Output = TypeVar("Output")


def run_evaluation(
    session: Session, call: Hashable, sigma: float, device: torch.device, evaluate: Callable[[Evaluation], Output]
) -> Output:
    """Decide an evaluation at `sigma` and return what `evaluate` makes of it; its forwards go through `run_forward`.

    `call` tells apart evaluations whose residuals must not be mixed; None: unknown. If a forward cannot follow the decision, the whole
    evaluation is computed, without a correction: all its forwards follow one decision.
    """
    evaluation = session.begin(call, sigma, device)
    try:
        output = evaluate(evaluation)
    except StaleResidualError as reason:
        log.debug("MagCache computes sigma %.4f in full after all: %s.", sigma, reason)
        evaluation = session.recompute(evaluation, call)
        output = evaluate(evaluation)
    if isinstance(evaluation, ComputedEvaluation):
        evaluation.finish()
    return output


def run_forward(
    evaluation: Evaluation,
    stack: Stack,
    keys: Sequence[Hashable] | None,
    branches: Sequence[str],
    device: torch.device,
    model: Callable[[bool], Any],
) -> Any:
    """Call `model` as the evaluation decides and return its output. `model` is told whether it skips its blocks.

    `keys` names the members of the batch, in the order of its rows; `branches` says of each whether it is `cond`, `uncond`, ….
    Keys of None say that the members cannot be told apart: the forward is computed and its residual is not reused.

    Raises `StaleResidualError`, which `run_evaluation` handles, if the residual that is to be reused, or that a correction needs, is
    missing or does not fit.
    """
    if keys is None:
        if isinstance(evaluation, ReusedEvaluation) or evaluation.expected:
            raise StaleResidualError("the members of the batch cannot be told apart")
        evaluation.missed = True
        return model(False)
    if isinstance(evaluation, ReusedEvaluation):
        with stack.skipped(evaluation.recall(keys, device)):
            return model(True)
    if not evaluation.watched:
        return model(False)
    expected = None
    if evaluation.expected:
        with stack.skipped(evaluation.expect(keys, device)):
            expected = model(True)
    result = _watched(evaluation, stack, keys, branches, model)
    if expected is None:
        return result
    if evaluation.session.disturbed:
        raise StaleResidualError("something else took part in this run")
    evaluation.session.note_correction(evaluation)
    return corrected(result, expected, evaluation.gain)


def _watched(
    evaluation: ComputedEvaluation, stack: Stack, keys: Sequence[Hashable], branches: Sequence[str], model: Callable[[bool], Any]
) -> Any:
    """Compute the forward and keep its residual."""
    with stack.watched() as capture:
        result = model(False)
        residual, session = capture.residual, evaluation.session
        if capture.skipped:
            session.disturb(Disturbance.OTHER_CACHE)
        elif residual is not None and not isinstance(stack, WholeModel) and not (stack.checked or session.unsafe):
            stack.checked = True
            _check(session, stack, residual, result, model)
        session.reuses = stack.reuses
        evaluation.store(keys, branches, residual)
    return result


def _check(session: Session, stack: BlockStack | UnknownStack, residual: Residual, result: Any, model: Callable[[bool], Any]) -> None:
    """Find out whether a skip with the residual just recorded does what the blocks did."""
    try:
        with stack.skipped(residual):
            again = model(True)
    except StaleResidualError as reason:
        log.debug("MagCache checks a later step instead: %s.", reason)
        stack.checked = False
        return
    except CANNOT_SKIP:
        log.debug("MagCache runs a %s in full, because it cannot run without its blocks.", stack.family.name, exc_info=True)
        session.disturb(Disturbance.NOT_REPRODUCED)
        session.agree(torch.zeros((), dtype=torch.bool, device=residual[0].device))  # Other processes may wait for the answer.
        return
    holds = same_tokens(stack.met(), residual[0].device)
    if stack.compares_outputs:
        holds = holds & same_output(tensors_of(result), tensors_of(again), residual[0].dtype)
    session.expect(Verdict(session.agree(holds)))
