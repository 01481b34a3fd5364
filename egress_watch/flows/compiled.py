"""Take packets into open flows with the accelerator.

In: packets with their clock, and the open flows. Out: the flows brought up to date, and the slots of those that were
cut. Never: an answer that differs from that of `by_columns`.
"""

from __future__ import annotations

import numpy as np

from egress_watch.fast import Accelerator
from egress_watch.fast.layout import FlowPiece, place_of
from egress_watch.flows.by_columns import LINGER_NS, Rest
from egress_watch.flows.sides import Sides
from egress_watch.flows.slots import ROW, Slot, Slots
from egress_watch.model import Ints, Packets

COLUMNS = {
    "time_ns": np.int64, "src_mac": np.uint64, "dst_mac": np.uint64, "vlan": np.uint16, "version": np.uint8,
    "src": np.uint64, "dst": np.uint64, "src_port": np.uint16, "dst_port": np.uint16, "protocol": np.uint8,
    "tcp_flags": np.uint8, "size": np.int64,
}  # fmt: skip
"""The columns of `model.Packets` that a flow is made of."""


class Compiled:
    """The accelerator's way into the flow table; ``seed`` mixes the hash and never changes a result."""

    def __init__(self, fast: Accelerator, slots: Slots, sides: Sides, rest: Rest, seed: int) -> None:
        assert fast.row_bytes == ROW.itemsize
        self._fast = fast
        self._slots = slots
        self._rest = rest  # its memory must not go
        self._seed = seed
        self._taken = 0
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

    def _run(self, piece: FlowPiece, count: int) -> None:
        """Go through the packets, making room whenever it runs out."""
        slots, at = self._slots, 0
        while at < count:
            slots.make_room(1)
            piece.rows, piece.due, piece.index = map(place_of, (slots.rows, slots.due, slots.index))
            piece.free, piece.index_size = place_of(slots.free), len(slots.index)
            piece.free_count, piece.used = slots.free_count, slots.used
            at = self._fast.flows(piece, at)
            slots.free_count = piece.free_count
