"""The open flows as columns, found by key through open addressing.

In: keys and rows. Out: slot numbers. Never: a decision about when a flow ends.

A slot is one row in all columns. ``index`` holds slot numbers by hash, with linear probing; a freed place stays marked
until the index is laid anew.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from egress_watch.flows.keys import KEY_WORDS
from egress_watch.model import Ints, Words

Slot = NDArray[np.intp]

FREE, TOMB = -1, -2
LATE = np.iinfo(np.int64).max // 2
"""Later than any packet, and safe to add a time-out to."""
NEVER = np.iinfo(np.int64).max
"""In `Slots.due`: the slot is free."""

ROW = np.dtype(
    [
        ("hash", np.uint64), ("key", np.uint64, (KEY_WORDS,)), ("place", np.int64), ("flags", np.uint8, (2,)),
        ("vlan", np.uint16), ("device_is_low", np.bool_), ("spare", np.uint8, (3,)),
        ("packets", np.int64, (2,)), ("bytes", np.int64, (2,)), ("first_ns", np.int64), ("last_ns", np.int64),
        ("first_clock", np.int64), ("last_clock", np.int64), ("idle_ns", np.int64), ("closing", np.int64),
        ("serial", np.int64), ("mac", np.uint64, (2,)), ("spares", np.uint64, (3,)),
    ]
)  # fmt: skip
"""One open flow: three cache lines of 64 bytes, of which the first two are for every packet. ``struct row`` in
egress_watch/fast/flows.c says the same."""

OPAQUE = np.dtype({"names": ["key"], "formats": [f"V{8 * KEY_WORDS}"], "offsets": [8], "itemsize": ROW.itemsize})
"""A row whose key is one value: gathered in one go."""
LINE_BYTES = 64
BLANK = np.zeros(1, ROW)
for _name, _fill in {
    "first_ns": np.iinfo(np.int64).max, "last_ns": np.iinfo(np.int64).min,
    "first_clock": LATE, "last_clock": -LATE, "closing": LATE,
}.items():  # fmt: skip
    BLANK[_name] = _fill
COUNTERS = ("first_ns", "last_ns", "first_clock", "closing", "packets", "bytes", "flags", "vlan")
"""What starts anew when a running flow is cut."""


def _rows(count: int) -> NDArray[np.void]:
    """Return blank rows that begin at a cache line."""
    room = np.empty(count * ROW.itemsize + LINE_BYTES, np.uint8)
    skip = -int(room.__array_interface__["data"][0]) % LINE_BYTES
    rows: NDArray[np.void] = room[skip : skip + count * ROW.itemsize].view(ROW)
    rows[:] = BLANK
    return rows


class Slots:
    """Columns of open flows, grown by doubling; a column pair is (lower end, higher end) of the key.

    The columns are views of ``rows``, in which all that belongs to one flow lies together.
    """

    rows: NDArray[np.void]
    _opaque: NDArray[np.void]
    key: Words
    hash: Words
    place: Ints
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
        self._lay_columns(_rows(size))
        self.due = np.full(size, NEVER)
        """No flow can end before this clock: a bound that a sweep looks at first, and lays anew where it was early."""
        self.free = np.arange(size - 1, -1, -1)
        """A stack of free slots; ``free_count`` of them are there."""
        self.free_count = size
        self.index = np.full(4 * size, FREE, np.int32)
        self._marks = 0

    def _lay_columns(self, rows: NDArray[np.void]) -> None:
        self.rows = rows
        for name in ROW.names or ():
            setattr(self, name, rows[name])
        self._opaque = rows.view(OPAQUE)["key"]

    def __len__(self) -> int:
        """Return the number of open flows."""
        return len(self.rows) - self.free_count

    def find(self, key: Words, mixed: Words) -> tuple[Slot, Slot]:
        """Return the slot of each key, -1 where there is none, and its place in the index or the free one for it."""
        mask = len(self.index) - 1
        place = (mixed & np.uint64(mask)).astype(np.intp)
        found = self.index[place].astype(np.intp)
        rows = np.flatnonzero(self._amiss(found, key, mixed))
        while len(rows):
            place[rows] = (place[rows] + 1) & mask
            found[rows] = self.index[place[rows]]
            rows = rows[self._amiss(found[rows], key[rows], mixed[rows])]
        return found, place

    def _amiss(self, found: Slot, key: Words, mixed: Words) -> NDArray[np.bool_]:
        """Return where the place holds something that is not this key."""
        amiss: NDArray[np.bool_] = self.hash[found] != mixed
        sure = ~amiss
        if (found < 0).any():
            amiss = (amiss | (found == TOMB)) & (found != FREE)
            sure &= found >= 0
        rows = slice(None) if sure.all() else np.flatnonzero(sure)
        equal = self._opaque[found[rows]].view(np.uint64).reshape(-1, KEY_WORDS) == key[rows]
        if not equal.all():  # two keys of one hash: hardly ever
            amiss[rows] = ~equal.all(axis=1)
        return amiss

    def open(self, rows: Slot, place: Slot, key: Words, mixed: Words) -> tuple[Slot, Slot]:
        """Open a slot for the first of the ``rows`` that want the same place; return those rows and their slots.

        ``key`` and ``mixed`` are of all rows; room for so many has been made, and none of the keys is there yet.
        """
        self.index[place[::-1]] = rows[::-1]  # written backwards, so that the first one stays
        first = self.index[place] == rows
        begins, place = rows[first], place[first]
        slots = self.reserve(len(begins))
        self.key[slots], self.hash[slots], self.place[slots] = key[begins], mixed[begins], place
        self.index[place] = slots
        return begins, slots

    def follow(self, place: Slot, key: Words, mixed: Words) -> Slot:
        """Return what stands at these places where it is these keys', -1 elsewhere."""
        found = self.index[place].astype(np.intp)
        found[self._amiss(found, key, mixed)] = -1
        return found

    def cells(self, name: str, slot: Slot, side: NDArray[np.integer[Any]]) -> tuple[NDArray[Any], Slot]:
        """Return a column pair laid flat over all rows, and where in it one side of each slot is."""
        assert ROW.fields
        field, offset = ROW.fields[name][:2]
        kind = field.base
        cell: Slot = slot * (ROW.itemsize // kind.itemsize) + (offset // kind.itemsize) + side
        return self.rows.view(kind), cell

    @property
    def live(self) -> Slot:
        """The slots that are in use."""
        return np.flatnonzero(self.due != NEVER)

    def reserve(self, count: int) -> Slot:
        """Return this many slots that no key points to yet."""
        while self.free_count < count:
            self._grow()
        self.free_count -= count
        slots: Slot = self.free[self.free_count : self.free_count + count][::-1].copy()
        self.due[slots] = -LATE  # until the flow begins
        return slots

    @property
    def used(self) -> int:
        """How many places of the index are taken, marks included."""
        return len(self) + self._marks

    def make_room(self, count: int) -> bool:
        """Make room for so many more flows, and keep the index at most half full; return whether places changed."""
        while self.free_count < count:
            self._grow()
        if 2 * (self.used + count) > len(self.index):
            size = len(self.index)
            while size < 4 * (len(self) + count):
                size *= 2
            self._lay(size)
            return True
        return False

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
        self.rows[slots] = BLANK
        self.due[slots] = NEVER
        self.free[self.free_count : self.free_count + len(slots)] = slots[::-1]
        self.free_count += len(slots)

    def freed(self, free_count: int, forgotten: int) -> None:
        """Note that so many slots are free now, and of so many the key went with them."""
        self.free_count = free_count
        self._marks += forgotten

    def restart(self, slots: Slot) -> None:
        """Set the counters of running flows back, keeping key, sides and last activity."""
        for name in COUNTERS:
            getattr(self, name)[slots] = BLANK[name][0]

    def _grow(self) -> None:
        old, size = self.rows, len(self.rows)
        rows = _rows(2 * size)
        rows[:size] = old
        self._lay_columns(rows)
        self.due = np.concatenate([self.due, np.full(size, NEVER)])
        self.free = np.concatenate([np.arange(2 * size - 1, size - 1, -1), self.free])
        self.free_count += size

    def _lay(self, size: int) -> None:
        """Lay the index anew, without marks; slots without a place yet are entered by the caller."""
        placed = self.live
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
