"""Files that browsers play, and small pictures."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from magcache.framepack.compare import compare
from magcache.framepack.video import icon, thumbnail, write_video
from magcache.reports.metrics import IDENTICAL_DB, psnr


def frames(count: int = 20, height: int = 48, width: int = 64) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([np.stack([(x * 4 + time) % 256, (y * 5) % 256, 0 * x + 100], axis=-1) for time in range(count)]).astype(np.uint8)


@pytest.mark.parametrize("size", [(48, 64), (16, 16), (30, 50)])
def test_a_video_has_all_frames_in_their_colours(tmp_path: Path, size: tuple[int, int]):
    made = frames(20, *size)
    write_video(made, tmp_path / "video.mp4")
    reader = imageio_ffmpeg.read_frames(str(tmp_path / "video.mp4"))
    facts = next(reader)
    read = np.stack([np.frombuffer(frame, np.uint8).reshape(*size, 3) for frame in reader])
    assert (facts["codec"], facts["pix_fmt"].split("(")[0], facts["fps"], facts["size"]) == ("h264", "yuv420p", 30, size[::-1])
    assert read.shape == made.shape and psnr(made[:, 4:-4, 4:-4], read[:, 4:-4, 4:-4]) > 25


def test_a_place_that_cannot_be_written_is_an_error(tmp_path: Path):
    with pytest.raises(OSError):
        write_video(frames(), tmp_path / "missing" / "video.mp4")


def test_small_pictures_are_small():
    assert max(thumbnail(frames(3, 900, 1600)).size) == 240
    address = icon(Image.new("RGBA", (900, 300), "red"))
    head, data = address.split(",")
    assert head == "data:image/webp;base64" and Image.open(io.BytesIO(base64.b64decode(data))).size == (96, 32)


def test_a_comparison_counts_every_frame_by_its_error():
    one = frames(4)
    other = one.copy()
    other[2] ^= 16
    found = compare(one, other)
    assert found.worst == 2 and found.psnr[0] == IDENTICAL_DB
    assert found.whole == pytest.approx(psnr(one, other)) and found.picture.ndim == 3
    assert compare(one, one).whole == IDENTICAL_DB


def test_videos_of_unequal_length_are_not_compared():
    with pytest.raises(ValueError):
        compare(frames(4), frames(5))
