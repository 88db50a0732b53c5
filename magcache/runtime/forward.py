"""One forward of a model within an evaluation: skipped, or computed, watched, stored and corrected. The same in every host."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import torch

from ..reports.run_report import Disturbance
from .block_stack import BlockStack
from .residuals import StaleResidualError
from .session import ComputedEvaluation, Evaluation, ReusedEvaluation


def run_forward(
    evaluation: Evaluation,
    stack: BlockStack,
    keys: Sequence[Hashable] | None,
    branches: Sequence[str],
    device: torch.device,
    model: Callable[[], torch.Tensor],
) -> torch.Tensor:
    """Call `model` as the evaluation decides and return its output.

    `keys` names the members of the batch, in the order of its rows; `branches` says of each whether it is `cond`, `uncond`, ….
    Keys of None say that the members cannot be told apart: the forward is computed and its residual is not reused.

    Raises `StaleResidualError` if the residual that is to be reused, or that a correction needs, is missing or does not fit. The
    host then has the whole evaluation computed (`Session.recompute`), so that all its forwards follow one decision.
    """
    if isinstance(evaluation, ReusedEvaluation):
        if keys is None:
            raise StaleResidualError("the members of the batch cannot be told apart")
        with stack.skipped(evaluation.recall(keys, device)):
            return model()
    if not evaluation.watched:
        return model()
    if keys is None:
        evaluation.missed = True
        return model()
    expected = None
    if evaluation.expected:
        with stack.skipped(evaluation.expect(keys, device)):
            expected = model()
    result = _watched(evaluation, stack, keys, branches, model)
    if expected is None:
        return result
    evaluation.session.note_correction(evaluation)
    return result + evaluation.gain * (result - expected)


def _watched(
    evaluation: ComputedEvaluation, stack: BlockStack, keys: Sequence[Hashable], branches: Sequence[str], model: Callable[[], torch.Tensor]
) -> torch.Tensor:
    """Compute the forward and keep its residual."""
    with stack.watched() as capture:
        result = model()
        if capture.skipped:
            evaluation.session.disturb(Disturbance.OTHER_CACHE)
        evaluation.store(keys, branches, capture.residual)
    return result
