"""Read the pcap format, the classic one of libpcap.

In: bytes. Out: frames. Never: trust in a length field; a record beyond MOST_BYTES ends the file.

The format is described in the Internet-Draft draft-ietf-opsawg-pcap and in pcap-savefile(5). The record walk is the one
loop per frame, and `leap` goes ahead of it: it only follows the lengths, everything else is read as columns afterwards.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from egress_watch.fast import PcapPieces, PcapShape, Records, accelerator
from egress_watch.model import PAD_BYTES
from egress_watch.sources.columns import NOTHING, Columns, gather
from egress_watch.sources.leap import leap
from egress_watch.sources.window import BATCH_FRAMES, Rooms, Stream, Taken, batches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from egress_watch.model import Bytes, EasyTables, Frames, Ints

HEADER_BYTES = 24
MOST_BYTES = 4 * 262_144
"""Longest record believed: four times MAXIMUM_SNAPLEN of libpcap."""


Length: TypeAlias = "Callable[[memoryview, int], tuple[Any, ...]]"


class Kind(NamedTuple):
    """What a magic number says."""

    record_bytes: int
    """Length of a record's header."""
    tick_ns: int
    """Nanoseconds in one unit of the second time field."""


MAGICS = {
    0xA1B2C3D4: Kind(16, 1000),
    0xA1B23C4D: Kind(16, 1),
    0xA1B2CD34: Kind(
        24, 1000
    ),  # Alexey Kuznetzov's patched libpcap: interface, protocol, packet type behind the lengths
}
ORDERS = ("<", ">")
SWAPS = ("no", "yes", "maybe")
"""Whether the two lengths of a record stand the other way round."""


def knows(head: bytes) -> bool:
    """Tell whether the first four bytes are a pcap magic number in either byte order."""
    return len(head) >= 4 and any(struct.unpack_from(order + "I", head)[0] in MAGICS for order in ORDERS)


def frames(stream: Stream, origin: str, tables: EasyTables | None = None) -> Iterator[Frames]:
    """Yield the frames of a pcap stream; what cannot be read is the `Damage` of the last batch.

    With ``tables``, plain frames are read by them on their way in.
    """
    return batches(stream, origin, PcapParser(tables))


