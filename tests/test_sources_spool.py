"""Batches read ahead by a thread: the same, in order, no more of them than asked for, and no end in silence."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
from build import frames
from namespaces import until

from egress_watch.model import Frames
from egress_watch.sources.spool import Spool

EMPTY = frames()


def numbered(count: int, read: list[int]) -> Iterator[Frames]:
    """Yield batches that tell their number, and note which were asked for."""
    for number in range(count):
        read.append(number)
        yield replace(EMPTY, lost=number)


def test_all_batches_come_in_order():
    """What is read ahead is given as it was read."""
    assert [one.lost for one in Spool(numbered(500, []), 3).frames()] == list(range(500))


def test_no_more_is_read_than_there_is_room_for():
    """While nobody asks, so many batches wait, one is in hand, and none is dropped later."""
    read: list[int] = []
    spool = Spool(numbered(100, read), 4)
    until(lambda: len(spool) == 4 and len(read) == 5, "a full spool")
    assert [one.lost for one in spool.frames()] == list(range(100))


def test_what_reading_raises_is_raised_behind_what_came_before():
    """A failure is no end in silence."""

    def failing() -> Iterator[Frames]:
        yield from numbered(3, [])
        raise OSError("the cable is gone")

    seen = []
    with pytest.raises(OSError, match="the cable is gone"):
        seen.extend(one.lost for one in Spool(failing(), 8).frames())
    told = Spool(failing(), 8).frames()
    assert [next(told).lost for _ in range(3)] == [0, 1, 2]


def test_a_spool_that_nobody_asks_ends_when_told():
    """However full it is, the thread ends, so that what it reads from can be closed."""
    spool = Spool(numbered(1 << 30, []), 2)
    until(lambda: len(spool) == 2, "a full spool")
    spool.stop()
    assert "reader" not in {thread.name for thread in threading.enumerate()}
