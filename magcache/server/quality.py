"""How close pictures are to those that were sampled in full."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..errors import MagCacheError
from ..reports.comparison import Comparison
from ..reports.metrics import Picture


def compared(full: Sequence[Picture], pictures: Sequence[Picture]) -> Comparison:
    """Each picture or frame with its reference. Raises `MagCacheError` when these are not as many, or not as large."""
    if not full or [picture.shape for picture in full] != [picture.shape for picture in pictures]:
        raise MagCacheError(
            f"The workflow saved {_sizes(full)} in full but {_sizes(pictures)} otherwise, which cannot be compared. "
            "It must end with a node that saves or previews pictures or a video, always as many of the same size."
        )
    return Comparison.of(zip(full, pictures, strict=True))


def together(parts: Iterable[Comparison]) -> Comparison:
    """All pictures of several comparisons."""
    parts = list(parts)
    return Comparison(tuple(value for part in parts for value in part.psnr), tuple(value for part in parts for value in part.ssim))


def _sizes(pictures: Sequence[Picture]) -> str:
    height, width = pictures[0].shape[:2] if pictures else (0, 0)
    return f"{len(pictures)} pictures of {width} × {height}" if pictures else "no pictures"
