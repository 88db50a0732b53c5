"""Every tiny model there is. Adding a family means a builder and a line in one of these dicts: what is parametrised over them covers it."""

from __future__ import annotations

from collections.abc import Callable

from .tiny import ALL, Tiny
from .zoo_images import IMAGES, WHOLE
from .zoo_others import OTHERS
from .zoo_pictures import PICTURES
from .zoo_sounds import SOUNDS
from .zoo_unets import UNETS
from .zoo_videos import VIDEOS

EVERY: dict[str, Callable[[], Tiny]] = {**ALL, **IMAGES, **PICTURES, **VIDEOS, **SOUNDS, **UNETS, **WHOLE, **OTHERS}
