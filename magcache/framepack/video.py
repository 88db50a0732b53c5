"""Frames to mp4 files that every browser plays, and small pictures of them."""

from __future__ import annotations

import base64
import importlib
import io
from pathlib import Path
from typing import Any

from PIL import Image

from .generation import Frames
from .settings import FPS

_FINE = 16
"""Constant rate factor of H.264: hardly a visible loss."""
_THUMBNAIL, _ICON = 240, 96
"""Longest sides in pixels."""


def write_video(frames: Frames, path: Path) -> None:
    """Write (frames, height, width, 3) as H.264 at 30 frames a second. Width and height must be even."""
    ffmpeg: Any = importlib.import_module("imageio_ffmpeg")
    height, width = frames.shape[1:3]
    options = ["-crf", str(_FINE), "-preset", "fast", "-movflags", "+faststart"]
    writer = ffmpeg.write_frames(
        str(path),
        (width, height),
        fps=FPS,
        codec="libx264",
        macro_block_size=2,
        quality=None,
        output_params=options,
        ffmpeg_log_level="error",
    )
    try:
        writer.send(None)
        for frame in frames:
            writer.send(frame.tobytes())
    finally:
        writer.close()


def thumbnail(frames: Frames) -> Image.Image:
    """The frame in the middle, small."""
    image = Image.fromarray(frames[len(frames) // 2])
    image.thumbnail((_THUMBNAIL, _THUMBNAIL), Image.Resampling.LANCZOS)
    return image


def icon(picture: Image.Image) -> str:
    """A very small copy of a picture, as the address of itself."""
    small, buffer = picture.convert("RGB"), io.BytesIO()
    small.thumbnail((_ICON, _ICON))
    small.save(buffer, "webp")
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
