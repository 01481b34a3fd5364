"""Names found by the accelerator, as Python sees them.

In: packets, and the tables that tell who may want one. Out: the plainest names as bytes, and the packets that are left
to the readers in Python. Never: a text that was not looked at: `names` does that.
"""

from __future__ import annotations

from ctypes import byref
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from egress_watch.fast.layout import NameSift, place_of
from egress_watch.model import Flags, Ints, Packets

ROOM = 1 << 13
"""Names that may wait, and addresses; what is beyond is left, as is what has no room for its text.

Taking many at once costs half of taking those of one batch: what is needed for it is then at hand.
"""
TEXT_BYTES = 1 << 18
KEY_BYTES, ADDRESS_BYTES = 37, 16


class NameTables(NamedTuple):
    """Who may want a packet: a bit for each reader."""

    first: Flags
    """(256,) By the first byte of the payload."""
    beginning: Flags
    """(65536,) By the first two, as they lie in memory."""
    ports: Flags
    """(65536,) By source port."""
    protocols: Flags
    """(256,) By protocol."""
    tls: int
    """The bits of the readers whose plainest packets are read here, 0 where nobody asked for them."""
    http: int
    dns: int


class PlainNames(NamedTuple):
    """Names read of some packets; columns of length n, in the order of the packets."""

    row: Ints
    """The numbers of the packets."""
    time_ns: Ints
    reader: Flags
    """The bit of its reader."""
    connection: NDArray[np.uint8]
    """(n, 37) Client, server (16 bytes each), their ports (2 bytes each) and the protocol, as the packet goes."""
    ends: Ints
    """Where the addresses of each end in what follows; they begin where those of the one before end."""
    asked: NDArray[np.uint8]
    """(k, 32) Who asked, and the address, 16 bytes each."""
    ttl_s: Ints
    """(k,) How long each address holds."""
    name: list[bytes]
    """(n,) As it stands in the packet: of DNS with the lengths of its labels, of HTTP with the port, if any."""


def _no_names() -> PlainNames:
    none, no_bytes = np.empty(0, np.int64), np.empty(0, np.uint8)
    keys, pairs = np.empty((0, KEY_BYTES), np.uint8), np.empty((0, 2 * ADDRESS_BYTES), np.uint8)
    return PlainNames(none, none, no_bytes, keys, none, pairs, none, [])


NO_NAMES = _no_names()


class NameFinder:
    """The accelerator's sieve, with room of its own that is used for every batch."""

    def __init__(self, sift: Any, tables: NameTables) -> None:
        self._sift = sift
        self._tables = tables  # their memory must not go
        self._out: dict[str, NDArray[Any]] = {
            "row": np.empty(ROOM, np.int64), "time_ns": np.empty(ROOM, np.int64), "reader": np.empty(ROOM, np.uint8),
            "connection": np.empty((ROOM, KEY_BYTES), np.uint8), "bytes": np.empty(ROOM, np.int64),
            "text": np.empty(TEXT_BYTES, np.uint8), "addresses": np.empty(ROOM, np.int64),
            "address": np.empty((ROOM, 2 * ADDRESS_BYTES), np.uint8), "ttl_s": np.empty(ROOM, np.int64),
        }  # fmt: skip
        places = {name: place_of(column) for name, column in self._out.items()}
        given = [place_of(table) if isinstance(table, np.ndarray) else table for table in tables]
        self._struct = NameSift(*given, ROOM, TEXT_BYTES, ROOM, **places)
        self._left, self._wanting = np.empty(0, np.int64), np.empty(0, np.uint8)

    @property
    def waiting(self) -> bool:
        """Whether there are names to `take`."""
        return bool(self._struct.count)

    @property
    def crowded(self) -> bool:
        """Whether so many names wait to be taken that there may be no room for those of another batch."""
        struct = self._struct
        return bool(2 * max(struct.count, struct.address_count) > ROOM or 2 * struct.text_bytes > TEXT_BYTES)

    def find(self, packets: Packets, rows: NDArray[np.intp], row: int) -> tuple[NDArray[np.int64], Flags]:
        """Read these rows of packets; return those left to other readers, and the bits of those readers.

        ``row`` is the number of the first packet.

        Names that were read wait for `take`.
        """
        struct, count = self._struct, len(rows)
        if count > len(self._left):
            self._left, self._wanting = np.empty(count, np.int64), np.empty(count, np.uint8)
            struct.left, struct.wanting = place_of(self._left), place_of(self._wanting)
        struct.data, struct.size = place_of(packets.data), len(packets.data)
        struct.rows, struct.row_count = place_of(rows), count
        struct.first_row = row
        kept = [np.ascontiguousarray(getattr(packets, name), kind) for name, (_, kind) in _COLUMNS.items()]
        for (name, _), column in zip(_COLUMNS.values(), kept, strict=True):
            setattr(struct, name, place_of(column))
        self._sift(byref(struct))
        return self._left[: struct.left_count].copy(), self._wanting[: struct.left_count].copy()

    def take(self) -> PlainNames:
        """Return the names read since the last call."""
        struct, out = self._struct, self._out
        if not struct.count:
            return NO_NAMES
        ends = np.cumsum(out["bytes"][: struct.count]).tolist()
        text = out["text"][: struct.text_bytes].tobytes()
        names = [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]
        count = dict.fromkeys(out, struct.count) | dict.fromkeys(("address", "ttl_s"), struct.address_count)
        row, time_ns, reader, connection, address_ends, asked, ttl_s = (
            out[name][: count[name]].copy()
            for name in ("row", "time_ns", "reader", "connection", "addresses", "address", "ttl_s")
        )
        struct.count = struct.text_bytes = struct.address_count = 0
        return PlainNames(row, time_ns, reader, connection, address_ends, asked, ttl_s, names)


_COLUMNS: dict[str, tuple[str, type[np.generic]]] = {
    "src": ("src", np.uint64), "dst": ("dst", np.uint64), "src_port": ("src_port", np.uint16),
    "dst_port": ("dst_port", np.uint16), "protocol": ("protocol", np.uint8), "payload": ("payload", np.int64),
    "payload_bytes": ("payload_bytes", np.int64), "time_ns": ("packet_ns", np.int64),
}  # fmt: skip
"""The columns of `model.Packets` that are looked at, by what they are called in `NameSift`."""
