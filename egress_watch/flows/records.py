"""From open flows to records: why they end, and how they look from the device.

In: slots. Out: `Flows`. Never: a change to a slot.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np

from egress_watch.flows.slots import Slot, Slots
from egress_watch.model import END_REASONS, NAME_COLUMNS, Flags, Flows

END, FIN, RST, IDLE, ACTIVE, EVICTED = range(len(END_REASONS))
FIN_FLAG, RST_FLAG = 1, 4
_COLUMNS = [field.name for field in fields(Flows) if field.name not in NAME_COLUMNS]


def ends(open_: Slots, slots: Slot, active_ns: int, clock_ns: int, otherwise: int) -> Flags:
    """Return why each flow ends: closed, else by the time-out that came first, else ``otherwise``."""
    active = open_.first_clock[slots] + active_ns
    idle = open_.last_clock[slots] + open_.idle_ns[slots]
    reason = np.where(active <= idle, ACTIVE, IDLE)
    reason[clock_ns <= np.minimum(active, idle)] = otherwise
    low, high = open_.flags[slots, 0], open_.flags[slots, 1]
    reason[(low & high & FIN_FLAG) > 0] = FIN
    reason[((low | high) & RST_FLAG) > 0] = RST
    return reason.astype(np.uint8)


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
