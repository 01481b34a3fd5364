"""Which packets are among the first of their flow.

In: columns of packets, in order. Out: a mask. Never: an object a flow, or more memory for more flows.

A table of a fixed size remembers flows by their mark alone. A flow that another one pushes out of its place begins
anew, and a few more of its packets are kept than were asked for.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from egress_watch.model import Flags, Ints, Ports, Words

Mask = NDArray[np.bool_]

PLACES = 1 << 18
"""Flows remembered: 7 MB."""
SECOND_NS = 1_000_000_000
LONGEST_NS = 1 << 60
MOST_CUTS = 64
"""Of one flow in a batch: beyond that its packets count as one run."""
TCP = 6
FIN, SYN, RST, ACK = 1, 2, 4, 16
_ODD = [np.uint64(odd) for odd in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0xD6E8FEB86659FD93)]
"""Odd 64-bit constants (splitmix64 and kin): any would do, they only have to differ."""


def marks(one: Words, other: Words, ports: tuple[Ports, Ports], protocol: Flags, seed: int) -> Words:
    """Return a 64-bit hash of each conversation, the same for both directions; the seed keeps collisions unknown."""
    ends = _mixed(one, ports[0], seed) + _mixed(other, ports[1], seed)
    return _scattered(ends + protocol.astype(np.uint64) * _ODD[3])


def _mixed(address: Words, port: Ports, seed: int) -> Words:
    high, low = address[:, 0] * _ODD[0], (address[:, 1] ^ np.uint64(seed & 0xFFFFFFFFFFFFFFFF)) * _ODD[1]
    return _scattered(_scattered(high + low) + port.astype(np.uint64) * _ODD[2])


def _scattered(words: Words) -> Words:
    words = (words ^ words >> np.uint64(31)) * _ODD[2]
    mixed: Words = words ^ words >> np.uint64(29)
    return mixed


class Firsts:
    """Counts the packets of each run of a flow: a run is what the flow table makes a record of, as near as can be."""

    def __init__(self, most: int, active_s: float, idle_s: float, tcp_idle_s: float) -> None:
        self._most = most
        self._active_ns, self._idle_ns, self._tcp_idle_ns = map(_ns, (active_s, idle_s, tcp_idle_s))
        self._mark = np.zeros(PLACES, np.uint64)
        self._count = np.zeros(PLACES, np.int64)
        self._first_ns, self._last_ns = np.zeros(PLACES, np.int64), np.zeros(PLACES, np.int64)
        self._closed = np.zeros(PLACES, np.bool_)

    def choose(self, marks: Words, time_ns: Ints, tcp_flags: Flags, protocol: Flags) -> Mask:
        """Return (n,) which packets are among the first of their run."""
        order = np.argsort(marks, kind="stable")
        mark, time_ns, flags = marks[order], time_ns[order], tcp_flags[order]
        idle_ns = np.where(protocol[order] == TCP, self._tcp_idle_ns, self._idle_ns)
        new = np.append(True, mark[1:] != mark[:-1])
        at, group = np.flatnonzero(new), np.cumsum(new) - 1
        place = (mark[at] & np.uint64(PLACES - 1)).astype(np.intp)
        goes_on = (self._mark[place] == mark[at]) & (time_ns[at] - self._last_ns[place] <= idle_ns[at])
        goes_on &= time_ns[at] - self._first_ns[place] <= self._active_ns
        goes_on &= ~(self._closed[place] & _opening(flags[at]))
        begins, over = _runs(at[group], time_ns, flags, idle_ns, (goes_on & self._closed[place])[group])
        early = goes_on[group] & (begins == at[group])  # in the run that an earlier batch began
        since_ns = np.where(early, self._first_ns[place][group], time_ns[begins])
        begins, since_ns = _cut(begins, since_ns, time_ns, self._active_ns)
        early &= begins == at[group]
        count = np.arange(len(mark)) - begins + np.where(early, self._count[place][group], 0)
        last = np.append(at[1:], len(mark)) - 1
        self._mark[place], self._first_ns[place], self._last_ns[place] = mark[at], since_ns[last], time_ns[last]
        self._count[place], self._closed[place] = count[last] + 1, over[last]
        chosen = np.zeros(len(mark), np.bool_)
        chosen[order] = count < self._most
        return chosen


def _runs(here: Ints, time_ns: Ints, flags: Flags, idle_ns: Ints, closed: Mask) -> tuple[Ints, Mask]:
    """Return where the run of each packet begins, and whether its connection is closed by then.

    ``here`` (n,) is where each packet's flow begins, ``closed`` whether it was closed before. A run ends at silence,
    and where a closed connection is opened again.
    """
    rows = np.arange(len(time_ns))
    opening = _opening(flags)
    closing = _latest(rows, flags & (FIN | RST) != 0)
    opened = np.append(-1, _latest(rows, opening)[:-1])  # by an earlier packet
    over = np.where(closing >= here, closing > opened, closed & (opened < here))
    silent = np.append(False, np.diff(time_ns) > idle_ns[1:])
    begins = np.maximum(_latest(rows, opening & over | silent), here)
    return begins, (closing >= begins) | closed & (begins == here)


def _cut(begins: Ints, since_ns: Ints, time_ns: Ints, active_ns: int) -> tuple[Ints, Ints]:
    """Cut runs that last too long, as the flow table does; each round finds the next cut of every run."""
    rows = np.arange(len(time_ns))
    for _ in range(MOST_CUTS):
        late = time_ns - since_ns > active_ns
        if not late.any():
            break
        first = late & ~(np.append(False, late[:-1]) & np.append(False, begins[1:] == begins[:-1]))
        begins = np.where(late, np.maximum(_latest(rows, first), begins), begins)
        since_ns = np.where(late, time_ns[begins], since_ns)
    return begins, since_ns


def _opening(flags: Flags) -> Mask:
    """Return which segments ask for a connection (RFC 9293, section 3.5)."""
    asks: Mask = flags & (SYN | ACK) == SYN
    return asks


def _latest(rows: Ints, where: Mask) -> Ints:
    """Return for each row the latest one up to it for which something holds, -1 where there is none."""
    found: Ints = np.maximum.accumulate(np.where(where, rows, -1))
    return found


def _ns(seconds: float) -> int:
    return min(int(seconds * SECOND_NS), LONGEST_NS)
