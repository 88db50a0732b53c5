"""Read the pictures and videos that a server saved as arrays."""

from __future__ import annotations

import io
from pathlib import PurePath
from typing import Any

import av
import numpy as np
from PIL import Image, ImageSequence

from ..errors import MagCacheError
from ..reports.metrics import Picture

_videos: Any = av  # These three have no types, or incomplete ones.
_images: Any = Image
_animations: Any = ImageSequence
_PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"})
_VIDEOS = frozenset({".mp4", ".webm", ".mkv", ".mov", ".avi", ".m4v"})


def is_visible(name: str) -> bool:
    """Whether a file of this name is a picture or a video."""
    return PurePath(name).suffix.lower() in _PICTURES | _VIDEOS


def pictures_in(name: str, data: bytes) -> list[Picture]:
    """The picture, or the frames of the animation or video, in a file. Raises `MagCacheError` if it is damaged."""
    try:
        if PurePath(name).suffix.lower() in _VIDEOS:
            with _videos.open(io.BytesIO(data)) as video:
                return [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
        with _images.open(io.BytesIO(data)) as image:
            return [np.asarray(image.convert("RGB")) for _ in _animations.Iterator(image)]
    except (OSError, ValueError, IndexError, _videos.FFmpegError) as error:
        raise MagCacheError(f"{name}, which the workflow saved, cannot be read: {error}.") from None
