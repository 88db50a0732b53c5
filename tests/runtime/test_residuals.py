"""How stored residuals are put together again."""

from __future__ import annotations

import torch

from magcache.runtime.residuals import Stored, assemble

CPU = torch.device("cpu")


def rows(count: int, first: int = 0) -> torch.Tensor:
    return torch.arange(first, first + count * 6, dtype=torch.float32).reshape(count, 3, 2)


def test_rows_only():
    whole = rows(4)
    assert torch.equal(Stored(whole, 1, 2).rows_only, whole[1:3])


def test_parts_of_one_recording_are_not_copied():
    whole = rows(4)
    together = assemble([Stored(whole, 0, 2), Stored(whole, 2, 2)], CPU)
    assert together is whole
    beginning = assemble([Stored(whole, 0, 2)], CPU)
    assert torch.equal(beginning, whole[:2])
    assert beginning.data_ptr() == whole.data_ptr()


def test_other_orders_and_parts():
    whole = rows(3)
    parts = [Stored(whole, row, 1) for row in range(3)]
    for order in ([1, 0], [2, 1, 0], [1, 2], [2], [0, 0], [0, 2]):
        assert torch.equal(assemble([parts[row] for row in order], CPU), whole[order])


def test_parts_of_several_recordings():
    one, other = rows(2), rows(2, first=100)
    parts = [Stored(one, 0, 1), Stored(other, 1, 1), Stored(one, 1, 1)]
    assert torch.equal(assemble(parts, CPU), torch.stack([one[0], other[1], one[1]]))
    assert torch.equal(assemble(parts[:2], CPU), torch.stack([one[0], other[1]])), "in place, but of another recording"
    twins = [Stored(one, 0, 2), Stored(other, 0, 2)]
    assert torch.equal(assemble(twins, CPU), torch.cat([one, other])), "the other recording's rows are not taken for this one's"


def test_arrives_on_the_device():
    meta = torch.device("meta")
    whole = rows(2)
    assert assemble([Stored(whole, 0, 2)], meta).device == meta
    assert assemble([Stored(whole, 0, 1)], meta).shape == (1, 3, 2)
