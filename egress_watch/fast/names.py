"""Names found by the accelerator, as Python sees them.

In: packets, and the tables that tell who may want one. Out: the plainest names as bytes, and the packets that are left
to the readers in Python. Never: a text that was not looked at: `names` does that.
"""

from __future__ import annotations

from ctypes import byref
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from egress_watch.fast.books import Numbers
from egress_watch.fast.layout import NameSift, place_of
from egress_watch.model import Flags, Ints, Packets, Words

ROOM = 1 << 13
"""Names that may wait, and addresses; what is beyond is left, as is what has no room for its text.

Taking many at once costs half of taking those of one batch: what is needed for it is then at hand.
"""
MOST_TEXTS, TEXT_BYTES = 1 << 14, 1 << 19
"""Texts that are at hand, and bytes of them: most names are said again and again."""
TEXT = np.dtype([("end", np.int64), ("hash", np.uint32), ("reader", np.uint8), ("spare", np.uint8, (3,))])
"""``struct text`` in names.c says the same."""
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
    quic: int = 0
    """The bit of a reader that only wants packets which begin with one of its initials, 0 for none."""
    initials: Words = np.empty(0, np.uint64)
    """(k,) The upper half of the first byte, shifted up by 32, and the four bytes behind it."""
    initial_bytes: int = 0
    """Such a packet has at least so many bytes."""


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
    text: Numbers
    """(n,) The number of its text among the following."""
    texts: list[bytes]
    """As they stand in the packet: of DNS with the lengths of its labels, of HTTP with the port, if any.

    Each is there once for each reader. As long as this is the same list, numbers stay, and more texts are added.
    """


def _no_names() -> PlainNames:
    none, no_bytes = np.empty(0, np.int64), np.empty(0, np.uint8)
    keys, pairs = np.empty((0, KEY_BYTES), np.uint8), np.empty((0, 2 * ADDRESS_BYTES), np.uint8)
    return PlainNames(none, none, no_bytes, keys, none, pairs, none, np.empty(0, np.int32), [])


NO_NAMES = _no_names()


class NameFinder:
    """The accelerator's sieve, with room of its own that is used for every batch."""

    def __init__(self, sift: Any, tables: NameTables, seed: int) -> None:
        self._sift = sift
        self._tables = tables  # their memory must not go
        self._out: dict[str, NDArray[Any]] = {
            "row": np.empty(ROOM, np.int64), "time_ns": np.empty(ROOM, np.int64), "reader": np.empty(ROOM, np.uint8),
            "connection": np.empty((ROOM, KEY_BYTES), np.uint8), "text": np.empty(ROOM, np.int32),
            "addresses": np.empty(ROOM, np.int64), "address": np.empty((ROOM, 2 * ADDRESS_BYTES), np.uint8),
            "ttl_s": np.empty(ROOM, np.int64), "texts": np.empty(MOST_TEXTS, TEXT),
            "index": np.zeros(2 * MOST_TEXTS, np.int32), "bytes": np.empty(TEXT_BYTES, np.uint8),
        }  # fmt: skip
        places = {name: place_of(column) for name, column in self._out.items()}
        given = {name: place_of(one) if isinstance(one, np.ndarray) else one for name, one in tables._asdict().items()}
        self._struct = NameSift(
            **given, initial_count=len(tables.initials), seed=seed,
            room=ROOM, most_texts=MOST_TEXTS, text_room=TEXT_BYTES, address_room=ROOM, **places,
        )  # fmt: skip
        self._left, self._wanting = np.empty(0, np.int64), np.empty(0, np.uint8)
        self._texts: list[bytes] = []

    @property
    def waiting(self) -> bool:
        """Whether there are names to `take`."""
        return bool(self._struct.count)

    @property
    def crowded(self) -> bool:
        """Whether so many names wait to be taken that there may be no room for those of another batch."""
        return 2 * max(self._struct.count, self._struct.address_count) > ROOM or self._full

    @property
    def _full(self) -> bool:
        """Whether it is time to begin anew with texts."""
        struct = self._struct
        return bool(4 * struct.text_count > 3 * MOST_TEXTS or 4 * struct.text_bytes > 3 * TEXT_BYTES)

    def find(self, packets: Packets, row: int) -> tuple[NDArray[np.int64], Flags]:
        """Read the packets that are marked, all where there are no marks; return those left to other readers.

        Beside them are the bits of those readers; both hold until the next call. ``row`` is the number of the first
        packet. Names that were read wait for `take`.
        """
        struct, count = self._struct, len(packets)
        if count > len(self._left):
            self._left, self._wanting = np.empty(count, np.int64), np.empty(count, np.uint8)
            struct.left, struct.wanting = place_of(self._left), place_of(self._wanting)
        struct.data, struct.size, struct.packets = place_of(packets.data), len(packets.data), count
        mark = np.ascontiguousarray(packets.mark)
        struct.mark = place_of(mark) if len(mark) else None
        struct.first_row = row
        kept = [np.ascontiguousarray(getattr(packets, name), kind) for name, (_, kind) in _COLUMNS.items()]
        for (name, _), column in zip(_COLUMNS.values(), kept, strict=True):
            setattr(struct, name, place_of(column))
        self._sift(byref(struct))
        return self._left[: struct.left_count], self._wanting[: struct.left_count]

    def take(self) -> PlainNames:
        """Return the names read since the last call."""
        struct, out = self._struct, self._out
        if not struct.count:
            return NO_NAMES
        count = dict.fromkeys(out, struct.count) | dict.fromkeys(("address", "ttl_s"), struct.address_count)
        row, time_ns, reader, connection, ends, asked, ttl_s, text = (
            out[name][: count[name]].copy()
            for name in ("row", "time_ns", "reader", "connection", "addresses", "address", "ttl_s", "text")
        )
        found = PlainNames(row, time_ns, reader, connection, ends, asked, ttl_s, text, self._learned())
        struct.count = struct.address_count = 0
        if self._full:
            struct.text_count = struct.text_bytes = 0
            out["index"][:], self._texts = 0, []
        return found

    def _learned(self) -> list[bytes]:
        """Return all texts, with those that have come since the last call."""
        known, count = len(self._texts), self._struct.text_count
        if known < count:
            ends = self._out["texts"]["end"][max(known - 1, 0) : count].tolist()
            starts = ends if known else [0, *ends]
            raw = self._out["bytes"][: ends[-1]].tobytes()
            self._texts += [raw[start:end] for start, end in pairwise(starts)]
        return self._texts


_COLUMNS: dict[str, tuple[str, type[np.generic]]] = {
    "src": ("src", np.uint64), "dst": ("dst", np.uint64), "src_port": ("src_port", np.uint16),
    "dst_port": ("dst_port", np.uint16), "protocol": ("protocol", np.uint8), "payload": ("payload", np.int64),
    "payload_bytes": ("payload_bytes", np.int64), "time_ns": ("packet_ns", np.int64),
}  # fmt: skip
"""The columns of `model.Packets` that are looked at, by what they are called in `NameSift`."""
