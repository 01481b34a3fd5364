"""Turn the blocks of one pcapng section into columns of frames.

In: a buffer and where its blocks start. Out: columns, drop counts, the first block that lies. Never: a loop per frame.

Facts are from the Internet-Draft draft-ietf-opsawg-pcapng, section 4. All packet blocks are read through the shape of
an Enhanced Packet Block (4.3): the obsolete Packet Block (appendix A) keeps its lengths in the same places, with a drop
count in one half of the interface field; the Simple Packet Block (4.4) has only the length on the wire.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from egress_watch.sources.columns import NOTHING, Columns, gather
from egress_watch.sources.interfaces import MOST_INTERFACES, Interfaces

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from egress_watch.model import Bytes, Ints, Words

INTERFACE, PACKET, SIMPLE, STATISTICS, ENHANCED = 1, 2, 3, 5, 6
LEAST_BYTES = np.array([0, 20, 32, 16, 0, 0, 32, 0])
"""Shortest block of each kind; the last stands for all kinds above."""
FIELDS = ("kind", "length", "interface", "high", "low", "caught", "wire")
HEAD_BYTES = 4 * len(FIELDS)
MOST_BYTES = 1 << 24
"""Longest block believed: 16 MiB, as in libpcap."""
MOST_OPTIONS = 64
"""Options of a frame that are looked at; nobody writes more than a handful."""
EPB_DROPCOUNT = 4

Heads: TypeAlias = "NDArray[Any]"


class Blocks(NamedTuple):
    """Blocks of a section in their order, each of shape (n,)."""

    at: Ints
    """Offset in the buffer."""
    head: Heads
    """The FIELDS, whatever they mean in this kind of block."""
    described: Ints
    """How many interfaces the section had described when the block came."""

    def pick(self, which: NDArray[np.bool_] | slice) -> Blocks:
        """Return some of the blocks."""
        return Blocks(self.at[which], self.head[which], self.described[which])


class Places(NamedTuple):
    """Where each packet block keeps its frame, each of shape (n,)."""

    interface: Ints
    start: Ints
    caught: Ints
    drops: Words

    def pick(self, which: NDArray[np.bool_]) -> Places:
        """Return some of the places."""
        return Places(self.interface[which], self.start[which], self.caught[which], self.drops[which])


class Run(NamedTuple):
    """What some blocks of a section gave."""

    columns: Columns
    lost: int
    """Frames the capturing side says it dropped, news only."""
    good: int
    """Blocks read; the next one lies."""
    wrong: str
    """How it lies, "" where none does."""


@dataclass(slots=True)
class Strangers:
    """Frames that name an interface no block has described: counted, never guessed at."""

    frames: int = 0
    bytes: int = 0
    first: int = 0
    """Offset in the file of the first one's block."""

    def count(self, offset: int, caught: Ints) -> None:
        """Add frames by their captured lengths, the first of which has its block at ``offset`` in the file."""
        self.first = self.first if self.frames else offset
        self.frames += len(caught)
        self.bytes += int(caught.sum())


