"""What a pcapng section says of its interfaces: link type, clock, and how many frames each dropped.

In: the bodies of Interface Description and Interface Statistics blocks. Out: columns. Never: a time that wraps.

Facts are from the Internet-Draft draft-ietf-opsawg-pcapng, sections 4.2 (IDB), 4.3 (EPB) and 4.6 (ISB).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from egress_watch.model import Ints, Words
    from egress_watch.sources.columns import Numbers

MOST_INTERFACES = 1 << 16
MOST_DROPS = 1 << 48
"""A drop count beyond this is a filler such as all ones, not a count."""
MOST_NS = 2**63 - 1
IF_TSRESOL, IF_TSOFFSET = 9, 14
ISB_IFDROP, ISB_OSDROP = 5, 7


class Clock(NamedTuple):
    """How an interface counts time."""

    resolution: int = 6
    """if_tsresol: units of 10**-n seconds, or with the top bit set, of 2**-n seconds."""
    offset_s: int = 0
    """if_tsoffset: seconds to add."""


@dataclass(slots=True)
class Drops:
    """What one interface lost, as told in two ways that overlap: beside single frames, and as running totals."""

    beside_frames: int = 0
    total: int = 0
    reported: int = 0

    def news(self) -> int:
        """Return the drops not reported yet; the larger of the two ways counts."""
        now = max(self.beside_frames, self.total)
        new, self.reported = max(now - self.reported, 0), max(now, self.reported)
        return new


@dataclass(slots=True)
class Interfaces:
    """The interfaces of one section, in the order they were described."""

    order: str = "<"
    """Byte order of the section, as `struct` writes it."""
    first: int = 0
    """Interfaces of the sections before, so that numbers stay unique within the file."""
    links: list[int] = field(default_factory=list)
    snaplens: list[int] = field(default_factory=list)
    clock_of: list[int] = field(default_factory=list)
    clocks: dict[Clock, int] = field(default_factory=dict)
    drops: dict[int, Drops] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return how many interfaces are known so far."""
        return len(self.links)

    def describe(self, body: bytes) -> None:
        """Learn from the body of an Interface Description Block (8 bytes or more)."""
        link, snaplen = struct.unpack_from(self.order + "HxxI", body)
        resolution, offset_s = 6, 0
        for code, value in options(body[8:], self.order):
            if code == IF_TSRESOL and len(value) == 1:
                resolution = value[0]
            elif code == IF_TSOFFSET and len(value) == 8:
                (offset_s,) = struct.unpack(self.order + "q", value)
        self.links.append(link)
        self.snaplens.append(snaplen)
        self.clock_of.append(self.clocks.setdefault(Clock(resolution, offset_s), len(self.clocks)))

    def dropped(self, body: bytes) -> int:
        """Learn from the body of an Interface Statistics Block; return the drops that are news."""
        if len(body) < 12:
            return 0
        (interface,) = struct.unpack_from(self.order + "I", body)
        values = dict(options(body[12:], self.order))
        counts = [
            struct.unpack(self.order + "Q", value)[0]
            for code in (ISB_IFDROP, ISB_OSDROP)
            if len(value := values.get(code, b"")) == 8
        ]
        drops = self._drops_of(interface)
        drops.total = max(drops.total, sum(count for count in counts if count < MOST_DROPS))
        return drops.news()

    def dropped_beside(self, interface: Ints, count: Words) -> int:
        """Learn the drops told beside single frames, columns of shape (n,); return those that are news."""
        news = 0
        for row in np.flatnonzero((count > 0) & (count < MOST_DROPS)).tolist():
            drops = self._drops_of(int(interface[row]))
            drops.beside_frames += int(count[row])
            news += drops.news()
        return news

    def _drops_of(self, interface: int) -> Drops:
        known = interface if interface < len(self) else -1  # a stranger must not grow the table
        return self.drops.setdefault(known, Drops())

    def link(self, interface: Ints) -> Numbers:
        """Return the link type of each frame, shape (n,)."""
        return np.array(self.links, np.int32)[interface]

    def time_ns(self, interface: Ints, ticks: Words) -> Ints:
        """Return the time of each frame, shape (n,), in nanoseconds since 1970, clamped to what an int64 can say."""
        if len(self.clocks) == 1:
            return _on(next(iter(self.clocks)), ticks)
        time_ns = np.zeros(len(ticks), np.int64)
        clock_of = np.array(self.clock_of, np.int64)[interface]
        clocks = list(self.clocks)
        for number in np.unique(clock_of).tolist():
            mine = clock_of == number
            time_ns[mine] = _on(clocks[number], ticks[mine])
        return time_ns


def _on(clock: Clock, ticks: Words) -> Ints:
    time_ns = nanoseconds(ticks, clock.resolution)
    offset_ns = max(-MOST_NS, min(MOST_NS, clock.offset_s * 1_000_000_000))
    return np.minimum(time_ns, MOST_NS - offset_ns) + offset_ns if offset_ns > 0 else time_ns + offset_ns


def nanoseconds(ticks: Words, resolution: int) -> Ints:
    """Return ticks of an if_tsresol as whole nanoseconds, shape (n,), rounded down and clamped to int64."""
    if resolution & 0x80:
        return _binary(ticks, resolution & 0x7F)
    if resolution > 9:
        factor = 10 ** (resolution - 9)
        return _clamped(ticks // np.uint64(factor) if factor < 2**64 else np.zeros_like(ticks))
    factor = 10 ** (9 - resolution)
    return _clamped(np.minimum(ticks, np.uint64(MOST_NS // factor + 1)) * np.uint64(factor))


def _binary(ticks: Words, bits: int) -> Ints:
    """Return ticks of 2**-bits seconds in nanoseconds; a fraction keeps 34 bits, so that it fits when multiplied."""
    seconds = ticks >> np.uint64(bits) if bits < 64 else np.zeros_like(ticks)
    fraction = ticks & np.uint64((1 << min(bits, 64)) - 1)
    shift = max(bits - 34, 0)
    fraction = fraction >> np.uint64(shift) if shift < 64 else np.zeros_like(ticks)
    part = (fraction * np.uint64(1_000_000_000)) >> np.uint64(bits - shift)
    return _clamped(np.minimum(seconds, np.uint64(MOST_NS // 10**9 + 1)) * np.uint64(1_000_000_000) + part)


def _clamped(value: Words) -> Ints:
    return np.minimum(value, np.uint64(MOST_NS)).astype(np.int64)


def options(body: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Yield (code, value) of an option list (section 3.5) up to its end or the first that does not fit."""
    head_at = struct.Struct(order + "HH").unpack_from
    at = 0
    while at + 4 <= len(body):
        code, length = head_at(body, at)
        if code == 0 or at + 4 + length > len(body):
            return
        yield code, body[at + 4 : at + 4 + length]
        at += 4 + length + -length % 4
