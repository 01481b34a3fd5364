"""Take packets into open flows with the accelerator.

In: packets with their clock, and the open flows. Out: the flows brought up to date, the slots of those that were cut or
are over, and their records. Never: an answer that differs from that of `by_columns`.
"""

from __future__ import annotations

from ctypes import addressof
from typing import Any

import numpy as np
from numpy.typing import NDArray

from egress_watch.fast import Accelerator
from egress_watch.fast.layout import FlowEnds, FlowPiece, place_of
from egress_watch.flows.by_columns import Rest
from egress_watch.flows.records import LINGER_NS, Ending
from egress_watch.flows.sides import Sides
from egress_watch.flows.slots import ROW, Slot, Slots
from egress_watch.model import Flows, Ints, Packets

COLUMNS = {
    "time_ns": np.int64, "src_mac": np.uint64, "dst_mac": np.uint64, "vlan": np.uint16, "version": np.uint8,
    "src": np.uint64, "dst": np.uint64, "src_port": np.uint16, "dst_port": np.uint16, "protocol": np.uint8,
    "tcp_flags": np.uint8, "size": np.int64,
}  # fmt: skip
"""The columns of `model.Packets` that a flow is made of."""

RECORD: dict[str, type[np.generic]] = {
    "first_ns": np.int64, "last_ns": np.int64, "device": np.uint64, "remote": np.uint64, "device_port": np.uint16,
    "remote_port": np.uint16, "protocol": np.uint8, "device_mac": np.uint64, "vlan": np.uint16,
    "packets_out": np.int64, "bytes_out": np.int64, "packets_in": np.int64, "bytes_in": np.int64,
    "flags_out": np.uint8, "flags_in": np.uint8, "end_reason": np.uint8,
}  # fmt: skip
"""Column of `model.Flows` to its kind."""
PAIRS = ("device", "remote")
"""Columns of two words a row."""


class Compiled:
    """The accelerator's way into the flow table; ``seed`` mixes the hash and never changes a result."""

    def __init__(self, fast: Accelerator, slots: Slots, sides: Sides, rest: Rest, seed: int) -> None:
        assert fast.row_bytes == ROW.itemsize
        self._fast = fast
        self._slots = slots
        self._rest = rest  # its memory must not go
        self._seed = seed
        self._taken = 0
        self._laid: tuple[NDArray[Any], ...] = (np.empty(0), np.empty(0))
        self._networks = [np.ascontiguousarray(blocks) for blocks in sides.blocks]
        self._piece = FlowPiece(
            seed=seed, active_ns=rest.active_ns, linger_ns=LINGER_NS, idle_ns=place_of(rest.idle_ns)
        )  # fmt: skip
        for name, blocks in zip(("private", "own", "group"), self._networks, strict=True):
            setattr(self._piece, name, place_of(blocks))
            setattr(self._piece, f"{name}_count", len(blocks))

    def take(self, packets: Packets, clock: Ints) -> Slot:
        """Add the packets to their flows; return the slots of flows that were cut, in order, for the caller to free."""
        columns = {name: np.ascontiguousarray(getattr(packets, name), kind) for name, kind in COLUMNS.items()}
        columns |= {"clock": np.ascontiguousarray(clock), "cut": np.empty(len(packets), np.int64)}
        piece = self._piece
        piece.taken, piece.packets, piece.cut_count = self._taken, len(packets), 0
        for name, column in columns.items():
            setattr(piece, name, place_of(column))
        self._run(piece, len(packets))
        self._taken += len(packets)
        return columns["cut"][: piece.cut_count]

    def clock(self, time_ns: Ints, now_ns: int) -> Ints:
        """Return the clock of packets, which never runs backwards; it was ``now_ns`` before."""
        return self._fast.clock(time_ns, now_ns)

    def due(self, by: Ending) -> Slot:
        """Return the slots whose flows are over, in the order in which they began."""
        slots = self._slots
        self._lay(self._piece)
        slot, serial = np.empty((2, len(slots.due)), np.int64)
        ends = FlowEnds(addressof(self._piece), by.clock_ns, by.now_ns, by.otherwise, by.fate)
        ends.slot, ends.serial = place_of(slot), place_of(serial)
        self._fast.due(ends, len(slots.due))
        ordered: Slot = slot[: ends.count][np.argsort(serial[: ends.count])]
        return ordered

    def end(self, slots: Slot, by: Ending) -> Flows:
        """Return records of the flows in these slots, but for those without a packet, and free the slots."""
        self._lay(self._piece)
        count, slot = len(slots), np.ascontiguousarray(slots, np.int64)
        columns: dict[str, Any] = {
            name: np.empty((count, 2) if name in PAIRS else count, kind) for name, kind in RECORD.items()
        }
        ends = FlowEnds(addressof(self._piece), by.clock_ns, by.now_ns, by.otherwise, by.fate, place_of(slot))
        for name, column in columns.items():
            setattr(ends, name, place_of(column))
        ends.count = count
        records = self._fast.end(ends)
        self._slots.freed(self._piece.free_count, ends.forgotten)
        return Flows(**{name: column[:records] for name, column in columns.items()})

    def _lay(self, piece: FlowPiece) -> None:
        """Say where the open flows lie."""
        slots = self._slots
        if self._laid[0] is not slots.rows or self._laid[1] is not slots.index:
            self._laid = slots.rows, slots.index  # the other columns change along with these
            piece.rows, piece.due, piece.index = map(place_of, (slots.rows, slots.due, slots.index))
            piece.free, piece.index_size = place_of(slots.free), len(slots.index)
        piece.free_count, piece.used = slots.free_count, slots.used

    def _run(self, piece: FlowPiece, count: int) -> None:
        """Go through the packets, making room whenever it runs out."""
        slots, at = self._slots, 0
        while True:
            self._lay(piece)
            at = self._fast.flows(piece, at)
            slots.free_count = piece.free_count
            if at == count:
                return
            slots.make_room(1)
