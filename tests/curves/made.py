"""Curves made up for tests."""

from __future__ import annotations

from typing import Any

from hypothesis import assume, settings
from hypothesis import strategies as st

from magcache import MagnitudeCurve, ThresholdSettings
from magcache.curves.curve import same_sigma

examples = settings(deadline=None, max_examples=100, database=None)
floats = st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from([10**400, -(10**400), "1"])
junk = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3))


def make(**changes: Any) -> MagnitudeCurve:
    fields: dict[str, Any] = {
        "name": "test",
        "family": "flux",
        "sigmas": (1.0, 0.8, 0.5, 0.1),
        "ratios": {"cond": (1.0, 1.2, 0.9, 0.8), "uncond": (1.0, 1.1, 0.95, 0.7)},
    }
    return MagnitudeCurve(**(fields | changes))


@st.composite
def curves(draw: st.DrawFn) -> MagnitudeCurve:
    sigmas: list[float] = []
    for sigma in sorted(draw(st.lists(st.floats(0, 1e4), min_size=2, max_size=12)), reverse=True):
        if not sigmas or not same_sigma(sigma, sigmas[-1]):
            sigmas.append(sigma)
    steps = len(sigmas)
    assume(steps >= 2)

    rows = st.lists(st.floats(1e-3, 1e3), min_size=steps - 1, max_size=steps - 1)
    preset = st.builds(ThresholdSettings, threshold=st.floats(0, 1), retention=st.floats(0, 1), max_skip=st.integers(0, 9))
    return make(
        sigmas=tuple(sigmas),
        ratios={branch: (1.0, *draw(rows)) for branch in ("cond", "uncond")[: draw(st.integers(1, 2))]},
        masked=tuple(draw(st.lists(st.integers(1, steps - 1), max_size=2))),
        vetoes=tuple(draw(st.lists(st.floats(0, 1), max_size=2))),
        gate=draw(st.none() | st.floats(0, 1)),
        preset=draw(st.none() | preset),
        provenance=draw(st.dictionaries(st.text(max_size=5), st.none() | st.text(max_size=5) | floats, max_size=3)),
    )
