"""A port mirrored both ways shows many packets twice: each counts once.

In: packets with fingerprints, in order. Out: the same packets without second copies, which are counted. Never: a result
that depends on how the input was cut into batches.

A packet is a copy where the last packet with its fingerprint came within WINDOW_NS, or, where IP gives it no number of
its own, within MOMENT_NS. The table that remembers them has a
fixed number of places; where two packets want the same place the later one gets it, and a copy may then be missed.
"""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
from numpy.typing import NDArray

from egress_watch.fast import accelerator
from egress_watch.model import DUPLICATE, Packets

WINDOW_NS = 2_000_000
"""How far apart two copies may be: a switch or router passes a packet on in far less, a retransmission takes longer."""
MOMENT_NS = 50_000
"""The same for packets without identification: no TCP sends a segment again within so short a time (RFC 6298)."""
NUMBERED = np.uint64(1)
SECOND_NS = 1_000_000_000
PLACES = 1 << 16
_COLUMNS = [column.name for column in fields(Packets) if column.name not in ("data", "skipped", "unwrapped", "beacons")]


class Duplicates:
    """Remembers the packets of the last moments."""

    def __init__(self) -> None:
        self._seen = np.zeros((PLACES, 2), np.uint64)
        self._print, self._time_ns = self._seen[:, 0], self._seen.view(np.int64)[:, 1]
        self._fast = accelerator()
        self._origin, self._latest_ns = "", np.iinfo(np.int64).min

    def once(self, packets: Packets, origin: str = "") -> Packets:
        """Return the packets without second copies; those are counted in ``skipped``.

        Another ``origin`` that begins well before the last one ended is another view of the same time, and begins anew:
        what two sensors saw is not put together here.
        """
        self._turn(packets.time_ns, origin)
        copies = self._copies(packets.print, packets.time_ns)
        if not len(copies):
            return packets
        keep = np.delete(np.arange(len(packets)), copies)
        columns = {name: column[keep] for name in _COLUMNS if len(column := getattr(packets, name))}
        skipped = packets.skipped | {DUPLICATE: packets.skipped.get(DUPLICATE, 0) + len(copies)}
        return replace(packets, skipped=skipped, **columns)

    def _turn(self, time_ns: NDArray[np.int64], origin: str) -> None:
        if not len(time_ns):
            return
        if origin != self._origin and int(time_ns[0]) < self._latest_ns - SECOND_NS:
            self._print[:], self._latest_ns = 0, int(time_ns[0])
        self._origin, self._latest_ns = origin, max(self._latest_ns, int(time_ns.max()))

    def _copies(self, prints: NDArray[np.uint64], time_ns: NDArray[np.int64]) -> NDArray[np.intp]:
        """Return which packets are copies."""
        if self._fast and len(prints):
            return self._fast.copies(self._seen, prints, time_ns, WINDOW_NS, MOMENT_NS)
        rows = np.flatnonzero(prints)
        copies: NDArray[np.intp] = rows[self._by_columns(prints[rows], time_ns[rows])]
        return copies

    def _by_columns(self, prints: NDArray[np.uint64], time_ns: NDArray[np.int64]) -> NDArray[np.intp]:
        """Return which packets are copies, as if each had been looked up and remembered in turn.

        They are worked in the order of their places: so the table is walked through from one end to the other, and
        packets of one place stand beside each other, in their own order.
        """
        place = (prints >> np.uint64(40)).astype(np.uint16)
        order = np.argsort(place, kind="stable")  # a radix sort, as places have 16 bits
        place, prints, time_ns = place[order], prints[order], time_ns[order]
        before, when = self._print[place], self._time_ns[place]
        follows = np.flatnonzero(place[1:] == place[:-1])
        before[follows + 1], when[follows + 1] = prints[follows], time_ns[follows]
        self._print[place], self._time_ns[place] = prints, time_ns  # of several in one place the last one stays
        same = np.flatnonzero(before == prints)
        window_ns = np.where(prints[same] & NUMBERED, WINDOW_NS, MOMENT_NS).astype(np.uint64)
        copies: NDArray[np.intp] = order[same[_apart(time_ns[same], when[same]) <= window_ns]]
        return copies


def _apart(one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return how far two times lie apart, for any two times."""
    high, low = np.maximum(one, other).view(np.uint64), np.minimum(one, other).view(np.uint64)
    return high - low
