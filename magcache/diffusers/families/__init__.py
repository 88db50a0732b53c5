"""The transformers of diffusers that MagCache can skip."""

from __future__ import annotations

from ...runtime.family import Family
from .chroma import CHROMA
from .flux import FLUX, FLUX3
from .hunyuan_video import HUNYUAN_VIDEO
from .images import IMAGES
from .pictures import PICTURES
from .qwen_image import QWEN_IMAGE, QWEN_IMAGE21
from .sounds import SOUNDS
from .videos import VIDEOS
from .wan import WAN

FAMILIES: tuple[Family, ...] = (
    FLUX, FLUX3, CHROMA, QWEN_IMAGE, QWEN_IMAGE21, *IMAGES, *PICTURES, HUNYUAN_VIDEO, WAN, *VIDEOS, *SOUNDS,
)  # fmt: skip
"""A row for each class of diffusers, or several that are built alike. Rows of one name share their curves."""
