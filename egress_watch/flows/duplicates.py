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

from egress_watch.model import DUPLICATE, Packets

WINDOW_NS = 2_000_000
"""How far apart two copies may be: a switch or router passes a packet on in far less, a retransmission takes longer."""
MOMENT_NS = 50_000
"""The same for packets without identification: no TCP sends a segment again within so short a time (RFC 6298)."""
NUMBERED = np.uint64(1)
PLACES = 1 << 16
_COLUMNS = [column.name for column in fields(Packets) if column.name not in ("data", "skipped", "unwrapped")]

Rows = NDArray[np.intp]


class Duplicates:
    """Remembers the packets of the last moments."""

    def __init__(self) -> None:
        self._print = np.zeros(PLACES, np.uint64)
        self._time_ns = np.zeros(PLACES, np.int64)
        self._row = np.zeros(PLACES, np.int32)

    def once(self, packets: Packets) -> Packets:
        """Return the packets without second copies; those are counted in ``skipped``."""
        rows = np.flatnonzero(packets.print)
        copies = rows[self._copies(packets.print[rows], packets.time_ns[rows])]
        if not len(copies):
            return packets
        keep = np.delete(np.arange(len(packets)), copies)
        skipped = packets.skipped | {DUPLICATE: packets.skipped.get(DUPLICATE, 0) + len(copies)}
        return replace(packets, skipped=skipped, **{name: getattr(packets, name)[keep] for name in _COLUMNS})

    def _copies(self, prints: NDArray[np.uint64], time_ns: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which packets are copies, as if each had been looked up and remembered in turn."""
        place = (prints >> np.uint64(40)).astype(np.intp) & PLACES - 1
        before, when = self._print[place], self._time_ns[place]
        number = np.arange(len(prints), dtype=np.int32)
        self._row[place] = number  # of several in one place, the last one stands there
        crowded = np.flatnonzero(self._row[place] != number)
        if len(crowded):
            self._row[place[crowded]] = -1
            shared = np.flatnonzero(self._row[place] == -1)
            shared = shared[np.argsort(place[shared], kind="stable")]
            follows = np.flatnonzero(place[shared[1:]] == place[shared[:-1]])
            before[shared[follows + 1]] = prints[shared[follows]]
            when[shared[follows + 1]] = time_ns[shared[follows]]
        self._print[place], self._time_ns[place] = prints, time_ns
        copies: NDArray[np.bool_] = before == prints
        seen = np.flatnonzero(copies)
        window_ns = np.where(prints[seen] & NUMBERED, WINDOW_NS, MOMENT_NS).astype(np.uint64)
        copies[seen] = _apart(time_ns[seen], when[seen]) <= window_ns
        return copies


def _apart(one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return how far two times lie apart, for any two times."""
    high, low = np.maximum(one, other).view(np.uint64), np.minimum(one, other).view(np.uint64)
    return high - low
