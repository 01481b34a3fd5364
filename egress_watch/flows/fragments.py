"""Later fragments carry no ports: they get those of their datagram's first fragment.

In: packets, of which a few are fragments. Out: the same packets with ports. Never: a reassembled payload.

A later fragment that comes before its first one is held back until it comes, for HOLD_NS at most (the 30 s after which
Linux gives up reassembly, within the 60 to 120 s of RFC 8200 section 4.5). Nothing is lost: what is never claimed is
counted without ports. Where in the stream a held fragment comes out again is decided by the packets alone, never by the
end of a batch.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple

import numpy as np

from egress_watch.model import NO_MARKS, NO_PRINTS, Ints, Packets

HOLD_NS = 30_000_000_000
MOST_DATAGRAMS = 8192
"""First fragments remembered."""
MOST_HELD = 8192
"""Early fragments held back, of all datagrams together."""
FIRST, LATER = 1, 2

Datagram = tuple[int, int, int, int, int, int]
_COLUMNS = [
    column.name
    for column in fields(Packets)
    if column.name not in ("data", "skipped", "unwrapped", "print", "mark", "beacons")
]
_NO_DATA = np.zeros(0, np.uint8)


class _First(NamedTuple):
    clock_ns: int
    ports: tuple[int, int]


@dataclass(slots=True)
class _Early:
    """Fragments of one datagram that wait for its first one."""

    since_ns: int
    parts: list[Packets] = field(default_factory=list)


class _Back(NamedTuple):
    """Fragments that come back into the stream: before which row, at which time, and what."""

    row: int
    clock_ns: int
    packets: Packets


class Fragments:
    """Remembers the ports of first fragments and holds back what came too early."""

    def __init__(self) -> None:
        self._firsts: dict[Datagram, _First] = {}
        self._early: dict[Datagram, _Early] = {}
        self._held = 0
        self.unclaimed = 0
        """Later fragments whose first fragment never came."""

    def settle(self, packets: Packets, clock: Ints) -> tuple[Packets, Ints]:
        """Return the packets with their ports, and their clock (n,), which never runs backwards.

        Early fragments are left out; they come back right behind their first fragment, or where their time is over.
        """
        if not (packets.fragment.any() or self._early):
            return packets, clock
        packets = replace(packets, src_port=packets.src_port.copy(), dst_port=packets.dst_port.copy())
        held: list[int] = []
        back: list[_Back] = []
        for row in np.flatnonzero(packets.fragment).tolist():
            back += self._expired(clock, int(clock[row]))
            back += self._meet(packets, row, int(clock[row]), held)
        back += self._expired(clock, int(clock[-1]))
        return _woven(packets, clock, held, back)

    def rest(self) -> list[Packets]:
        """Give up everything that is still held back, at the end of the input."""
        return [self._give_up() for _ in range(len(self._early))]

    def _meet(self, packets: Packets, row: int, now: int, held: list[int]) -> list[_Back]:
        """Take in one fragment and return what comes back right behind it; an early one is added to ``held``."""
        datagram = _datagram(packets, row)
        if packets.fragment[row] == FIRST:
            ports = int(packets.src_port[row]), int(packets.dst_port[row])
            return [_Back(row + 1, now, part) for part in self._begin(datagram, _First(now, ports))]
        first = self._firsts.get(datagram)
        if first and now - first.clock_ns <= HOLD_NS:
            packets.src_port[row], packets.dst_port[row] = first.ports
            return []
        held.append(row)
        self._early.setdefault(datagram, _Early(now)).parts.append(take(packets, np.array([row])))
        self._held += 1
        return [_Back(row + 1, now, self._give_up())] if self._held > MOST_HELD else []

    def _begin(self, datagram: Datagram, first: _First) -> list[Packets]:
        """Remember a first fragment and return what waited for it, with its ports."""
        self._firsts.pop(datagram, None)
        self._firsts[datagram] = first
        if len(self._firsts) > MOST_DATAGRAMS:
            del self._firsts[next(iter(self._firsts))]
        if datagram not in self._early:
            return []
        early = joined(self._early.pop(datagram).parts)
        self._held -= len(early)
        early.src_port[:], early.dst_port[:] = first.ports
        return [early]

    def _expired(self, clock: Ints, now: int) -> list[_Back]:
        """Give up what has waited for too long by now; it comes back before the first row that was too late."""
        back: list[_Back] = []
        while self._early and (until := next(iter(self._early.values())).since_ns + HOLD_NS) < now:
            back.append(_Back(int(np.searchsorted(clock, until, "right")), until, self._give_up()))
        return back

    def _give_up(self) -> Packets:
        """Return the fragments that have waited longest, as they are: without ports."""
        parts = self._early.pop(next(iter(self._early))).parts
        self._held -= len(parts)
        self.unclaimed += len(parts)
        return joined(parts)


def take(packets: Packets, rows: slice | np.ndarray[tuple[int], np.dtype[np.intp]]) -> Packets:
    """Return these rows of the packets; a slice shares memory, an index copies and lets go of the buffer."""
    columns: dict[str, Any] = {name: getattr(packets, name)[rows] for name in _COLUMNS}
    data = packets.data if isinstance(rows, slice) else _NO_DATA
    return replace(packets, data=data, skipped={}, print=NO_PRINTS, mark=NO_MARKS, **columns)


def joined(parts: list[Packets]) -> Packets:
    """Return the packets of all parts, one behind the other, over the buffer of the first."""
    columns: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS}
    return replace(parts[0], **columns)


def _woven(packets: Packets, clock: Ints, held: list[int], back: list[_Back]) -> tuple[Packets, Ints]:
    """Return the packets without the held rows and with what came back, each in its place."""
    rows = np.delete(np.arange(len(packets)), held)
    sizes = [len(part.packets) for part in back]
    place = np.concatenate([np.repeat([part.row for part in back], sizes).astype(np.int64), rows])
    times = np.concatenate([np.repeat([part.clock_ns for part in back], sizes).astype(np.int64), clock[rows]])
    order = np.argsort(place, kind="stable")  # what came back stands first, so it lies before the row of its place
    return take(joined([*(part.packets for part in back), take(packets, rows)]), order), times[order]


def _datagram(packets: Packets, row: int) -> Datagram:
    src, dst = packets.src[row].tolist(), packets.dst[row].tolist()
    return (*src, *dst, int(packets.protocol[row]), int(packets.fragment_id[row]))
