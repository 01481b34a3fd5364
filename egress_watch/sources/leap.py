"""Follow the records of a pcap file from many places at once: the walk without the accelerator, for large windows.

In: a window and where a record starts in it. Out: the offsets of the records from there on, as far as they are proven.
Never: a guess that is not proven; what this leaves is walked one by one.

Every STRIDE_BYTES something that looks like a record's header is taken for one, and from all of these the lengths are
followed side by side. A guess is proven when the walk from the proven one before it arrives exactly there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from egress_watch.model import Bytes, Ints

STRIDE_BYTES = 1 << 14
LOOK_BYTES = 1 << 11
"""How far behind each place a header is looked for: longer than most frames."""
LEAST_LANES = 16
MOST_STEPS = 512
LIKE = {"<": (3, 2, 10), ">": (0, 1, 9)}
"""By byte order, bytes of a record's header that hardly change: the upper half of the seconds, which is that of the
first record, and the third byte of the captured length, which is 0."""
LENGTH_AT = 8


def leap(data: Bytes, at: int, size: int, header: int, order: str) -> tuple[Ints, int]:
    """Return the offsets of whole records from ``at`` on, and where the first one lies that is not among them."""
    start = _guesses(data, at, size, header, order)
    if len(start) < LEAST_LANES:
        return np.empty(0, np.int64), at
    stop = np.append(start[1:], size - header + 1)
    steps = _side_by_side(data, start, stop, header, order)
    last = steps[-1]
    proven = int(np.argmin(np.append(last[:-1] == start[1:], [False]))) + 1  # lanes; the last of them led elsewhere
    path = steps[:, :proven].T
    offsets: Ints = path[path < stop[:proven, None]]
    if len(steps) > MOST_STEPS:  # that lane was not followed to its end: its last place is still to be read
        offsets = offsets[offsets < last[proven - 1]]
    used = int(last[proven - 1])
    return (offsets, used) if used <= size else (offsets[:-1], int(offsets[-1]))


def _guesses(data: Bytes, at: int, size: int, header: int, order: str) -> Ints:
    """Return where records seem to start, one for each stride at most; the first is ``at``."""
    lanes = (size - at - LOOK_BYTES - header) // STRIDE_BYTES
    if lanes < LEAST_LANES:
        return np.array([at])

    def look(byte: int) -> NDArray[np.uint8]:
        offset = at + STRIDE_BYTES + byte
        return np.ndarray((lanes, LOOK_BYTES), np.uint8, data.data, offset, (STRIDE_BYTES, 1))

    first, second, zero = LIKE[order]
    like = look(first) == data[at + first]
    like &= look(second) == data[at + second]
    like &= look(zero) == 0
    behind = like.argmax(axis=1)
    found = np.flatnonzero(like[np.arange(lanes), behind])
    return np.concatenate([[at], at + STRIDE_BYTES * (found + 1) + behind[found]])


def _side_by_side(data: Bytes, start: Ints, stop: Ints, header: int, order: str) -> Ints:
    """Return the places that each lane comes to, a row a step, until it is at its stop or beyond and stays there."""
    lengths = np.ndarray((len(data) - 3,), "V4", data.data, strides=(1,))
    place, steps = start, [start]
    while (going := place < stop).any() and len(steps) <= MOST_STEPS:
        length = lengths[np.where(going, place, start) + LENGTH_AT].view(order + "u4")
        place = np.where(going, place + (header + length.astype(np.int64)), place)
        steps.append(place)
    return np.stack(steps)
