"""Later fragments carry no ports: they get those of their datagram's first fragment.

In: packets, of which a few are fragments. Out: the same packets with ports. Never: a reassembled payload.

A later fragment that comes before its first one is held back until it comes, for HOLD_NS at most (the 30 s after which
Linux gives up reassembly, within the 60 to 120 s of RFC 8200 section 4.5). Nothing is lost: what is never claimed is
counted without ports.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, NamedTuple

import numpy as np

from egress_watch.model import Packets

HOLD_NS = 30_000_000_000
MOST_DATAGRAMS = 8192
FIRST, LATER = 1, 2

Datagram = tuple[int, int, int, int, int, int]
_COLUMNS = [field.name for field in fields(Packets) if field.name not in ("data", "skipped")]


class _First(NamedTuple):
    time_ns: int
    ports: tuple[int, int]


class Fragments:
    """Remembers the ports of first fragments and holds back what came too early."""

    def __init__(self) -> None:
        self._firsts: dict[Datagram, _First] = {}
        self._early: dict[Datagram, tuple[int, Packets]] = {}
        self.unclaimed = 0
        """Later fragments whose first fragment never came."""

    def settle(self, packets: Packets, clock_ns: int) -> Packets:
        """Return the packets with their ports: early fragments left out, released ones added at the end."""
        if not (packets.fragment.any() or self._early):
            return packets
        src_port, dst_port = packets.src_port.copy(), packets.dst_port.copy()
        packets = replace(packets, src_port=src_port, dst_port=dst_port)
        held, released = [], self._expired(clock_ns)
        for row in np.flatnonzero(packets.fragment).tolist():
            datagram = _datagram(packets, row)
            if packets.fragment[row] == FIRST:
                ports = (int(src_port[row]), int(dst_port[row]))
                released += self._begin(datagram, _First(int(packets.time_ns[row]), ports))
            elif known := self._firsts.get(datagram):
                src_port[row], dst_port[row] = known.ports
            else:
                held.append(row)
                self._hold(datagram, take(packets, np.array([row])))
        return _joined(packets, held, released)

    def rest(self) -> list[Packets]:
        """Give up everything that is still held back, at the end of the input."""
        return self._expired(np.iinfo(np.int64).max)

    def _begin(self, datagram: Datagram, first: _First) -> list[Packets]:
        self._firsts.pop(datagram, None)
        self._firsts[datagram] = first
        if len(self._firsts) > MOST_DATAGRAMS:
            del self._firsts[next(iter(self._firsts))]
        if datagram not in self._early:
            return []
        _, early = self._early.pop(datagram)
        early.src_port[:], early.dst_port[:] = first.ports
        return [early]

    def _hold(self, datagram: Datagram, packet: Packets) -> None:
        since, early = self._early.get(datagram, (int(packet.time_ns[0]), None))
        self._early[datagram] = (since, joined([early, packet]) if early else packet)

    def _expired(self, clock_ns: int) -> list[Packets]:
        """Drop what is too old, and the oldest beyond the bound; both are given up in order of arrival."""
        self._firsts = {d: f for d, f in self._firsts.items() if clock_ns - f.time_ns <= HOLD_NS}
        surplus = len(self._early) - MOST_DATAGRAMS
        given_up = []
        for count, (datagram, (since, _)) in enumerate(list(self._early.items())):
            if count < surplus or clock_ns - since > HOLD_NS:
                given_up.append(self._early.pop(datagram)[1])
        self.unclaimed += sum(map(len, given_up))
        return given_up


def take(packets: Packets, rows: slice | np.ndarray[tuple[int], np.dtype[np.intp]]) -> Packets:
    """Return these rows of the packets; a slice shares memory, an index copies."""
    columns: dict[str, Any] = {name: getattr(packets, name)[rows] for name in _COLUMNS}
    return replace(packets, skipped={}, **columns)


def joined(parts: list[Packets]) -> Packets:
    """Return the packets of all parts, one behind the other, over the buffer of the first."""
    columns: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS}
    return replace(parts[0], **columns)


def _joined(packets: Packets, held: list[int], released: list[Packets]) -> Packets:
    if held:
        packets = take(packets, np.delete(np.arange(len(packets)), held))
    return joined([packets, *released]) if released else packets


def _datagram(packets: Packets, row: int) -> Datagram:
    src, dst = packets.src[row].tolist(), packets.dst[row].tolist()
    return (*src, *dst, int(packets.protocol[row]), int(packets.fragment_id[row]))
