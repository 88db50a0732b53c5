"""What a list of ratios does not tell: the shift of its run, and whether its branches are those of the family."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..curves.curve import MagnitudeCurve
from ..curves.ratio_lists import Layout
from ..curves.shipped import known_curves, load_curve
from .common import UsageError

_FLUX, _FLUX_SHIFT = "flux", 1.15
"""ComfyUI samples FLUX.1 with this shift unless it is told otherwise, and so were the published lists measured."""
_FLUX_SHIFTS = (0.0, 4.0)


@dataclass(frozen=True, slots=True)
class Shift:
    """The shift that the sigmas of a list are reconstructed with."""

    plain: float
    """As s of the plain flow schedule σ = s·t / (1 + (s − 1)·t)."""
    source: str

    def __str__(self) -> str:
        return self.source


def checked_shift(family: str, given: float | None) -> Shift:
    """The shift of a list for this family: the one given, or for Flux ComfyUI's own.

    Flux's is an exponent, in ComfyUI's ModelSamplingFlux as in diffusers: s = e^shift. Raises `UsageError` if a shift is needed.
    """
    if family == _FLUX and given is None:
        return Shift(math.exp(_FLUX_SHIFT), f"for ComfyUI's shift for FLUX.1, {_FLUX_SHIFT}, as --shift is left out")
    if family == _FLUX and given is not None:
        low, high = _FLUX_SHIFTS
        if not low <= given <= high:
            raise UsageError(
                f"The shift is {given}; for flux it is that of ComfyUI's ModelSamplingFlux, from {low:g} to {high:g}, often {_FLUX_SHIFT}."
            )
        return Shift(math.exp(given), f"for ModelSamplingFlux's shift {given:g}")
    if given is None:
        raise UsageError(f"--shift is missing: the list does not tell with which shift it was measured. {_hint(family)}")
    return Shift(given, f"for shift {given:g}")


def check_branches(curve: MagnitudeCurve, given: Layout | None) -> None:
    """Compare the branches that were read with those asked for, or else with the family's shipped curves. Raises `UsageError`."""
    count = len(curve.ratios)
    if given is not None:
        if count != (1 if given is Layout.COND else 2):
            raise UsageError(
                f"--branches {given.value} and the file contradict each other: its list has {' and '.join(curve.ratios)} as rows of their "
                "own. Leave --branches out."
            )
        return
    usual = {len(shipped.ratios): name for name in known_curves() if (shipped := load_curve(name)).family == curve.family}
    if usual and count not in usual:
        raise UsageError(
            f"The list reads as {_branches(count)}, but curves of {curve.family} have {' or '.join(map(_branches, sorted(usual)))} "
            f"(see {next(iter(usual.values()))!r}). Say which it is: --branches cond or --branches interleaved."
        )


def _branches(count: int) -> str:
    return "one ratio a step (cond)" if count == 1 else f"{count} ratios a step (cond, uncond{', ref' if count > 2 else ''})"


def _hint(family: str) -> str:
    """The shifts of the family's shipped curves, or else where to look."""
    shifts = {load_curve(name).provenance.get("shift") for name in known_curves() if load_curve(name).family == family}
    numbers = sorted(shift for shift in shifts if isinstance(shift, int | float))
    known = f"The curves of {family} that come along were measured with {', '.join(f'{shift:g}' for shift in numbers)}. " if numbers else ""
    return f"{known}Look at the ModelSampling node of that run; without one, give the shift that the model has by default."
