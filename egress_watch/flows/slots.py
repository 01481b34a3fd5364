"""The open flows as columns, found by key through open addressing.

In: keys and rows. Out: slot numbers. Never: a decision about when a flow ends.

A slot is one row in all columns. ``index`` holds slot numbers by hash, with linear probing; a freed place stays marked
until the index is laid anew.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from egress_watch.flows.keys import KEY_WORDS, same
from egress_watch.model import Ints, Words

Slot = NDArray[np.intp]

FREE, TOMB = -1, -2
LATE = np.iinfo(np.int64).max // 2
"""Later than any packet, and safe to add a time-out to."""

_COLUMNS: dict[str, tuple[type[np.generic], tuple[int, ...], int]] = {
    "key": (np.uint64, (KEY_WORDS,), 0),
    "hash": (np.uint64, (), 0),
    "place": (np.int64, (), 0),
    "live": (np.bool_, (), 0),
    "serial": (np.int64, (), 0),
    "first_ns": (np.int64, (), np.iinfo(np.int64).max),
    "last_ns": (np.int64, (), np.iinfo(np.int64).min),
    "first_clock": (np.int64, (), LATE),
    "last_clock": (np.int64, (), -LATE),
    "closing": (np.int64, (), LATE),
    "idle_ns": (np.int64, (), 0),
    "packets": (np.int64, (2,), 0),
    "bytes": (np.int64, (2,), 0),
    "flags": (np.uint8, (2,), 0),
    "mac": (np.uint64, (2,), 0),
    "vlan": (np.uint16, (), 0),
    "device_is_low": (np.bool_, (), 0),
}
COUNTERS = ("first_ns", "last_ns", "first_clock", "closing", "packets", "bytes", "flags", "vlan")
"""What starts anew when a running flow is cut."""


class Slots:
    """Columns of open flows, grown by doubling; a column pair is (lower end, higher end) of the key."""

    key: Words
    hash: Words
    place: Ints
    live: NDArray[np.bool_]
    serial: Ints
    """Number of the packet that began the flow: slot numbers depend on how the input was cut, this does not."""
    first_ns: Ints
    last_ns: Ints
    first_clock: Ints
    last_clock: Ints
    closing: Ints
    """Clock of the first FIN or RST, LATE where none was seen."""
    idle_ns: Ints
    packets: Ints
    bytes: Ints
    flags: NDArray[np.uint8]
    mac: Words
    vlan: NDArray[np.uint16]
    device_is_low: NDArray[np.bool_]

    def __init__(self, size: int = 1 << 12) -> None:
        for name, (kind, shape, fill) in _COLUMNS.items():
            setattr(self, name, np.full((size, *shape), fill, kind))
        self._free = list(range(size - 1, -1, -1))
        self.index = np.full(4 * size, FREE, np.int32)
        self._marks = 0

    def __len__(self) -> int:
        """Return the number of open flows."""
        return len(self.live) - len(self._free)

    def find(self, key: Words, mixed: Words) -> Slot:
        """Return the slot of each key, -1 where there is none."""
        found = np.full(len(key), -1, np.intp)
        mask = len(self.index) - 1
        rows = np.arange(len(key))
        place = (mixed & np.uint64(mask)).astype(np.intp)
        while len(rows):
            slot = self.index[place[rows]].astype(np.intp)
            rows, slot = rows[slot != FREE], slot[slot != FREE]
            hit = (slot >= 0) & (self.hash[slot] == mixed[rows])
            hit[hit] = same(self.key[slot[hit]], key[rows[hit]])
            found[rows[hit]] = slot[hit]
            rows = rows[~hit]
            place[rows] = (place[rows] + 1) & mask
        return found

    def open(self, key: Words, mixed: Words) -> Slot:
        """Return new slots for keys that are all different and not there yet, in this order."""
        slots = self.reserve(len(key))
        self.key[slots], self.hash[slots] = key, mixed
        self._room()
        self._enter(slots)
        return slots

    def reserve(self, count: int) -> Slot:
        """Return this many slots that no key points to yet."""
        while len(self._free) < count:
            self._grow()
        slots = np.array([self._free.pop() for _ in range(count)], np.intp)
        self.live[slots] = True
        return slots

    def succeed(self, old: int, new: int) -> None:
        """Let the key of ``old`` point to ``new`` from now on."""
        for column in (self.key, self.hash, self.place):
            column[new] = column[old]
        self.index[self.place[old]] = new

    def forget(self, slots: Slot) -> None:
        """Free slots whose key goes with them."""
        self.index[self.place[slots]] = TOMB
        self._marks += len(slots)
        self.release(slots)

    def release(self, slots: Slot) -> None:
        """Free slots that no key points to any more."""
        for name, (_, _, fill) in _COLUMNS.items():
            getattr(self, name)[slots] = fill
        self._free.extend(reversed(slots.tolist()))

    def restart(self, slots: Slot) -> None:
        """Set the counters of running flows back, keeping key, sides and last activity."""
        for name in COUNTERS:
            getattr(self, name)[slots] = _COLUMNS[name][2]

    def _grow(self) -> None:
        size = len(self.live)
        for name, (kind, shape, fill) in _COLUMNS.items():
            setattr(self, name, np.concatenate([getattr(self, name), np.full((size, *shape), fill, kind)]))
        self._free[:0] = range(2 * size - 1, size - 1, -1)

    def _room(self) -> None:
        """Keep the index at most half full, marks included."""
        used = len(self) + self._marks
        if 2 * used > len(self.index):
            size = len(self.index)
            while size < 4 * len(self):
                size *= 2
            self._lay(size)

    def _lay(self, size: int) -> None:
        """Lay the index anew, without marks; slots without a place yet are entered by the caller."""
        placed = np.flatnonzero(self.live)
        placed = placed[self.index[self.place[placed]] == placed]
        self.index = np.full(size, FREE, np.int32)
        self._marks = 0
        self._enter(placed)

    def _enter(self, slots: Slot) -> None:
        """Claim a free place for each slot; where several want the same one, one gets it and the others go on."""
        mask = len(self.index) - 1
        place = (self.hash[slots] & np.uint64(mask)).astype(np.intp)
        rows = np.arange(len(slots))
        while len(rows):
            free = self.index[place[rows]] == FREE
            self.index[place[rows[free]]] = slots[rows[free]]
            rows = rows[self.index[place[rows]] != slots[rows]]
            place[rows] = (place[rows] + 1) & mask
        self.place[slots] = place
