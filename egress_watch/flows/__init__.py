"""Packets become flows: the only long-lived state in the middle of the house.

In: `Packets`, in order. Out: `Flows` that ended, each once. Never: a clock of its own; time is packet time.

A flow ends when its TCP connection closes, when it is silent for longer than its idle time-out, when it has run for the
active time-out (it goes on in a further record), when the table is full, or when the input ends. Time never runs
backwards: a packet older than the newest one seen counts at the newest's time. Packets are worked in pieces that end at
fixed counts, and flows are swept out only there, so the records do not depend on how the input was cut into batches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from egress_watch.fast import accelerator
from egress_watch.flows.by_columns import SECOND_NS, ByColumns, Rest
from egress_watch.flows.compiled import Compiled
from egress_watch.flows.fragments import Fragments, joined, take
from egress_watch.flows.records import (
    END,
    EVICTED,
    FORGET,
    IDLE,
    LINGER_NS,
    RELEASE,
    SETTLE,
    Ending,
    in_order,
    together,
)
from egress_watch.flows.sides import Sides
from egress_watch.flows.slots import LATE, Slot, Slots
from egress_watch.model import Flows, Ints, Packets

__all__ = ["LINGER_NS", "FlowTable"]

SWEEP_PACKETS = 1 << 15
TCP = 6


class FlowTable:
    """Open flows by key.

    ``networks`` are the user's own; time-outs in seconds; ``limit`` bounds the open flows (the ones silent longest are
    evicted, and counted); ``seed`` mixes the hash and never changes a result.
    """

    def __init__(
        self, networks: Sequence[str] = (), *, active_s: float = 300, idle_s: float = 60, tcp_idle_s: float = 600,
        limit: int = 1_000_000, seed: int = 0,
    ) -> None:  # fmt: skip
        self._active_ns = _ns(active_s)
        idle_ns = np.full(256, _ns(idle_s), np.int64)
        idle_ns[TCP] = _ns(tcp_idle_s)
        self._limit = limit
        self._slots = Slots()
        way = self._slots, Sides(networks), Rest(self._active_ns, idle_ns), seed
        fast = accelerator()
        self._way = Compiled(fast, *way) if fast else ByColumns(*way)
        self._fragments = Fragments()
        self._clock = -LATE
        self._count = 0
        self._ended: list[Flows] = []
        self.evicted = 0

    def __len__(self) -> int:
        """Return the number of open flows."""
        return len(self._slots)

    @property
    def late_fragments(self) -> int:
        """Later fragments whose first fragment never came; they are in flows without ports."""
        return self._fragments.unclaimed

    def update(self, packets: Packets, clock_ns: int = 0) -> Flows:
        """Take the packets in and return the flows that ended meanwhile, in the order in which they ended.

        ``clock_ns`` is a time before which no further packet will be; flows that are over by then end too. No later
        packet could have gone on with them, so the records are the same with and without; only a flow that would have
        been open at the end of the input is told as idle.
        """
        for piece in self._pieces(packets):
            clock = self._way.clock(piece.time_ns, self._clock)
            self._clock = int(clock[-1])
            self._take(*self._fragments.settle(piece, clock))
            self._count += len(piece)
            if self._count % SWEEP_PACKETS == 0:
                self._sweep(self._clock)
        if clock_ns and clock_ns > self._clock:
            self._sweep(min(clock_ns, LATE - 1))
        return self._hand_over()

    def set_back(self) -> Flows:
        """Return all flows that are open: the clock was set back, and what comes now has earlier times."""
        flows, self._clock = self.flush(), 0
        return flows

    def flush(self) -> Flows:
        """Return all flows that are still open: the input has ended."""
        if rest := self._fragments.rest():
            packets = joined(rest)
            self._take(packets, np.full(len(packets), self._clock))
        self._end(in_order(self._slots, self._slots.live), END, FORGET)
        return self._hand_over()

    def _pieces(self, packets: Packets) -> Iterator[Packets]:
        """Cut the packets where the count of all packets so far reaches a multiple of SWEEP_PACKETS."""
        at = 0
        while at < len(packets):
            stop = min(len(packets), at + SWEEP_PACKETS - self._count % SWEEP_PACKETS)
            yield take(packets, slice(at, stop)) if stop - at < len(packets) else packets
            at = stop

    def _take(self, packets: Packets, clock: Ints) -> None:
        if not len(packets):
            return
        self._end(self._way.take(packets, clock), IDLE, RELEASE)

    def _sweep(self, clock: int) -> None:
        """End what has timed out by then, and the flows silent longest where the table is too full."""
        self._end(self._way.due(self._by(END, SETTLE, clock)), END, SETTLE, clock)
        self._evict()

    def _evict(self) -> None:
        surplus = len(self._slots) - self._limit
        if surplus <= 0:
            return
        slots = in_order(self._slots, self._slots.live)
        oldest = slots[np.argsort(self._slots.last_clock[slots], kind="stable")[:surplus]]
        self._end(oldest, EVICTED, FORGET)
        self.evicted += surplus

    def _end(self, slots: Slot, otherwise: int, fate: int, clock: int | None = None) -> None:
        if len(slots) and len(flows := self._way.end(slots, self._by(otherwise, fate, clock))):
            self._ended.append(flows)

    def _by(self, otherwise: int, fate: int, clock: int | None = None) -> Ending:
        return Ending(self._active_ns, self._clock if clock is None else clock, self._clock, otherwise, fate)

    def _hand_over(self) -> Flows:
        ended, self._ended = self._ended, []
        return together(ended)


def _ns(seconds: float) -> int:
    """Return a time-out in nanoseconds; one of centuries is as good as none, and stays safe to add to a time."""
    return min(int(seconds * SECOND_NS), LATE)
