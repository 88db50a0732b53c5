"""Web pages that stand alone: each of these templates with its pictures inside."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import jinja2
from PIL import Image

from ..metrics import Picture

DIFFERENCE_GAIN = 8
_SMALL, _LARGEST = 256, 768
"""Pictures up to the first size are shown as they are, larger ones shrunk to the second and compressed."""
_QUALITY = 90


def write_page(template: str, path: Path, **facts: Any) -> None:
    """Fill in a template of this folder. Makes the folder of `path`."""
    pages = jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(pages.get_template(template).render(gain=DIFFERENCE_GAIN, **facts), encoding="utf-8")


def encoded(picture: Picture) -> str:
    """A picture as the address of itself."""
    image, kind = Image.fromarray(picture), "png"
    if max(image.size) > _SMALL:
        image.thumbnail((_LARGEST, _LARGEST))
        kind = "webp"
    buffer = io.BytesIO()
    image.save(buffer, kind, quality=_QUALITY)
    return data_address(buffer.getvalue(), f"image/{kind}")


def data_address(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
