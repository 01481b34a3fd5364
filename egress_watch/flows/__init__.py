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
from numpy.typing import NDArray

from egress_watch.flows.fragments import Fragments, joined, take
from egress_watch.flows.keys import hashes, keys, same
from egress_watch.flows.records import ACTIVE, END, EVICTED, IDLE, ends, records, together
from egress_watch.flows.sides import Sides
from egress_watch.flows.slots import LATE, Slot, Slots
from egress_watch.model import Flags, Flows, Ints, Packets

SECOND_NS = 1_000_000_000
SWEEP_PACKETS = 1 << 15
LINGER_NS = 5 * SECOND_NS
"""How long a closed TCP connection is kept for its last packets; a new SYN ends it at once."""

TCP = 6
FIN, SYN, RST, ACK = 1, 2, 4, 16


class FlowTable:
    """Open flows by key.

    ``networks`` are the user's own; time-outs in seconds; ``limit`` bounds the open flows (the ones silent longest are
    evicted, and counted); ``seed`` mixes the hash and never changes a result.
    """

    def __init__(
        self, networks: Sequence[str] = (), *, active_s: float = 300, idle_s: float = 60, tcp_idle_s: float = 600,
        limit: int = 1_000_000, seed: int = 0,
    ) -> None:  # fmt: skip
        self._sides = Sides(networks)
        self._active_ns = _ns(active_s)
        self._idle_ns = np.full(256, _ns(idle_s), np.int64)
        self._idle_ns[TCP] = _ns(tcp_idle_s)
        self._limit = limit
        self._seed = seed
        self._slots = Slots()
        self._fragments = Fragments()
        self._clock = -LATE
        self._count = 0
        self._taken = 0
        self._ended: list[Flows] = []
        self.evicted = 0

    def __len__(self) -> int:
        """Return the number of open flows."""
        return len(self._slots)

    @property
    def late_fragments(self) -> int:
        """Later fragments whose first fragment never came; they are in flows without ports."""
        return self._fragments.unclaimed

    def update(self, packets: Packets) -> Flows:
        """Take the packets in and return the flows that ended meanwhile, in the order in which they ended."""
        for piece in self._pieces(packets):
            clock = np.maximum.accumulate(np.clip(piece.time_ns, self._clock, LATE - 1))
            self._clock = int(clock[-1])
            self._take(*self._fragments.settle(piece, clock))
            self._count += len(piece)
            if self._count % SWEEP_PACKETS == 0:
                self._sweep()
        return self._hand_over()

    def flush(self) -> Flows:
        """Return all flows that are still open: the input has ended."""
        if rest := self._fragments.rest():
            packets = joined(rest)
            self._take(packets, np.full(len(packets), self._clock))
        slots = self._in_order(np.flatnonzero(self._slots.live))
        self._end(slots, self._reason(slots, END))
        self._slots.forget(slots)
        return self._hand_over()

    def _pieces(self, packets: Packets) -> Iterator[Packets]:
        """Cut the packets where the count of all packets so far reaches a multiple of SWEEP_PACKETS."""
        at = 0
        while at < len(packets):
            stop = min(len(packets), at + SWEEP_PACKETS - self._count % SWEEP_PACKETS)
            yield take(packets, slice(at, stop))
            at = stop

    def _take(self, packets: Packets, clock: Ints) -> None:
        if not len(packets):
            return
        key, back = keys(packets, packets.src_port, packets.dst_port)
        mixed = hashes(key, self._seed)
        slot = self._slots.find(key, mixed)
        fresh = np.flatnonzero(slot < 0)
        while len(fresh):
            fresh = self._open(packets, clock, back, key, mixed, slot, fresh)
        cut = self._cut(packets, clock, back, slot)
        self._add(packets, clock, back, slot)
        if len(cut):
            self._end(cut, self._reason(cut, IDLE))
            self._slots.release(cut)
        self._taken += len(packets)

    def _open(
        self, packets: Packets, clock: Ints, back: Flags, key: NDArray[np.uint64], mixed: NDArray[np.uint64],
        slot: Slot, rows: Slot,
    ) -> Slot:  # fmt: skip
        """Open a flow for the first packet of each new hash; return the rows of other keys that share a hash."""
        _, first, group = np.unique(mixed[rows], return_index=True, return_inverse=True)
        order = np.argsort(first)  # slots are given in order of arrival, so that nothing depends on the seed
        begins = rows[first[order]]
        opened = self._slots.open(key[begins], mixed[begins])
        self._begin(opened, packets, clock, back, begins)
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        match = same(key[rows], key[rows[first]][group])
        slot[rows[match]] = opened[rank[group[match]]]
        others: Slot = rows[~match]
        return others

    def _begin(self, slots: Slot, packets: Packets, clock: Ints, back: Flags, rows: Slot) -> None:
        """Set what a flow takes from its first packet."""
        open_, low_sent = self._slots, back[rows] == 0
        open_.serial[slots] = self._taken + rows
        open_.first_clock[slots] = open_.last_clock[slots] = clock[rows]
        open_.idle_ns[slots] = self._idle_ns[packets.protocol[rows]]
        src_mac, dst_mac = packets.src_mac[rows], packets.dst_mac[rows]
        open_.mac[slots, 0] = np.where(low_sent, src_mac, dst_mac)
        open_.mac[slots, 1] = np.where(low_sent, dst_mac, src_mac)
        answers = packets.tcp_flags[rows] & (SYN | ACK) == SYN | ACK  # a SYN-ACK comes from the end that did not begin
        low, high = open_.key[slots, 0:2], open_.key[slots, 2:4]
        open_.device_is_low[slots] = self._sides.device_is_low(low, high, low_sent != answers)

    def _add(self, packets: Packets, clock: Ints, back: Flags, slot: Slot) -> None:
        """Add every packet to its flow."""
        open_, end = self._slots, 2 * slot + back
        np.add.at(open_.packets.reshape(-1), end, 1)
        np.add.at(open_.bytes.reshape(-1), end, packets.size)
        np.minimum.at(open_.first_ns, slot, packets.time_ns)
        np.maximum.at(open_.last_ns, slot, packets.time_ns)
        np.maximum.at(open_.last_clock, slot, clock)
        tagged = np.flatnonzero(packets.vlan)
        np.maximum.at(open_.vlan, slot[tagged], packets.vlan[tagged])
        flags = open_.flags.reshape(-1)
        news = np.flatnonzero(packets.tcp_flags & ~flags[end])  # nearly none in a running connection
        np.bitwise_or.at(flags, end[news], packets.tcp_flags[news])
        self._mark_closing(packets.tcp_flags, clock, slot)

    def _mark_closing(self, flags: Flags, clock: Ints, slot: Slot) -> None:
        rows = np.flatnonzero(flags & (FIN | RST))
        np.minimum.at(self._slots.closing, slot[rows], clock[rows])

    def _cut(self, packets: Packets, clock: Ints, back: Flags, slot: Slot) -> Slot:
        """Give packets that begin a new flow of an old key a new slot; return the slots that ended, in order."""
        cuts: list[tuple[int, int, int, int]] = []
        state: dict[int, list[int]] = {}
        rows, flags = self._doubtful(packets.tcp_flags, clock, slot), packets.tcp_flags
        for row, key in zip(rows.tolist(), slot[rows].tolist(), strict=True):
            flow = state.get(key) or state.setdefault(key, self._state(key))
            now, seen = int(clock[row]), int(flags[row])
            if how := self._over(flow, now, seen):
                new = int(self._slots.reserve(1)[0])
                self._slots.succeed(flow[0], new)
                cuts.append((flow[0], new, row, how))
                flow[:] = [new, now, now, flow[3], 0, 0]
            flow[1], flow[2] = min(flow[1], now), now
            flow[4 + back[row]] |= seen
            slot[row] = flow[0]
        return self._succeed(cuts, packets, clock, back)

    def _succeed(self, cuts: list[tuple[int, int, int, int]], packets: Packets, clock: Ints, back: Flags) -> Slot:
        """Begin the flows that follow a cut; one cut while it ran keeps its device side."""
        if not cuts:
            return np.empty(0, np.intp)
        old: Slot
        old, new, rows, _ = np.array(cuts, np.intp).T
        self._begin(new, packets, clock, back, rows)
        for before, after, _, how in cuts:
            if how == ACTIVE:
                self._slots.device_is_low[after] = self._slots.device_is_low[before]
        return old

    def _state(self, slot: int) -> list[int]:
        """Return slot, first and last clock, idle time-out, and the flags of both ends, as plain integers."""
        open_ = self._slots
        clocks = (int(open_.first_clock[slot]), int(open_.last_clock[slot]), int(open_.idle_ns[slot]))
        return [slot, *clocks, *open_.flags[slot].tolist()]

    def _over(self, flow: list[int], now: int, seen: int) -> int:
        """Return how the flow has ended before this packet (IDLE or ACTIVE), 0 where it goes on."""
        _, first, last, idle, low, high = flow
        if (low | high) & RST or low & high & FIN:
            return IDLE if now > last + LINGER_NS or seen & (SYN | ACK) == SYN else 0
        if now > last + idle:
            return IDLE
        return ACTIVE if now > first + self._active_ns else 0

    def _doubtful(self, flags: Flags, clock: Ints, slot: Slot) -> Slot:
        """Return the rows of all flows that may be cut within this piece: nearly always few or none."""
        open_ = self._slots
        self._mark_closing(flags, clock, slot)
        np.minimum.at(open_.first_clock, slot, clock)  # a flow restarted by a sweep runs from its next packet
        closing = open_.closing[slot]
        deadline = np.minimum(open_.first_clock[slot] + self._active_ns, open_.last_clock[slot] + open_.idle_ns[slot])
        doubt = (clock > deadline) | (clock > closing + LINGER_NS)
        doubt |= (flags & (SYN | ACK) == SYN) & (clock >= closing)
        if not doubt.any():
            return np.empty(0, np.intp)
        marked = np.zeros(len(open_.live), np.bool_)
        marked[slot[doubt]] = True
        rows: Slot = np.flatnonzero(marked[slot])
        return rows

    def _reason(self, slots: Slot, otherwise: int) -> Flags:
        """Return why these flows end: closed, else by the time-out that came first, else as told."""
        return ends(self._slots, slots, self._active_ns, self._clock, otherwise)

    def _in_order(self, slots: Slot) -> Slot:
        """Return the slots in the order in which their flows began."""
        ordered: Slot = slots[np.argsort(self._slots.serial[slots])]
        return ordered

    def _sweep(self) -> None:
        """End what has timed out by now, and the flows silent longest where the table is too full."""
        open_ = self._slots
        slots = np.flatnonzero(open_.live)
        reason = self._reason(slots, END)
        over = reason != END
        closed = _closed(open_.flags[slots])
        over[closed] = self._clock > open_.last_clock[slots][closed] + LINGER_NS
        silent = self._clock > open_.last_clock[slots] + open_.idle_ns[slots]
        runs = over & (reason == ACTIVE) & ~silent
        ended = self._in_order(slots[over])
        self._end(ended, self._reason(ended, END))
        open_.restart(slots[runs])
        open_.forget(slots[over & ~runs])
        self._evict()

    def _evict(self) -> None:
        surplus = len(self._slots) - self._limit
        if surplus <= 0:
            return
        slots = self._in_order(np.flatnonzero(self._slots.live))
        oldest = slots[np.argsort(self._slots.last_clock[slots], kind="stable")[:surplus]]
        self._end(oldest, self._reason(oldest, EVICTED))
        self._slots.forget(oldest)
        self.evicted += surplus

    def _end(self, slots: Slot, reason: Flags) -> None:
        counted = self._slots.packets[slots].any(axis=1)
        if counted.any():
            self._ended.append(records(self._slots, slots[counted], reason[counted]))

    def _hand_over(self) -> Flows:
        ended, self._ended = self._ended, []
        return together(ended)


def _ns(seconds: float) -> int:
    """Return a time-out in nanoseconds; one of centuries is as good as none, and stays safe to add to a time."""
    return min(int(seconds * SECOND_NS), LATE)


def _closed(flags: Flags) -> NDArray[np.bool_]:
    """Return where a reset was seen, or a FIN from both ends (RFC 9293, section 3.6)."""
    low, high = flags[:, 0], flags[:, 1]
    return ((low | high) & RST | low & high & FIN) > 0
