"""From open flows to records: which are over, why they end, and how they look from the device.

In: slots. Out: `Flows`, and slots that are free again. Never: a look at packets.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from egress_watch.flows.slots import Slot, Slots
from egress_watch.model import END_REASONS, NAME_COLUMNS, Flags, Flows, Ints

END, FIN, RST, IDLE, ACTIVE, EVICTED = range(len(END_REASONS))
FIN_FLAG, RST_FLAG = 1, 4
RELEASE, FORGET, SETTLE = range(3)
"""What becomes of a slot: it is freed, no key points to it; its key goes too; likewise, but for flows that run on."""
LINGER_NS = 5_000_000_000
"""How long a closed TCP connection is kept for its last packets; a new SYN ends it at once."""
_COLUMNS = [field.name for field in fields(Flows) if field.name not in NAME_COLUMNS]


class Ending(NamedTuple):
    """By what flows end."""

    active_ns: int
    clock_ns: int
    """What is over by then ends."""
    now_ns: int
    """The clock of the newest packet."""
    otherwise: int = END
    """The reason where there is no other."""
    fate: int = SETTLE


def due(open_: Slots, by: Ending) -> Slot:
    """Return the slots whose flows are over, in the order in which they began; lay the bounds of the others anew."""
    slots = np.flatnonzero(open_.due < by.clock_ns)
    over = ends(open_, slots, by) != END
    closed = _closed(open_.flags[slots])
    over[closed] = by.clock_ns > open_.last_clock[slots][closed] + LINGER_NS
    open_.due[slots[~over]] = _bound(open_, slots[~over], by)
    return in_order(open_, slots[over])


def end(open_: Slots, slots: Slot, by: Ending) -> Flows:
    """Return records of the flows in these slots, but for those without a packet, and free the slots."""
    reason, counted = ends(open_, slots, by), open_.packets[slots].any(axis=1)
    found = records(open_, slots[counted], reason[counted])
    runs = (reason == ACTIVE) & (by.clock_ns <= open_.last_clock[slots] + open_.idle_ns[slots]) & (by.fate == SETTLE)
    open_.restart(slots[runs])
    open_.due[slots[runs]] = _bound(open_, slots[runs], by)
    (open_.release if by.fate == RELEASE else open_.forget)(slots[~runs])
    return found


def in_order(open_: Slots, slots: Slot) -> Slot:
    """Return the slots in the order in which their flows began."""
    ordered: Slot = slots[np.argsort(open_.serial[slots])]
    return ordered


def ends(open_: Slots, slots: Slot, by: Ending) -> Flags:
    """Return why each flow ends: closed, else by the time-out that came first, else as told."""
    active = open_.first_clock[slots] + by.active_ns
    idle = open_.last_clock[slots] + open_.idle_ns[slots]
    reason = np.where(active <= idle, ACTIVE, IDLE)
    reason[by.clock_ns <= np.minimum(active, idle)] = by.otherwise
    low, high = open_.flags[slots, 0], open_.flags[slots, 1]
    reason[(low & high & FIN_FLAG) > 0] = FIN
    reason[((low | high) & RST_FLAG) > 0] = RST
    return reason.astype(np.uint8)


def _bound(open_: Slots, slots: Slot, by: Ending) -> Ints:
    """Return a clock before which these running flows cannot end; one without a packet yet begins now or later."""
    first = np.minimum(open_.first_clock[slots], by.now_ns)
    bound: Ints = np.minimum(first + by.active_ns, open_.last_clock[slots] + open_.idle_ns[slots])
    closed = _closed(open_.flags[slots])
    bound[closed] = open_.last_clock[slots][closed] + LINGER_NS
    return bound


def _closed(flags: Flags) -> NDArray[np.bool_]:
    """Return where a reset was seen, or a FIN from both ends (RFC 9293, section 3.6)."""
    low, high = flags[:, 0], flags[:, 1]
    return ((low | high) & RST_FLAG | low & high & FIN_FLAG) > 0


def records(open_: Slots, slots: Slot, reason: Flags) -> Flows:
    """Return the flows in these slots, seen from the device."""
    low = open_.device_is_low[slots]
    device, remote = np.where(low, 0, 1), np.where(low, 1, 0)
    key, pair = open_.key[slots], low[:, None]
    ports = key[:, 4] >> 32 & 0xFFFF, key[:, 4] >> 16 & 0xFFFF
    return Flows(
        first_ns=open_.first_ns[slots], last_ns=open_.last_ns[slots],
        device=np.where(pair, key[:, 0:2], key[:, 2:4]), remote=np.where(pair, key[:, 2:4], key[:, 0:2]),
        device_port=np.where(low, *ports).astype(np.uint16), remote_port=np.where(low, *ports[::-1]).astype(np.uint16),
        protocol=(key[:, 4] >> 8).astype(np.uint8), device_mac=open_.mac[slots, device], vlan=open_.vlan[slots],
        packets_out=open_.packets[slots, device], bytes_out=open_.bytes[slots, device],
        packets_in=open_.packets[slots, remote], bytes_in=open_.bytes[slots, remote],
        flags_out=open_.flags[slots, device], flags_in=open_.flags[slots, remote], end_reason=reason,
    )  # fmt: skip


def together(parts: list[Flows]) -> Flows:
    """Return the rows of all parts, one behind the other."""
    if len(parts) <= 1:
        return parts[0] if parts else _NONE
    columns: dict[str, Any] = {n: np.concatenate([getattr(part, n) for part in (_NONE, *parts)]) for n in _COLUMNS}
    return Flows(**columns)


_NONE = records(Slots(1), np.empty(0, np.intp), np.empty(0, np.uint8))
