"""The page of the transfer benchmark."""

from __future__ import annotations

from benchmarks.transfer import lines


def test_a_row_a_setting():
    rows = {"20 steps": {"nfe": 10, "base": 41.0, "special": 42.5}}
    page = list(lines({"image": {"prompts": 8, "speedup": 2.0, "rows": rows}}))
    assert "| image, 2.0×, 8 prompts | NFE | 30 Euler steps | own calibration | difference |" in page
    assert page[-1] == "| 20 steps | 10 | 41.0 | 42.5 | -1.5 |"
