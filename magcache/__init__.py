"""MagCache: skip the steps of a diffusion transformer that barely change its residual (Ma et al., 2025, arXiv:2506.09045).

The core needs nothing but NumPy: curve -> plan -> session -> report. ComfyUI and diffusers are adapters on top of it.
"""

from .budget import plan_budget as plan_budget
from .curve import MagnitudeCurve as MagnitudeCurve
from .curves import known_curves as known_curves
from .curves import load_curve as load_curve
from .errors import MagCacheError as MagCacheError
from .plan import Plan as Plan
from .schedule import Settings as Settings
from .schedule import plan_run as plan_run
from .schedule import published_rule as published_rule

__version__ = "0.1.0"
