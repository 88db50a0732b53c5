"""MagCache in diffusers.

    import magcache.diffusers
    cache = magcache.diffusers.apply(pipe, speedup=2.0)  # The first picture is computed in full and calibrates the model.
    image = pipe("a red fox in the snow").images[0]
    print(cache.report().line())

See docs/diffusers.md.
"""

from .apply import apply as apply
from .apply import remove as remove
from .apply import report as report
from .cache import StepCache as StepCache
from .calibrate import calibrate as calibrate
from .curves import mag_cache_config as mag_cache_config
