"""How close pictures are to those that were sampled in full."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from ..errors import MagCacheError
from ..metrics import psnr, ssim
from .outputs import Picture


@dataclass(frozen=True, slots=True)
class Quality:
    """PSNR in dB and SSIM of each picture or frame."""

    psnr: list[float]
    ssim: list[float]

    @classmethod
    def of(cls, full: Sequence[Picture], pictures: Sequence[Picture]) -> Quality:
        """Raises `MagCacheError` when these are not as many, or not as large."""
        if not full or [picture.shape for picture in full] != [picture.shape for picture in pictures]:
            raise MagCacheError(
                f"The workflow saved {_sizes(full)} in full but {_sizes(pictures)} otherwise, which cannot be compared. "
                "It must end with a node that saves or previews pictures or a video, always as many of the same size."
            )
        pairs = list(zip(full, pictures, strict=True))
        return cls([psnr(*pair) for pair in pairs], [ssim(*pair) for pair in pairs])

    @classmethod
    def together(cls, parts: Iterable[Quality]) -> Quality:
        parts = list(parts)
        return cls([value for part in parts for value in part.psnr], [value for part in parts for value in part.ssim])

    def to_json(self) -> dict[str, float]:
        return {
            "psnr_mean": fmean(self.psnr),
            "psnr_worst": min(self.psnr),
            "ssim_mean": fmean(self.ssim),
            "ssim_worst": min(self.ssim),
        }


def _sizes(pictures: Sequence[Picture]) -> str:
    height, width = pictures[0].shape[:2] if pictures else (0, 0)
    return f"{len(pictures)} pictures of {width} × {height}" if pictures else "no pictures"