class Section:
    """A section: its byte order, its interfaces, and the time of its last frame."""

    def __init__(self, order: str, first_interface: int, strangers: Strangers) -> None:
        self.interfaces = Interfaces(order, first_interface)
        self._shape = np.dtype([(name, order + "u4") for name in FIELDS])
        self._last_ns = 0
        self._strangers = strangers

    def read(self, data: Bytes, at: Ints, offset: int) -> Run:
        """Read the whole blocks at these places of the buffer, the first byte of which is ``offset`` of the file."""
        head = gather(data, at, self._shape)
        described = len(self.interfaces) + np.cumsum(head["kind"] == INTERFACE, dtype=np.int64)
        blocks = Blocks(at, head, described)
        good, wrong = _first_lie(data, blocks)
        blocks = blocks.pick(slice(good))
        for body in _bodies(data, blocks, INTERFACE):
            self.interfaces.describe(body)
        columns, lost = self._frames(data, blocks, offset)
        lost += sum(self.interfaces.dropped(body) for body in _bodies(data, blocks, STATISTICS))
        return Run(columns, lost, good, wrong)

    def _frames(self, data: Bytes, blocks: Blocks, offset: int) -> tuple[Columns, int]:
        kind = blocks.head["kind"]
        packets = (kind == ENHANCED) | (kind == PACKET) | (kind == SIMPLE)
        blocks = blocks if packets.all() else blocks.pick(packets)
        places = self._places(blocks.head, blocks.at)
        known = places.interface < blocks.described
        if not known.all():
            self._strangers.count(offset + int(blocks.at[~known][0]), places.caught[~known])
            blocks, places = blocks.pick(known), places.pick(known)
        if not len(blocks.at):
            return NOTHING, 0
        drops = places.drops + self._drops_in_options(data, blocks, places)
        lost = self.interfaces.dropped_beside(places.interface, drops)
        return self._columns(blocks.head, places), lost

    def _columns(self, head: Heads, places: Places) -> Columns:
        wire = np.where(head["kind"] == SIMPLE, head["interface"], head["wire"]).astype(np.int64)
        number = (places.interface + self.interfaces.first).astype(np.int32)
        link = self.interfaces.link(places.interface)
        time_ns = self._time_ns(head, places.interface)
        return Columns(places.start, places.caught, wire, time_ns, link, number)

    def _places(self, head: Heads, at: Ints) -> Places:
        interface, caught = head["interface"].astype(np.int64), head["caught"].astype(np.int64)
        start, drops = at + HEAD_BYTES, np.zeros(len(at), np.uint64)
        if not (head["kind"] == ENHANCED).all():
            self._place_old(head, interface, drops)
            self._place_simple(head, at, interface, start, caught)
        return Places(interface, start, caught, drops)

    def _place_old(self, head: Heads, interface: Ints, drops: Words) -> None:
        """Split the first field of Packet Blocks: 16 bits interface, then 16 bits drops, all ones for "not known"."""
        old = head["kind"] == PACKET
        low, high = interface[old] & 0xFFFF, interface[old] >> 16
        number, count = (low, high) if self.interfaces.order == "<" else (high, low)
        interface[old] = number
        drops[old] = np.where(count == 0xFFFF, 0, count).astype(np.uint64)

    def _place_simple(self, head: Heads, at: Ints, interface: Ints, start: Ints, caught: Ints) -> None:
        """Fill in Simple Packet Blocks: they come from the first interface, whose snaplen cut them (0: no limit)."""
        simple = head["kind"] == SIMPLE
        snaplen = (self.interfaces.snaplens or [0])[0] or 1 << 32
        wire, room = interface[simple], head["length"][simple].astype(np.int64) - 16
        caught[simple] = np.minimum(np.minimum(wire, snaplen), room)
        start[simple] = at[simple] + 12
        interface[simple] = 0

    def _time_ns(self, head: Heads, interface: Ints) -> Ints:
        """Return the times; a Simple Packet Block has none and takes that of the frame before it."""
        ticks = head["high"].astype(np.uint64) << np.uint64(32) | head["low"]
        time_ns = self.interfaces.time_ns(interface, ticks)
        simple = head["kind"] == SIMPLE
        if simple.any():
            before = np.maximum.accumulate(np.where(simple, -1, np.arange(len(simple))))
            time_ns = np.where(before < 0, self._last_ns, time_ns[before])
        self._last_ns = int(time_ns[-1])
        return time_ns

    def _drops_in_options(self, data: Bytes, blocks: Blocks, places: Places) -> Words:
        """Return epb_dropcount of each frame, 0 where it is not given; all frames take a step at a time."""
        head = blocks.head
        at = places.start + (places.caught + 3 & ~3)
        end = blocks.at + head["length"].astype(np.int64) - 4
        drops = np.zeros(len(at), np.uint64)
        option = np.dtype([(name, self.interfaces.order + "u2") for name in ("code", "length")])
        live = np.flatnonzero((at + 4 <= end) & (head["kind"] == ENHANCED))
        for _ in range(MOST_OPTIONS):
            if not len(live):
                break
            found = gather(data, at[live], option)
            size = found["length"].astype(np.int64)
            hit = live[(found["code"] == EPB_DROPCOUNT) & (size == 8) & (at[live] + 12 <= end[live])]
            drops[hit] = gather(data, at[hit] + 4, np.dtype([("drops", self.interfaces.order + "u8")]))["drops"]
            at[live] += 4 + (size + 3 & ~3)
            live = live[(found["code"] != 0) & (at[live] + 4 <= end[live])]
        return drops


def _bodies(data: Bytes, blocks: Blocks, kind: int) -> list[bytes]:
    chosen = blocks.head["kind"] == kind
    spans = zip(blocks.at[chosen].tolist(), blocks.head["length"][chosen].tolist(), strict=True)
    return [data[at + 8 : at + length - 4].tobytes() for at, length in spans]


def _first_lie(data: Bytes, blocks: Blocks) -> tuple[int, str]:
    """Return the first block that contradicts itself and how, or the number of blocks and ""."""
    kind, length = blocks.head["kind"], blocks.head["length"].astype(np.int64)
    trailer = np.dtype([("length", blocks.head.dtype["length"])])
    least = LEAST_BYTES[np.minimum(kind, len(LEAST_BYTES) - 1)]
    full = (kind == ENHANCED) | (kind == PACKET)
    wrongs = (
        (length & 3 > 0, "a block has a length that is no multiple of four"),
        (gather(data, blocks.at + length - 4, trailer)["length"] != length, "a block has two different lengths"),
        (length < least, "a block is too short for its kind"),
        (length > MOST_BYTES, f"a block is longer than {MOST_BYTES:,} bytes"),
        (full & (blocks.head["caught"].astype(np.int64) > length - 32), "a frame claims to be longer than its block"),
        (blocks.described > MOST_INTERFACES, f"a section has more than {MOST_INTERFACES:,} interfaces"),
    )
    found = [(int(np.argmax(bad)), words) for bad, words in wrongs if bad.any()]
    return min(found, key=lambda pair: pair[0]) if found else (len(kind), "")
