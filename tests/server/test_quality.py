"""How close the pictures of whole runs are."""

from __future__ import annotations

import numpy as np
import pytest

from magcache.errors import MagCacheError
from magcache.reports.metrics import IDENTICAL_DB
from magcache.server.quality import combined, compare_pictures

RANDOM = np.random.default_rng(0)
ONE, OTHER = (RANDOM.integers(0, 256, (16, 16, 3), dtype=np.uint8) for _ in range(2))


def test_mean_and_worst_are_taken_over_all_pictures():
    found = combined([compare_pictures([ONE, ONE], [ONE, OTHER]), compare_pictures([ONE], [ONE])])
    facts = found.to_json()
    assert len(found.psnr) == 3 and facts["psnr_worst"] == found.psnr[1] < 15
    assert facts["psnr_mean"] == pytest.approx((2 * IDENTICAL_DB + found.psnr[1]) / 3)
    assert facts["ssim_worst"] == found.ssim[1] < facts["ssim_mean"] < 1


@pytest.mark.parametrize(("full", "pictures"), [([], []), ([ONE], []), ([ONE], [ONE, OTHER]), ([ONE], [ONE[:8]])])
def test_other_numbers_or_sizes_of_pictures_are_refused(full, pictures):
    with pytest.raises(MagCacheError, match="cannot be compared"):
        compare_pictures(full, pictures)
