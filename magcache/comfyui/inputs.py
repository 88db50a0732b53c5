"""What is wrong with a node's input, in the words that ComfyUI shows before it queues a workflow; None if nothing is.

A node asks for one input only: ComfyUI blames what it says on each input that it asks for. Values of a list, such as names of curves,
ComfyUI checks by itself. It gives None for an input that is linked to another node, whose value is not known yet.
"""

from __future__ import annotations

import math

from ..curves.shipped import check_own_name
from ..errors import MagCacheError
from ..texts import Text
from .language import in_users_language

MOST_SPEEDUP = 4.0


def speedup_problem(value: object, most: float = math.inf) -> str | None:
    """A speed-up is 0 (as tuned), 1 (off) or more, up to `most`."""
    number = _number(value)
    if number == 0 or (math.isfinite(number) and 1 <= number <= most):
        return None
    return in_users_language(
        Text(
            "speedup is {given!s:.40}, and a run cannot be that many times faster. Expected 0 (as tuned), 1 (off), or a number up to "
            "{most:g}, usually 2.",
            given=value,
            most=MOST_SPEEDUP,
        )
    )


def name_problem(value: object) -> str | None:
    """A name is empty or can be that of a user's own curve."""
    if not isinstance(value, str) or not value.strip():
        return None
    try:
        check_own_name(value)
    except MagCacheError as error:
        return in_users_language(Text("{error}", error=error))
    return None


def _number(value: object) -> float:
    """`value` as a number; not a number if it is none."""
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return math.nan
