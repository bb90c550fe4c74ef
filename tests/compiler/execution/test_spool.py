"""Batches come back as they were put in, from memory and from disk."""

from __future__ import annotations

import numpy as np
import pytest

from bitsmith.execution.spool import Room, Spool


@pytest.mark.parametrize("limit", [0, 100, 1 << 20])
def test_batches_come_back_in_order_and_again(limit: int) -> None:
    random = np.random.default_rng(0)
    spool = Spool(Room(limit))
    batches = [random.integers(-128, 128, (n, 3, 2)).astype(np.int8) for n in (4, 4, 1)]
    batches += [random.normal(size=(2, 5)).astype(np.float32), np.zeros((0, 5), np.float32)]
    for batch in batches:
        spool.append(batch)
    for _ in range(2):
        assert len(spool) == len(batches)
        for put, got in zip(batches, spool, strict=True):
            assert got.dtype == put.dtype
            np.testing.assert_array_equal(got, put)


def test_a_batch_can_be_appended_after_others_were_read_from_disk() -> None:
    spool = Spool(Room(0))
    spool.append(np.arange(3))
    assert list(next(iter(spool))) == [0, 1, 2]
    spool.append(np.arange(3, 5))
    assert [list(batch) for batch in spool] == [[0, 1, 2], [3, 4]]


def test_spools_share_the_room_and_give_it_back() -> None:
    room = Room(16)
    first, second = Spool(room), Spool(room)
    first.append(np.zeros(12, np.int8))
    second.append(np.zeros(12, np.int8))
    assert room.left == 4
    first.close()
    assert room.left == 16
    second.close()
    assert room.left == 16
    assert len(second) == 0
