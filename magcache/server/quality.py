"""How close the pictures of a run are to those of a run that computed every step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..errors import MagCacheError
from ..reports.comparison import Comparison
from ..reports.metrics import Picture


def compare_pictures(full: Sequence[Picture], pictures: Sequence[Picture]) -> Comparison:
    """Compare each picture or frame with its reference in `full`. Raises `MagCacheError` if their numbers or sizes differ."""
    if not full or [picture.shape for picture in full] != [picture.shape for picture in pictures]:
        raise MagCacheError(
            f"The workflow saved {_sizes(full)} with all steps but {_sizes(pictures)} otherwise, which cannot be compared. "
            "It must end with a node that saves or previews pictures or a video, always the same number of the same size."
        )
    return Comparison.of(zip(full, pictures, strict=True))


def combined(parts: Iterable[Comparison]) -> Comparison:
    """One comparison of all pictures in `parts`."""
    parts = list(parts)
    return Comparison(tuple(value for part in parts for value in part.psnr), tuple(value for part in parts for value in part.ssim))


def _sizes(pictures: Sequence[Picture]) -> str:
    height, width = pictures[0].shape[:2] if pictures else (0, 0)
    return f"{len(pictures)} pictures of {width} × {height}" if pictures else "no pictures"
