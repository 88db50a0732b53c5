"""How stored residuals are put together again."""

from __future__ import annotations

import pytest
import torch

from magcache.runtime.residuals import Residual, Stored, assemble, bytes_of, combine, offloaded, rows_of, split

CPU = torch.device("cpu")


def rows(count: int, first: int = 0) -> Residual:
    """A residual of two streams, whose numbers are all different."""
    one = torch.arange(first, first + count * 6, dtype=torch.float32).reshape(count, 3, 2)
    other = -torch.arange(first, first + count * 4, dtype=torch.float32).reshape(count, 1, 4)
    return one, other


def taken(residual: Residual, chosen: list[int] | slice) -> Residual:
    return tuple(stream[chosen] for stream in residual)


def equal(one: Residual, other: Residual) -> bool:
    return len(one) == len(other) and all(map(torch.equal, one, other))


def test_own_rows():
    whole = rows(4)
    assert equal(Stored(whole, 1, 2).own_rows, taken(whole, slice(1, 3)))


def test_parts_of_one_recording_are_not_copied():
    whole = rows(4)
    together = assemble([Stored(whole, 0, 2), Stored(whole, 2, 2)], CPU)
    assert all(one is other for one, other in zip(together, whole, strict=True))
    beginning = assemble([Stored(whole, 0, 2)], CPU)
    assert equal(beginning, taken(whole, slice(2)))
    assert [stream.data_ptr() for stream in beginning] == [stream.data_ptr() for stream in whole]


def test_other_orders_and_parts():
    whole = rows(3)
    parts = [Stored(whole, row, 1) for row in range(3)]
    for order in ([1, 0], [2, 1, 0], [1, 2], [2], [0, 0], [0, 2]):
        assert equal(assemble([parts[row] for row in order], CPU), taken(whole, order))


def test_parts_of_several_recordings():
    one, other = rows(2), rows(2, first=100)
    parts = [Stored(one, 0, 1), Stored(other, 1, 1), Stored(one, 1, 1)]
    expected = tuple(torch.stack([a[0], b[1], a[1]]) for a, b in zip(one, other, strict=True))
    assert equal(assemble(parts, CPU), expected)
    assert equal(assemble(parts[:2], CPU), taken(expected, slice(2))), "in place, but of another recording"
    twins = [Stored(one, 0, 2), Stored(other, 0, 2)]
    together = tuple(map(torch.cat, zip(one, other, strict=True)))
    assert equal(assemble(twins, CPU), together), "the other recording's rows are not taken for this one's"


def test_arrives_on_the_device():
    meta = torch.device("meta")
    whole = rows(2)
    assert {stream.device for stream in assemble([Stored(whole, 0, 2)], meta)} == {meta}
    assert {stream.device for stream in assemble([Stored(whole, 1, 1), Stored(whole, 0, 1)], meta)} == {meta}
    assert [stream.shape for stream in assemble([Stored(whole, 0, 1)], meta)] == [(1, 3, 2), (1, 1, 4)]


def test_a_batch_is_split_into_its_rows():
    whole = rows(4)
    assert rows_of(whole) == 4
    assert bytes_of(whole) == 4 * (4 * 6 + 4 * 4)
    parts = split(whole, 2)
    assert len(parts) == 2 and equal(parts[0], taken(whole, slice(2))) and equal(parts[1], taken(whole, slice(2, 4)))


def test_a_weighted_sum():
    one, other = rows(2), rows(2, first=100)
    found = combine([(one, (1.5,)), (other, (-0.5,))])
    assert all(torch.allclose(sum_, 1.5 * a - 0.5 * b) for sum_, a, b in zip(found, one, other, strict=True))
    assert equal(one, rows(2)), "what is added up is not changed"
    assert equal(combine([(one, (1.0,)), (other, (1.0,))]), tuple(a + b for a, b in zip(one, other, strict=True)))
    assert equal(one, rows(2)), "not even the one of weight 1"


def test_each_stream_has_its_own_weights():
    one, other = rows(2), rows(2, first=90)
    image, sound = combine([(one, (1.5, 1.0)), (other, (-0.5, 0.0))])
    assert torch.allclose(image, 1.5 * one[0] - 0.5 * other[0])
    assert sound is one[1], "held, hence not touched"
    both = combine([(one, (1.5,)), (other, (-0.5,))])
    assert torch.allclose(both[1], 1.5 * one[1] - 0.5 * other[1]), "a single weight is that of all streams"
    none = combine([(one, (1.0, 0.0)), (other, (1.0, 0.0))])
    assert not none[1].any()


def test_a_held_residual_is_not_touched():
    whole = rows(2)
    assert all(one is other for one, other in zip(combine([(whole, (1.0,))]), whole, strict=True))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_weighted_sum_keeps_its_type(dtype: torch.dtype):
    half = tuple(stream.to(dtype) for stream in rows(2))
    assert {stream.dtype for stream in combine([(half, (1.5,)), (half, (-0.5,))])} == {dtype}


def test_what_is_on_the_cpu_stays_there():
    whole = rows(2)
    assert all(one is other for one, other in zip(offloaded(whole), whole, strict=True))