class PcapParser:
    """The file header once, then records."""

    def __init__(self, tables: EasyTables | None = None) -> None:
        self._tables = tables
        self._pieces: PcapPieces | None = None
        self._blocks = Rooms()
        self._order = ""
        self._kind = Kind(16, 1000)
        self._swap = "no"
        self._length_at = _length_at("no", "<")
        self._link = 0
        self._record = np.dtype("V16")

    def rest(self) -> tuple[str, int, int]:
        """Return nothing: a pcap file is read or it ends."""
        return "", 0, 0

    @property
    def reads_on(self) -> bool:
        """Whether the accelerator reads frames on their way in."""
        return self._tables is not None and accelerator() is not None

    def take(self, data: Bytes, at: int, size: int, descriptor: int = -1) -> Taken:
        """Read the whole records in ``data[at:size]``."""
        if not self._order:
            if size < HEADER_BYTES:
                return Taken(NOTHING, 0, HEADER_BYTES)
            if wrong := self._open(data[:HEADER_BYTES].tobytes()):
                return Taken(NOTHING, 0, stop=wrong)
            at = HEADER_BYTES
        if self._pieces:
            return self._piece(self._pieces, data, at, size, descriptor)
        return self._records(data[: size + PAD_BYTES], at, size)

    def _open(self, head: bytes) -> str:
        """Read the file header; return what is wrong with it.

        Versions as in libpcap's savefile reader: before 2.3, and in DG/UX's 543.0, the two lengths of a record stand
        the other way round; in 2.3 the smaller one is the captured length. The upper half of the network field tells
        the length of the frame check sequence, not the link type.
        """
        order = next(order for order in ORDERS if struct.unpack_from(order + "I", head)[0] in MAGICS)
        magic, major, minor, _zone, _figures, _snaplen, network = struct.unpack(order + "IHHiIII", head)
        if major < 2:
            return f"version {major}.{minor} of the pcap format is not known"
        self._order, self._kind, self._link = order, MAGICS[magic], network & 0xFFFF
        self._swap = _swap(major, minor)
        self._length_at = _length_at(self._swap, order)
        first, second = ("wire", "caught") if self._swap == "yes" else ("caught", "wire")
        names = ("seconds", "ticks", first, second)
        self._record = np.dtype([(name, order + "u4") for name in names])
        self._shape = PcapShape(*self._kind[:1], MOST_BYTES, self._kind.tick_ns, order == ">", SWAPS.index(self._swap))
        fast = accelerator()
        if fast and self._tables:
            links = np.full(BATCH_FRAMES, self._link, np.int32)
            self._pieces, self._links = fast.pieces(self._shape, self._tables, links), (links, np.zeros_like(links))
        return ""

    def _piece(self, pieces: PcapPieces, data: Bytes, at: int, size: int, descriptor: int) -> Taken:
        """Read records, and the plain frames in them, as many as a batch may have."""
        block = self._blocks.room(pieces.block_bytes)
        found, easy, size = pieces.read(data, at, size, descriptor, len(data) - PAD_BYTES, block)
        count = len(found.start)
        taken = self._taken(found, [column[:count] for column in self._links])
        more = count == len(self._links[0])
        return taken._replace(need=0 if more else taken.need, easy=easy, size=size)

    def _records(self, data: Bytes, at: int, size: int) -> Taken:
        fast = accelerator()
        found = fast.pcap(data, at, size, self._shape) if fast else self._walked(data, at, size)
        count = len(found.start)
        return self._taken(found, [np.full(count, self._link, np.int32), np.zeros(count, np.int32)])

    def _taken(self, found: Records, rest: Sequence[NDArray[np.int32]]) -> Taken:
        """Return what was found, beside it link types and interfaces."""
        stop = f"a record claims {found.length:,} bytes" if found.length > MOST_BYTES else ""
        need = self._kind.record_bytes + min(found.length, MOST_BYTES)
        columns = Columns(found.start, found.caught, found.wire, found.time_ns, *rest)
        return Taken(columns if len(found.start) else NOTHING, found.used, need, stop)

    def _walked(self, data: Bytes, at: int, size: int) -> Records:
        header = self._kind.record_bytes
        nothing = np.empty(0, np.int64), at
        leapt, at = leap(data, at, size, header, self._order) if self._swap == "no" else nothing
        offsets, used, length = walk(data, at, size, header, self._length_at)
        offset = np.concatenate([leapt, np.fromiter(offsets, np.int64, len(offsets))])
        found = self._read(data, offset, used, length)
        long = np.flatnonzero(found.caught > MOST_BYTES)
        if not len(long):
            return found
        first = int(long[0])
        start, caught, wire, time_ns = (column[:first] for column in found[:4])
        return Records(start, caught, wire, time_ns, int(found.start[first]) - header, int(found.caught[first]))

    def _read(self, data: Bytes, offsets: Ints, used: int, length: int) -> Records:
        record = gather(data, offsets, self._record)
        caught, wire = record["caught"].astype(np.int64), record["wire"].astype(np.int64)
        if self._swap == "maybe":
            caught, wire = np.minimum(caught, wire), np.maximum(caught, wire)
        time_ns = record["seconds"].astype(np.int64)
        time_ns *= 1_000_000_000
        time_ns += record["ticks"].astype(np.int64) * self._kind.tick_ns
        return Records(offsets + self._kind.record_bytes, caught, wire, time_ns, used, length)


def _swap(major: int, minor: int) -> str:
    if major == 543 or (major == 2 and minor < 3):
        return "yes"
    return "maybe" if (major, minor) == (2, 3) else "no"


def walk(data: Bytes, at: int, size: int, header: int, length_at: Length) -> tuple[list[int], int, int]:
    """Follow the records from ``at``: return their offsets, where the first incomplete one is, and its length or 0."""
    view = data.data
    offsets: list[int] = []
    add = offsets.append
    last = size - header
    length = 0
    while at <= last:
        (length,) = length_at(view, at)
        add(at)
        at += header + length
    if at > size:  # the last one reaches beyond the window
        return offsets, offsets.pop(), length
    return offsets, at, 0


def _length_at(swap: str, order: str) -> Length:
    """Return what reads the captured length of a record."""
    if swap == "maybe":
        return _smaller(order)
    return struct.Struct(order + ("12xI" if swap == "yes" else "8xI")).unpack_from


def _smaller(order: str) -> Length:
    """Return a reader of the smaller of a record's two lengths."""
    lengths_at = struct.Struct(order + "8xII").unpack_from
    return lambda view, at: (min(lengths_at(view, at)),)
