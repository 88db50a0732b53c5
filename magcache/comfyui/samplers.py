"""Samplers of which it is known in advance at which sigmas they evaluate the model."""

from __future__ import annotations

from typing import Any

import torch
from comfy.k_diffusion import sampling

_ONE_A_STEP = (
    "ddpm", "deis", "dpmpp_2m", "euler", "euler_ancestral", "gradient_estimation", "ipndm", "lcm", "lms", "res_multistep",
)  # fmt: skip
"""Samplers that evaluate the model once a step, at the step's own sigma."""


def known_sigmas(sampler: Any, sigmas: torch.Tensor) -> list[float] | None:
    """The sigma of each evaluation to come, None for a sampler that has to be watched."""
    function = getattr(sampler, "sampler_function", None)
    if function not in [getattr(sampling, f"sample_{name}") for name in _ONE_A_STEP] or sampler.extra_options.get("s_churn"):
        return None
    return sigmas[:-1].tolist()


def moves_straight(sampler: Any) -> bool:
    """Whether each step moves by Δσ times what the model predicts there and by nothing else, as Euler does (ComfyUI's ddim too)."""
    function = getattr(sampler, "sampler_function", None)
    return function is sampling.sample_euler and not sampler.extra_options.get("s_churn")
