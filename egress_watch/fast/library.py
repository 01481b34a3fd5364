"""The accelerator's functions, as Python sees them.

In: columns. Out: columns of the same kinds as NumPy would make them. Never: a call with a column of another kind; the
C side trusts what it is told about memory, and nothing else.
"""

from __future__ import annotations

import os
from ctypes import CDLL, byref, c_int64, c_uint32, c_void_p
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from egress_watch.fast.books import Books
from egress_watch.fast.compile import HERE, LIBRARY, checksum
from egress_watch.fast.devices import DeviceFinder, DeviceTables
from egress_watch.fast.distinct import Kinds
from egress_watch.fast.known import KnownInC
from egress_watch.fast.layout import (
    Alike,
    BlockWalk,
    Copies,
    FlowEnds,
    FlowPiece,
    FrameBatch,
    PcapWalk,
    RecordColumns,
    RingWalk,
    place_of,
)
from egress_watch.fast.names import NameFinder, NameTables
from egress_watch.fast.pieces import PACKET_COLUMNS, PcapPieces, PcapShape, Records, packet_columns
from egress_watch.fast.records import CELL_BYTES, PAGE, VALUE_BYTES, WIDEST, Pages, Rows, most_pages
from egress_watch.model import Bytes, Easy, EasyTables, Frames, Ints, Words

LIKELY_BYTES = 96
"""Records are seldom shorter on average; where they are, the walk is repeated with more room."""
SWITCH = "EGRESS_WATCH_FAST"
FETCHED = {np.dtype(kind) for kind in (np.int64, np.uint32, np.uint16, np.uint8)}
"""Columns that records are made of as they are."""


class Drained(NamedTuple):
    """What was taken out of a ring."""

    start: Ints
    caught: Ints
    wire: Ints
    time_ns: Ints
    used: int
    """Where in the buffer the next frame may go."""
    at: int
    """The slot to look at next."""
    status: int
    """The status words of all slots taken, or-ed."""


