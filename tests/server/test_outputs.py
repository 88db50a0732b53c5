"""Reading the files that ComfyUI's nodes save as pictures."""

from __future__ import annotations

import io
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from magcache.errors import MagCacheError
from magcache.reports.metrics import Picture
from magcache.server.outputs import is_visible, pictures_in

COLOURS = [(200, 40, 40), (40, 200, 40), (40, 40, 200)]


def frames() -> list[Picture]:
    return [np.full((32, 48, 3), colour, np.uint8) for colour in COLOURS]


def video(kind: str, codec: str) -> bytes:
    buffer = io.BytesIO()
    container: Any = av.open(buffer, "w", format=kind)
    stream = container.add_stream(codec, rate=8, options={"crf": "10"})
    stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
    for frame in frames():
        container.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
    container.mux(stream.encode())
    container.close()
    return buffer.getvalue()


def images(kind: str, **more: Any) -> bytes:
    buffer = io.BytesIO()
    first, *others = [Image.fromarray(frame) for frame in frames()]
    first.save(buffer, kind, save_all=True, append_images=others, **more)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.mp4", video("mp4", "libx264")),
        ("a.webm", video("webm", "libvpx-vp9")),
        ("a.webp", images("webp", lossless=True)),
        ("A.PNG", images("png")),
    ],
    ids=["mp4", "webm", "animated webp", "animated png"],
)
def test_every_frame_comes_back_in_order(name: str, data: bytes):
    assert is_visible(name)
    found = pictures_in(name, data)
    assert [picture.shape for picture in found] == [(32, 48, 3)] * 3 and found[0].dtype == np.uint8
    assert all(np.abs(one.astype(int) - other).max() < 20 for one, other in zip(found, frames(), strict=True))


def test_a_still_picture_is_exact_and_loses_its_alpha_channel():
    picture = np.random.default_rng(0).integers(0, 256, (8, 9, 4), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "png")
    (found,) = pictures_in("a.png", buffer.getvalue())
    assert np.array_equal(found, picture[..., :3])


@pytest.mark.parametrize("name", ["a.png", "a.mp4"])
def test_a_damaged_file_is_named(name: str):
    with pytest.raises(MagCacheError, match=f"{name}, which the workflow saved, cannot be read"):
        pictures_in(name, b"not a picture")


def test_sounds_and_models_are_no_pictures():
    assert not any(map(is_visible, ["a.flac", "a.glb", "a.latent", "png", ""]))
