"""Every tiny random pipeline, by name. They are real pipelines of diffusers, built from configurations alone."""

from __future__ import annotations

from .pipelines_images import IMAGES
from .pipelines_others import OTHERS
from .pipelines_sounds import SOUNDS
from .pipelines_videos import VIDEOS
from .tiny_parts import Pipe

PIPES: dict[str, Pipe] = {**IMAGES, **VIDEOS, **OTHERS, **SOUNDS}
