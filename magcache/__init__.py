"""MagCache: skip the steps of a diffusion transformer that barely change its residual (Ma et al., 2025, arXiv:2506.09045).

    >>> import magcache
    >>> curve = magcache.load_curve("flux")
    >>> plan = magcache.plan_speedup(curve, curve.sigmas, 2.0)
    >>> plan.computed[:4], plan.nfe, plan.steps
    ((0, 1, 2, 4), 14, 28)

These names need nothing but NumPy. `magcache.runtime` carries a plan out in PyTorch; `magcache.comfyui` is the host built on it.
"""

from .curves.curve import MagnitudeCurve as MagnitudeCurve
from .curves.shipped import known_curves as known_curves
from .curves.shipped import load_curve as load_curve
from .errors import MagCacheError as MagCacheError
from .planning.budget import plan_budget as plan_budget
from .planning.budget import plan_speedup as plan_speedup
from .planning.influence import euler_influence as euler_influence
from .planning.plan import Plan as Plan
from .planning.plan import Reason as Reason
from .planning.streams import predicted_error as predicted_error
from .planning.threshold import plan_by_threshold as plan_by_threshold
from .planning.threshold import published_rule as published_rule
from .settings import SpeedupSettings as SpeedupSettings
from .settings import ThresholdSettings as ThresholdSettings

__version__ = "0.1.0"