class Accelerator:
    """A loaded library."""

    def __init__(self, library: CDLL) -> None:
        self._library = library
        names = ("pcap", "piece", "pcapng", "ring", "frames", "flows", "end", "copies", "devices", "distinct")
        for name in (*names, "records", "row_bytes", "line_bytes", "run_bytes"):
            getattr(library, f"ew_{name}").restype = c_int64
        voids = ("names", "clock", "due", "book_note", "book_index", "books_name")
        for name in (*voids, "known_numbers", "known_learn", "known_index"):
            getattr(library, f"ew_{name}").restype = None
        self.row_bytes: int = library.ew_row_bytes()
        """Size of a row of the flow table."""

    def pcap(self, data: Bytes, at: int, size: int, shape: PcapShape) -> Records:
        """Read the whole records in ``data[at:size]``, up to one of more than ``shape.most`` bytes."""
        room = max(size - at, 0) // LIKELY_BYTES + 1
        while True:
            columns = np.empty((4, room), np.int64)  # one call in place of four
            first = place_of(columns)
            places = range(first, first + columns.nbytes, columns.strides[0])
            walk = PcapWalk(place_of(data), at, size, *shape, *places, room, 0)
            count = self._library.ew_pcap(byref(walk))
            if count < room:  # else there may be more than there was room for
                start, caught, wire, time_ns = columns[:, :count]
                return Records(start, caught, wire, time_ns, walk.at, walk.length)
            room *= 4

    def pieces(self, shape: PcapShape, tables: EasyTables, link: NDArray[np.int32]) -> PcapPieces:
        """Return what reads records, as many at once as ``link`` is long, and the plain frames in them in one go."""
        return PcapPieces(self._library.ew_piece, shape, tables, link)

    def pcapng(self, data: Bytes, at: int, size: int, *, big: bool) -> tuple[Ints, int, int]:
        """Follow the blocks in ``data[at:size]``: offsets, where that ended, the length claimed there or -1."""
        room = max(size - at, 0) // 12 + 1
        offset = np.empty(room, np.int64)
        walk = BlockWalk(place_of(data), at, size, big, place_of(offset), room, -1)
        count = self._library.ew_pcapng(byref(walk))
        return offset[:count], walk.at, walk.length

    def ring(
        self, ring: Bytes, slots: int, stride: int, at: int, data: Bytes, used: int, most: int, *, tagged: bool
    ) -> Drained:
        """Take up to ``most`` frames out of a TPACKET_V2 ring into ``data[used:]``, and hand the slots back.

        ``tagged``: put a VLAN tag that the kernel took off back into the frame.
        """
        columns = [np.empty(most, np.int64) for _ in range(4)]
        places = map(place_of, columns)
        walk = RingWalk(place_of(ring), slots, stride, at, place_of(data), used, len(data), tagged, *places, most, 0)
        count = self._library.ew_ring(byref(walk))
        start, caught, wire, time_ns = (column[:count] for column in columns)
        return Drained(start, caught, wire, time_ns, walk.used, walk.at, walk.status)

    def frames(self, frames: Frames, tables: EasyTables) -> Easy:
        """Read the plain frames: Ethernet, VLAN tags, IPv4 or IPv6, and TCP, UDP or ICMP."""
        count, marks = len(frames), tables.marks
        columns = packet_columns(count, prints=tables.prints, marks=marks is not None)
        left, place, reason = np.empty(count, np.int64), np.empty(count, np.int64), np.empty(count, np.int32)
        given = [np.ascontiguousarray(column, np.int64) for column in (frames.start, frames.caught, frames.time_ns)]
        link = np.ascontiguousarray(frames.link, np.int32)
        into_places = [place_of(columns[name]) if name in columns else None for name in PACKET_COLUMNS]
        into_places += [place_of(column) for column in (left, place, reason)]
        read: list[NDArray[Any]] = [*given, link, tables.kinds, tables.ports]
        from_places = [place_of(column) for column in read]
        from_places += [place_of(column) for column in marks or ()] or [0, 0]
        batch = FrameBatch(place_of(frames.data), len(frames.data), count, *from_places, *into_places, 0, 0)
        rows = self._library.ew_frames(byref(batch))
        easy = {name: column[:rows] for name, column in columns.items()}
        return Easy(easy, left[: batch.left_count], place[: batch.left_count], reason[: batch.reason_count])

    def copies(self, seen: Words, prints: Words, time_ns: Ints, window_ns: int, moment_ns: int) -> Ints:
        """Return the rows that are second copies, and remember all fingerprints but 0 as seen.

        ``seen`` (65536, 2) holds the last fingerprint of each place, and its time.
        A copy has the fingerprint that was seen last in its place at most ``window_ns`` ago, ``moment_ns`` where its
        lowest bit is 0.
        """
        count = len(prints)
        row = np.empty(count, np.int64)
        read = [np.ascontiguousarray(prints, np.uint64), np.ascontiguousarray(time_ns, np.int64)]
        places = [place_of(column) for column in read]
        given = Copies(place_of(seen), count, *places, window_ns, moment_ns, place_of(row))
        return row[: self._library.ew_copies(byref(given))]

    def devices(self, tables: DeviceTables) -> DeviceFinder:
        """Return what finds packets that may say what a device is."""
        return DeviceFinder(self._library.ew_devices, tables)

    def distinct(self, words: Words) -> Kinds:
        """Return the kinds of rows (n, width)."""
        rows, width = words.shape
        words = np.ascontiguousarray(words, np.uint64)
        index = np.full(1 << (2 * rows).bit_length(), -1, np.int32)
        first, which = np.empty(rows, np.int64), np.empty(rows, np.int64)
        given = Alike(place_of(words), width, rows, place_of(index), len(index), place_of(first), place_of(which))
        return Kinds(first[: self._library.ew_distinct(byref(given))], which)

    def records(self, rows: Rows, most: int, before: int) -> Pages:
        """Return rows as pages of an SQLite table, at most so many on one, behind so many empty pages."""
        width, count = len(rows.columns), len(rows.numbers)
        if not 0 < width <= WIDEST:
            raise ValueError("more columns than a record here has, or none")
        kept = [column if column.dtype in FETCHED else column.astype(np.int64) for column in rows.columns]
        kept = [np.ascontiguousarray(column) for column in kept]
        columns, sizes = np.array([place_of(one) for one in kept], np.int64), [one.itemsize for one in kept]
        numbers, bytes_each = np.ascontiguousarray(rows.numbers, np.int64), np.array(sizes, np.uint8)
        nothing = np.ascontiguousarray(rows.nothing.value, np.int64)
        possible = np.ascontiguousarray(rows.nothing.possible, np.uint8)
        if any(len(one) != count for one in kept) or not len(nothing) == len(possible) == width:
            raise ValueError("columns of different lengths")
        made = np.empty((before + most_pages(count, width, most), PAGE), np.uint8)
        made[:before] = 0
        cells, end = np.empty(PAGE + CELL_BYTES + VALUE_BYTES * width, np.uint8), np.empty(len(made), np.int64)
        read = [place_of(column) for column in (numbers, columns, bytes_each, nothing, possible)]
        given = RecordColumns(*read, count, width, most, place_of(cells), place_of(made[before:]), place_of(end))
        pages = self._library.ew_records(byref(given))
        return Pages(made[: before + pages], end[:pages])

    def known(self, width: int) -> KnownInC:
        """Return what remembers numbers of keys of so many words."""
        return KnownInC(self._library, width)

    def names(self, tables: NameTables, seed: int) -> NameFinder:
        """Return what finds names by these tables; the seed mixes hashes, and no result."""
        return NameFinder(self._library.ew_names, tables, seed)

    def books(self, limit: int, seed: int) -> Books:
        """Return empty books of names, each of which keeps at most ``limit``; the seed mixes hashes, and no result."""
        return Books(self._library, limit, seed)

    def clock(self, time_ns: Ints, now_ns: int) -> Ints:
        """Return the clock of packets, which never runs backwards; it was ``now_ns`` before."""
        time_ns, clock = np.ascontiguousarray(time_ns, np.int64), np.empty(len(time_ns), np.int64)
        places = c_void_p(place_of(time_ns)), c_void_p(place_of(clock))
        self._library.ew_clock(places[0], c_int64(len(time_ns)), c_int64(now_ns), places[1])
        return clock

    def flows(self, piece: FlowPiece, at: int) -> int:
        """Take packets into the flow table from row ``at`` on; return the first row for which there was no room."""
        row: int = self._library.ew_flows(byref(piece), c_int64(at))
        return row

    def due(self, ends: FlowEnds, slots: int) -> None:
        """Find which of so many slots hold flows that are over, and how long the others may be left alone."""
        self._library.ew_due(byref(ends), c_int64(slots))

    def end(self, ends: FlowEnds) -> int:
        """Lay records of the flows in some slots, and free these; return how many records there are."""
        records: int = self._library.ew_end(byref(ends))
        return records


def load(folder: Path = HERE) -> Accelerator | None:
    """Load the library in this folder; None where it is missing, of other sources, or turned off."""
    path = folder / LIBRARY
    if os.environ.get(SWITCH) == "0" or not path.exists():
        return None
    try:
        library = CDLL(str(path))
        library.ew_source.restype = c_uint32
        return Accelerator(library) if library.ew_source() == checksum(folder) else None
    except (OSError, AttributeError):  # another machine's library, or none of ours
        return None
