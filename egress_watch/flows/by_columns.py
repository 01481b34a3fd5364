"""Take packets into open flows, a column at a time.

In: packets with their clock, and the open flows. Out: the flows brought up to date, and the slots of those that were
cut. Never: a loop per packet, but over the few whose flow may be cut.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from egress_watch.flows.keys import hashes, keys
from egress_watch.flows.records import LINGER_NS, Ending, due, end
from egress_watch.flows.sides import Sides
from egress_watch.flows.slots import LATE, Slot, Slots
from egress_watch.model import Flags, Flows, Ints, Packets

SECOND_NS = 1_000_000_000

FIN, SYN, RST, ACK = 1, 2, 4, 16
IDLE, ACTIVE = 1, 2


class Rest(NamedTuple):
    """Time-outs."""

    active_ns: int
    idle_ns: Ints
    """(256,) By protocol."""


class ByColumns:
    """NumPy's way into the flow table; ``seed`` mixes the hash and never changes a result."""

    def __init__(self, slots: Slots, sides: Sides, rest: Rest, seed: int) -> None:
        self._slots = slots
        self._sides = sides
        self._rest = rest
        self._seed = seed
        self._taken = 0

    def take(self, packets: Packets, clock: Ints) -> Slot:
        """Add the packets to their flows; return the slots of flows that were cut, in order, for the caller to free."""
        key, back = keys(packets, packets.src_port, packets.dst_port)
        mixed = hashes(key, self._seed)
        slot, place = self._slots.find(key, mixed)
        rows = np.flatnonzero(slot < 0)
        place = place[rows]
        while len(rows):
            if self._slots.make_room(len(rows)):
                _, place = self._slots.find(key[rows], mixed[rows])
            begins, opened = self._slots.open(rows, place, key, mixed)
            self._begin(opened, packets, clock, back, begins)
            slot[rows] = self._slots.follow(place, key[rows], mixed[rows])
            rows = rows[slot[rows] < 0]  # those that wanted the place of another key
            slot[rows], place = self._slots.find(key[rows], mixed[rows])
            place, rows = place[slot[rows] < 0], rows[slot[rows] < 0]
        self._mark_closing(packets.tcp_flags, clock, slot)
        cut = self._cut(packets, clock, back, slot)
        if len(cut):
            self._mark_closing(packets.tcp_flags, clock, slot)  # the flows that followed
        self._add(packets, clock, back, slot)
        self._taken += len(packets)
        return cut

    def clock(self, time_ns: Ints, now_ns: int) -> Ints:
        """Return the clock of packets, which never runs backwards; it was ``now_ns`` before."""
        clock = np.minimum(np.maximum(time_ns, now_ns), LATE - 1)
        return np.maximum.accumulate(clock) if (clock[1:] < clock[:-1]).any() else clock

    def due(self, by: Ending) -> Slot:
        """Return the slots whose flows are over, in the order in which they began."""
        return due(self._slots, by)

    def end(self, slots: Slot, by: Ending) -> Flows:
        """Return records of the flows in these slots, but for those without a packet, and free the slots."""
        return end(self._slots, slots, by)

    def _begin(self, slots: Slot, packets: Packets, clock: Ints, back: Flags, rows: Slot) -> None:
        """Set what a flow takes from its first packet."""
        open_, low_sent = self._slots, back[rows] == 0
        open_.serial[slots] = self._taken + rows
        open_.first_clock[slots] = open_.last_clock[slots] = clock[rows]
        open_.first_ns[slots] = packets.time_ns[rows]
        open_.idle_ns[slots] = self._rest.idle_ns[packets.protocol[rows]]
        open_.due[slots] = clock[rows] + np.minimum(open_.idle_ns[slots], self._rest.active_ns)
        src_mac, dst_mac = packets.src_mac[rows], packets.dst_mac[rows]
        open_.mac[slots, 0] = np.where(low_sent, src_mac, dst_mac)
        open_.mac[slots, 1] = np.where(low_sent, dst_mac, src_mac)
        answers = packets.tcp_flags[rows] & (SYN | ACK) == SYN | ACK  # a SYN-ACK comes from the end that did not begin
        low, high = open_.key[slots, 0:2], open_.key[slots, 2:4]
        open_.device_is_low[slots] = self._sides.device_is_low(low, high, low_sent != answers)

    def _add(self, packets: Packets, clock: Ints, back: Flags, slot: Slot) -> None:
        """Add every packet to its flow."""
        open_ = self._slots
        np.add.at(*open_.cells("packets", slot, back), 1)
        np.add.at(*open_.cells("bytes", slot, back), packets.size)
        earlier = np.flatnonzero(packets.time_ns < open_.first_ns[slot])
        np.minimum.at(open_.first_ns, slot[earlier], packets.time_ns[earlier])
        np.maximum.at(open_.last_ns, slot, packets.time_ns)
        open_.last_clock[slot] = (
            clock  # of several packets of a flow the last one stays, and clocks never run backwards
        )
        tagged = np.flatnonzero(packets.vlan != 0)  # ten times as quick as without the comparison
        np.maximum.at(open_.vlan, slot[tagged], packets.vlan[tagged])
        flags, end = open_.cells("flags", slot, back)
        news = np.flatnonzero(packets.tcp_flags & ~flags[end])  # nearly none in a running connection
        np.bitwise_or.at(flags, end[news], packets.tcp_flags[news])

    def _mark_closing(self, flags: Flags, clock: Ints, slot: Slot) -> None:
        rows = np.flatnonzero(flags & (FIN | RST))
        np.minimum.at(self._slots.closing, slot[rows], clock[rows])
        np.minimum.at(self._slots.due, slot[rows], clock[rows] + LINGER_NS)

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
        return ACTIVE if now > first + self._rest.active_ns else 0

    def _doubtful(self, flags: Flags, clock: Ints, slot: Slot) -> Slot:
        """Return the rows of all flows that may be cut within this piece: nearly always few or none."""
        open_ = self._slots
        restarted = np.flatnonzero(open_.first_clock[slot] > clock)  # by a sweep: such a flow runs from its next packet
        np.minimum.at(open_.first_clock, slot[restarted], clock[restarted])
        deadline = np.minimum(
            open_.first_clock[slot] + self._rest.active_ns, open_.last_clock[slot] + open_.idle_ns[slot]
        )
        closing = open_.closing[slot]
        doubt = (clock > deadline) | (clock > closing + LINGER_NS)
        doubt |= (flags & (SYN | ACK) == SYN) & (clock >= closing)
        if not doubt.any():
            return np.empty(0, np.intp)
        marked = np.zeros(len(open_.due), np.bool_)
        marked[slot[doubt]] = True
        rows: Slot = np.flatnonzero(marked[slot])
        return rows
