"""Every tiny model there is. Adding a family means a case in one of these dicts: what is parametrised over them covers it."""

from __future__ import annotations

from .tiny import Case
from .zoo_images import IMAGES
from .zoo_more_pictures import MORE_PICTURES
from .zoo_pictures import PICTURES
from .zoo_sounds import SOUNDS
from .zoo_videos import VIDEOS

EVERY: dict[str, Case] = {**IMAGES, **PICTURES, **MORE_PICTURES, **VIDEOS, **SOUNDS}
