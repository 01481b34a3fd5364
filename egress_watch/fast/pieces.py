"""A piece of a pcap file in one go: its records walked and its plain frames read while the cache has them.

In: a buffer, maybe the file that goes on where its bytes end, and memory for columns. Out: records, and what could be
read of their frames. Never: a column that lies elsewhere than in that memory.
"""

from __future__ import annotations

from ctypes import addressof, byref
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from egress_watch.fast.layout import FrameBatch, PcapPiece, place_of
from egress_watch.model import Bytes, Easy, EasyTables, Ints

PACKET_COLUMNS: dict[str, type[np.generic]] = {
    "time_ns": np.int64, "src_mac": np.uint64, "dst_mac": np.uint64, "vlan": np.uint16, "version": np.uint8,
    "src": np.uint64, "dst": np.uint64, "src_port": np.uint16, "dst_port": np.uint16, "protocol": np.uint8,
    "tcp_flags": np.uint8, "size": np.int64, "fragment": np.uint8, "fragment_id": np.uint32, "payload": np.int64,
    "payload_bytes": np.int64, "print": np.uint64, "mark": np.uint8,
}  # fmt: skip
"""Column of `model.Packets` to its kind."""
PAIRS = ("src", "dst")
"""Columns of two words a row."""
RECORD_COLUMNS = ("start", "caught", "wire", "time_ns")
LEFT_COLUMNS: dict[str, type[np.generic]] = {"left": np.int64, "place": np.int64, "reason": np.int32}
LINE_BYTES = 64
STAGGER_BYTES = 3 * LINE_BYTES
"""Columns that lie whole pages apart would want the same few places of the cache."""


class Records(NamedTuple):
    """The whole records of a window of a pcap file."""

    start: Ints
    caught: Ints
    wire: Ints
    time_ns: Ints
    used: int
    """Offset of the first record that was not read."""
    length: int
    """What that record claims; 0 where not even its header is there."""


class PcapShape(NamedTuple):
    """What the header of a file says of its records."""

    header: int
    """Bytes of a record's header."""
    most: int
    """Longest record believed."""
    tick_ns: int
    big: bool
    """Whether the highest byte comes first."""
    swap: int
    """0 where the captured length stands first, 1 where it stands second, 2 where it is the smaller one."""


class Piece(NamedTuple):
    """What a piece came to."""

    records: Records
    easy: Easy
    size: int
    """Where the bytes in the buffer end now."""


def packet_columns(count: int, *, prints: bool, marks: bool) -> dict[str, NDArray[Any]]:
    """Return columns of `model.Packets` with room for so many rows, not filled in; the last two where wanted."""
    return {
        name: np.empty((count, 2) if name in PAIRS else count, kind)
        for name, kind in _wanted(prints=prints, marks=marks).items()
    }  # fmt: skip


def _wanted(*, prints: bool, marks: bool) -> dict[str, type[np.generic]]:
    wanted = {"print": prints, "mark": marks}
    return {name: kind for name, kind in PACKET_COLUMNS.items() if wanted.get(name, True)}


class PcapPieces:
    """Reads the pieces of one file by the same tables, at most ``room`` records at once; laid out once."""

    def __init__(self, read: Any, shape: PcapShape, tables: EasyTables, link: NDArray[np.int32]) -> None:
        self._read, self._tables, self._link = read, tables, link  # memory that must not go
        self._room = len(link)
        self._packets = _wanted(prints=tables.prints, marks=tables.marks is not None)
        self._at: dict[str, int] = {}
        at = 0
        records = dict.fromkeys((f"frame_{name}" for name in RECORD_COLUMNS), np.int64)
        for name, kind in (records | self._packets | LEFT_COLUMNS).items():
            self._at[name] = at
            column_bytes = self._room * np.dtype(kind).itemsize * (2 if name in PAIRS else 1)
            at += -(-column_bytes // LINE_BYTES) * LINE_BYTES + STAGGER_BYTES
        self.block_bytes = at
        """Memory that `read` wants for its columns."""
        marks = dict(zip(("port_marks", "first_marks"), map(place_of, tables.marks or ()), strict=False))
        places = {"kinds": place_of(tables.kinds), "ports": place_of(tables.ports), "link": place_of(link)}
        self._batch = FrameBatch(**places, **marks)
        self._piece = PcapPiece(batch=addressof(self._batch))
        self._piece.walk.room = self._room
        for name, value in shape._asdict().items():
            setattr(self._piece.walk, name, value)

    def read(self, data: Bytes, at: int, size: int, descriptor: int, most: int, block: Bytes) -> Piece:
        """Read the whole records from ``at`` on, up to one of more than ``most`` bytes or as many as there is room for.

        Where there is a ``descriptor``, ``data`` is filled from it up to ``most``. The columns lie in ``block``.
        """
        piece, batch, walk = self._piece, self._batch, self._piece.walk
        self._lay(place_of(block))
        walk.data = batch.data = piece.data = place_of(data)
        walk.at, walk.size, batch.size = at, size, len(data)
        piece.descriptor, piece.most = descriptor, most
        batch.left_count = batch.reason_count = 0
        count = self._read(byref(piece))
        start, caught, wire, time_ns = (self._view(block, f"frame_{name}", np.int64, count) for name in RECORD_COLUMNS)
        columns = {name: self._view(block, name, kind, piece.rows) for name, kind in self._packets.items()}
        counts = dict.fromkeys(LEFT_COLUMNS, batch.left_count) | {"reason": batch.reason_count}
        left, place, reason = (self._view(block, name, kind, counts[name]) for name, kind in LEFT_COLUMNS.items())
        easy = Easy(columns, left, place, reason, start, self._tables)
        return Piece(Records(start, caught, wire, time_ns, walk.at, walk.length), easy, walk.size)

    def _lay(self, block: int) -> None:
        """Lay the columns into memory that begins there."""
        batch, walk, at = self._batch, self._piece.walk, self._at
        for name in RECORD_COLUMNS:
            setattr(walk, name, block + at[f"frame_{name}"])
        batch.start, batch.caught, batch.frame_time_ns = walk.start, walk.caught, walk.time_ns
        for name in self._packets:
            setattr(batch, "packet_bytes" if name == "size" else name, block + at[name])
        for name in LEFT_COLUMNS:
            setattr(batch, name, block + at[name])

    def _view(self, block: Bytes, name: str, kind: type[np.generic], count: int) -> NDArray[Any]:
        if name in PAIRS:
            return np.frombuffer(block, kind, 2 * count, self._at[name]).reshape(count, 2)
        return np.frombuffer(block, kind, count, self._at[name])
