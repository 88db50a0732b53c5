"""One sampling in ComfyUI: which question of the sampler is being answered, and at which sigma."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from typing import Any

import torch

from ..curves.curve import same_sigma
from ..reports.run_report import Disturbance
from ..runtime.family import find_family
from ..runtime.run_setup import RunSetup
from ..runtime.session import Session
from ..runtime.stack import Stack, stack_of
from .base_model import bare
from .families import FAMILIES
from .progress import SamplerCallback

_MODEL = "diffusion_model"
_OTHER_CACHE = "easycache"
"""Where ComfyUI's own step caches, EasyCache and LazyCache, keep their state in the options of a run."""


class Run:
    """The session of one sampling and what the sampler asks of it. Opaque to ComfyUI, which copies plain dicts.

    `expected` are the sigmas of the evaluations to come, one a step, for a sampler that evaluates once a step. Reading a sigma from
    the device waits for all that is queued there, so they are taken instead as long as each step is reported after its evaluation.
    They are compared with the sampler's own after the run.
    """

    def __init__(self, session: Session, setup: RunSetup, expected: list[float] | None, options: dict[str, Any]) -> None:
        self.session = session
        self.setup = setup
        self.expected = expected
        self.latent: torch.Tensor | None = None
        """What the sampler asks about."""
        self._expected = expected
        self._asked: torch.Tensor | None = None
        """The sigma of the present question, as the sampler gave it."""
        self._sigma: float | None = None
        self._since_report = 0
        self._taken: list[tuple[float, torch.Tensor]] = []
        """Expected sigmas that were taken, each with the sampler's own."""
        self._seen: Counter[Hashable] = Counter()
        self._stacks: dict[Any, Stack] = {}
        if _OTHER_CACHE in options:
            session.disturb(Disturbance.OTHER_CACHE)
            session.other_cache = str(getattr(options[_OTHER_CACHE], "name", ""))

    def ask(self, x: torch.Tensor, timestep: torch.Tensor) -> None:
        """The sampler asks for its next evaluation."""
        self.latent, self._asked, self._sigma = x, timestep, None
        self._seen.clear()
        self._since_report += 1
        if self._expected is not None and (self._since_report > 1 or len(self._taken) >= len(self._expected)):
            self._expected = None
            self.session.disturb(Disturbance.EXTRA_EVALUATIONS)
        if self._expected is not None:
            self._sigma = self._expected[len(self._taken)]
            self._taken.append((self._sigma, timestep.flatten()[:1]))

    def following(self, callback: SamplerCallback | None) -> SamplerCallback:
        """`callback`, which the sampler calls after each step, followed by this run."""

        def stepped(step: int, denoised: Any, x: Any, steps: int) -> None:
            if self._expected is not None and self._since_report == 0:
                self.session.disturb(Disturbance.OTHER_CACHE)  # A step without an evaluation: somebody else answered.
                self._expected = None
            self._since_report = 0
            if callback is not None:
                callback(step, denoised, x, steps)

        return stepped

    def sigma(self, timestep: torch.Tensor) -> float:
        """The sigma of an evaluation: that of the sampler's question, which decides for all evaluations that answer it."""
        if self._asked is None:
            return float(timestep.flatten()[0])
        if self._sigma is None:
            self._sigma = float(self._asked.flatten()[0])
        if timestep is not self._asked and not same_sigma(float(timestep.flatten()[0]), self._sigma):
            self.session.disturb(Disturbance.EXTRA_EVALUATIONS)
        return self._sigma

    def numbered(self, composition: Hashable) -> Hashable:
        """`composition` with its number among its evaluations for the present question: the guider may look at it several times."""
        self._seen[composition] += 1
        return composition, self._seen[composition]

    def check(self) -> None:
        """Compare the sigmas that were taken with the sampler's own. Waits for the device."""
        if self._taken:
            own = torch.cat([timestep for _, timestep in self._taken]).tolist()
            if not all(same_sigma(taken, sigma) for (taken, _), sigma in zip(self._taken, own, strict=True)):
                self.session.disturb(Disturbance.EXTRA_EVALUATIONS)

    def stack(self, base: Any) -> Stack:
        """What can be skipped of ComfyUI's model `base`."""
        if base not in self._stacks:
            model = bare(base.diffusion_model)
            self._stacks[base] = stack_of(base, _MODEL, model, find_family(FAMILIES, model))
        return self._stacks[base]
