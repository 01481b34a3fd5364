"""Which packets of a batch may carry names, and the few of them as rows.

In: `Packets`. Out: `Bearer` rows. Never: a Python step for a packet that no reader asks for.

A packet is a candidate by its first two payload bytes or its source port, one look into a table each; the readers look
at more of the candidates, all at once. A connection is the 37 bytes of its two addresses, two ports and protocol.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from egress_watch.fast import NO_NAMES, NameTables, PlainNames, accelerator
from egress_watch.model import NAMES, PAD_BYTES, Bytes, Flags, Ints, Packets, Ports, Wish, Words
from egress_watch.names.reader import TCP, Bearer, Candidates, Mask, Reader

MOST_TCP_HEADER_BYTES = 60
NO_SEQUENCE = -1

Rows = NDArray[np.intp]
Wanted = tuple[int, Reader]
"""A row of a stretch, and a reader that wants it."""

_CONNECTION = np.dtype([("client", ">u8", 2), ("server", ">u8", 2), ("ports", ">u2", 2), ("protocol", "u1")])
# RFC 9293, section 3.1; the options follow.
_TCP_HEADER = np.dtype([("ports", ">u2", 2), ("sequence", ">u4"), ("ack", ">u4"), ("words", "u1"), ("flags", "u1")])


class Stretch(NamedTuple):
    """Consecutive packets, with the columns that names are read from."""

    row: int
    """The number of the first among all packets heard."""
    data: Bytes
    time_ns: Ints
    src: Words
    dst: Words
    src_port: Ports
    dst_port: Ports
    protocol: Flags
    tcp_flags: Flags
    payload: Ints
    payload_bytes: Ints

    def last(self, count: int) -> Stretch:
        """Return a copy of the last packets, over a buffer of their own."""
        first = max(len(self.time_ns) - count, 0)
        columns: list[Any] = [column[first:].copy() for column in self[2:]]
        kept = Stretch(self.row + first, self.data, *columns)
        start = max(int(kept.payload.min(initial=len(self.data))) - MOST_TCP_HEADER_BYTES, 0)
        end = int((kept.payload + kept.payload_bytes).max(initial=start)) + PAD_BYTES
        return kept._replace(data=self.data[start:end].copy(), payload=kept.payload - start)

    def then(self, other: Stretch) -> Stretch:
        """Return this stretch with the one that follows it."""
        later: list[Any] = list(other._replace(payload=other.payload + len(self.data)))
        pairs: list[Any] = list(zip(self, later, strict=True))
        columns: list[Any] = [np.concatenate(pair) for pair in pairs[1:]]
        return Stretch(self.row, *columns)


class Sieve:
    """The tables that tell the candidates of some readers, at most eight: each has a bit.

    ``plainest`` are those of TLS, HTTP and DNS, whose plainest packets the accelerator reads by itself, and that of
    QUIC, of which it knows the ``initials``, and how many bytes they have at least.
    """

    def __init__(
        self, readers: Sequence[Reader], plainest: Sequence[Reader] = (), initials: tuple[Words, int] | None = None,
        seed: int = 0,
    ) -> None:  # fmt: skip
        self._readers = readers
        self._first = np.zeros(1 << 8, np.uint8)
        self._beginning = np.zeros(1 << 16, np.uint8)
        self._port = np.zeros(1 << 16, np.uint8)
        self._protocol = np.zeros(1 << 8, np.uint8)
        for number, reader in enumerate(readers):
            bit = 1 << number
            self._protocol[reader.PROTOCOL] |= bit
            self._port[list(reader.PORTS)] |= bit
            self._first[[one[0] for one in reader.BEGINNINGS]] |= bit
            self._beginning[np.frombuffer(b"".join(reader.BEGINNINGS), np.uint16)] |= bit
        tables = self._first, self._beginning, self._port, self._protocol
        bits = dict(zip(("tls", "http", "dns", "quic"), map(self.bit, plainest), strict=False))
        begins = dict(zip(("initials", "initial_bytes"), initials or (), strict=False))
        given: dict[str, Any] = bits | begins
        fast = accelerator() if plainest else None
        self._finder = fast.names(NameTables(*tables, **given), seed) if fast else None

    def bit(self, reader: Reader) -> int:
        """Return the bit of a reader."""
        return 1 << self._readers.index(reader)

    def wishes(self) -> list[Wish]:
        """Return what readers may want, which is a little more than they do."""
        return [
            Wish(reader.PROTOCOL, reader.PORTS, first_bytes=tuple({one[0] for one in reader.BEGINNINGS}))
            for reader in self._readers
        ]

    def sift(self, stretch: Stretch, rows: Rows) -> list[Wanted]:
        """Return which of these packets readers want and who wants them, in the order of the packets."""
        hit = self._first.take(stretch.data.take(stretch.payload[rows]))
        hit |= self._port.take(stretch.src_port[rows])
        hit &= self._protocol.take(stretch.protocol[rows])
        rows, hit = rows[hit > 0], hit[hit > 0]
        beginning = windows(stretch.data, np.dtype(np.uint16))[stretch.payload[rows]]
        hit &= self._beginning[beginning] | self._port[stretch.src_port[rows]]
        return self._wanted(stretch, rows, hit)

    def find(self, packets: Packets, stretch: Stretch) -> list[Wanted]:
        """Return what `sift` does of the packets marked, but for the plainest: their names wait for `take`."""
        if self._finder:
            return self._wanted(stretch, *self._finder.find(packets, stretch.row))
        rows = packets.marked(NAMES)
        return self.sift(stretch, rows) if len(rows) else []

    @property
    def waiting(self) -> bool:
        """Whether there are names to `take`."""
        return self._finder is not None and self._finder.waiting

    @property
    def crowded(self) -> bool:
        """Whether it is time to `take` the names that wait."""
        return self._finder is not None and self._finder.crowded

    def take(self) -> PlainNames:
        """Return the names of the plainest packets found since the last call."""
        return self._finder.take() if self._finder else NO_NAMES

    def _wanted(self, stretch: Stretch, rows: Ints, hit: Flags) -> list[Wanted]:
        """Ask the readers which of their candidates they want."""
        if not len(rows):
            return []
        bits = int(np.bitwise_or.reduce(hit))
        head = windows(stretch.data, np.dtype(np.uint64))[stretch.payload[rows]]
        size = stretch.payload_bytes[rows]
        found: list[Wanted] = []
        for number, reader in enumerate(self._readers):
            if bits >> number & 1:
                here = np.flatnonzero(hit & np.uint8(1 << number))
                wanted = reader.wanted(Candidates(size[here], head[here]))
                found += [(row, reader) for row in rows[here[wanted]].tolist()]
        found.sort(key=_first)
        return found


def _first(found: Wanted) -> int:
    return found[0]


def windows(data: Bytes, kind: np.dtype[Any]) -> NDArray[Any]:
    """Return the elements that start at each byte of a buffer, laid over each other; none is copied."""
    spans = max(len(data) - kind.itemsize + 1, 0)
    return np.ndarray((spans,), kind, buffer=data, strides=(1,))


def stretch_of(packets: Packets, row: int) -> Stretch:
    """Return the columns of a batch whose first packet has this number."""
    return Stretch(
        row, packets.data, packets.time_ns, packets.src, packets.dst, packets.src_port, packets.dst_port,
        packets.protocol, packets.tcp_flags, packets.payload, packets.payload_bytes,
    )  # fmt: skip


def bearers(stretch: Stretch, rows: Sequence[int] | Ints, sequences: Sequence[int] = ()) -> list[Bearer]:
    """Return some packets of a stretch as rows; ``sequences`` are their TCP sequence numbers, where they matter."""
    at = np.asarray(rows, np.int64)
    ports = np.stack((stretch.src_port[at], stretch.dst_port[at]), axis=1)
    keys = connections(stretch.src[at], stretch.dst[at], ports, stretch.protocol[at])
    start = stretch.payload[at]
    spans = zip(start.tolist(), (start + stretch.payload_bytes[at]).tolist(), strict=True)
    payloads = [stretch.data[one:end].tobytes() for one, end in spans]
    numbers = sequences or [NO_SEQUENCE] * len(at)
    return list(map(Bearer, (at + stretch.row).tolist(), stretch.time_ns[at].tolist(), keys, payloads, numbers))


def connections(client: Words, server: Words, ports: NDArray[Any], protocol: Flags) -> list[bytes]:
    """Return (n,) the keys of connections, in the order of the wire."""
    keys = np.empty(len(protocol), _CONNECTION)
    keys["client"], keys["server"], keys["ports"], keys["protocol"] = client, server, ports, protocol
    found: list[bytes] = keys.view(f"V{_CONNECTION.itemsize}").tolist()
    return found


def sequences(stretch: Stretch, rows: Ints) -> list[int]:
    """Return the TCP sequence number of the first payload byte of some segments, NO_SEQUENCE where it cannot be told.

    `Packets` does not carry it, since so few packets need it. The header lies right before the payload: it is the one
    with the ports, the length and the flags of the packet (RFC 9293, section 3.1).
    """
    found = np.full(len(rows), NO_SEQUENCE, np.int64)
    headers = windows(stretch.data, _TCP_HEADER)
    for length in (32, 20, *range(24, 32, 4), *range(36, MOST_TCP_HEADER_BYTES + 1, 4)):
        open_rows = np.flatnonzero(found == NO_SEQUENCE)
        if not len(open_rows):
            break
        at = stretch.payload[rows[open_rows]] - length
        open_rows, at = open_rows[at >= 0], at[at >= 0]
        header = headers[at]
        fits = _fits(stretch, rows[open_rows], header, length)
        found[open_rows[fits]] = header["sequence"][fits]
    return found.tolist()


def _fits(stretch: Stretch, rows: Ints, header: NDArray[Any], length: int) -> Mask:
    """Return (n,) whether these are the TCP headers of these packets."""
    fits: Mask = (header["ports"][:, 0] == stretch.src_port[rows]) & (header["ports"][:, 1] == stretch.dst_port[rows])
    fits &= (header["words"] >> 4) * 4 == length
    fits &= header["flags"] == stretch.tcp_flags[rows]
    return fits


def on_ports(stretch: Stretch, ports: Iterable[int]) -> Ints:
    """Return the TCP segments with payload that come from some ports."""
    table = np.zeros(1 << 16, np.bool_)
    table[list(ports)] = True
    return np.flatnonzero(table[stretch.src_port] & (stretch.protocol == TCP) & (stretch.payload_bytes > 0))
