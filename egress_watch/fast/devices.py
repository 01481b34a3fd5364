"""What devices say of themselves, found by the accelerator.

In: packets, and the tables that tell who may want one. Out: those that may say something, many at once: what is needed
to read them is then at hand. Never: a look at what they say.
"""

from __future__ import annotations

from ctypes import byref, c_int64
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from egress_watch.fast.layout import DeviceSift, place_of
from egress_watch.model import Flags, Ints, Packets, Ports, Words

ROOM = 1 << 11
TEXT_BYTES = 1 << 20


class Said(NamedTuple):
    """Packets in which devices may say what they are; columns of length n."""

    kind: Flags
    """The kind of a UDP port, or 128 and more: with which of the starts a TCP payload begins."""
    time_ns: Ints
    mac: Words
    src: Words
    """(n, 2)"""
    vlan: Ports
    payload: list[bytes]


class DeviceTables(NamedTuple):
    """Who may want a packet."""

    ports: Flags
    """(65536,) The kinds by UDP port, 0 for none."""
    first: Flags
    """(256,) 1 for the first bytes of what TCP may begin with."""
    starts: NDArray[np.uint32]
    """And its first four bytes, as they lie in memory."""
    most_bytes: int
    """Of a payload, no more is looked at."""


class DeviceFinder:
    """The accelerator's sieve, with room of its own that is used for every batch."""

    def __init__(self, sift: Any, tables: DeviceTables) -> None:
        self._sift, self._tables = sift, tables  # their memory must not go
        self._out: dict[str, NDArray[Any]] = {
            "kind": np.empty(ROOM, np.uint8), "time_ns": np.empty(ROOM, np.int64), "mac": np.empty(ROOM, np.uint64),
            "src": np.empty((ROOM, 2), np.uint64), "vlan": np.empty(ROOM, np.uint16), "end": np.empty(ROOM, np.int64),
            "text": np.empty(TEXT_BYTES, np.uint8),
        }  # fmt: skip
        ports, first, starts, most_bytes = tables
        given = (place_of(ports), place_of(first), place_of(starts), len(starts), ROOM, TEXT_BYTES, most_bytes)
        self._struct = DeviceSift(*given, **{name: place_of(column) for name, column in self._out.items()})

    def find(self, packets: Packets, at: int) -> int:
        """Look at the packets that are marked, from number ``at`` on; return how far there was room for what was found.

        Where there are no marks, all are looked at.
        """
        struct = self._struct
        struct.data, struct.size, struct.packets = place_of(packets.data), len(packets.data), len(packets)
        mark = np.ascontiguousarray(packets.mark)
        struct.mark = place_of(mark) if len(mark) else None
        kept = [np.ascontiguousarray(getattr(packets, name), kind) for name, (_, kind) in _COLUMNS.items()]
        for (name, _), column in zip(_COLUMNS.values(), kept, strict=True):
            setattr(struct, name, place_of(column))
        done: int = self._sift(byref(struct), c_int64(at))
        return done

    def take(self) -> Said:
        """Return what was found since the last call."""
        struct, out = self._struct, self._out
        count, text = struct.count, out["text"][: struct.text_bytes].tobytes()
        ends = out["end"][:count].tolist()
        payload = [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]
        struct.count = struct.text_bytes = 0
        kind, time_ns, mac, src, vlan = (
            out[name][:count].copy() for name in ("kind", "time_ns", "mac", "src", "vlan")
        )  # fmt: skip
        return Said(kind, time_ns, mac, src, vlan, payload)


_COLUMNS: dict[str, tuple[str, type[np.generic]]] = {
    "src_mac": ("src_mac", np.uint64), "src": ("src_word", np.uint64), "vlan": ("packet_vlan", np.uint16),
    "src_port": ("src_port", np.uint16), "dst_port": ("dst_port", np.uint16), "protocol": ("protocol", np.uint8),
    "fragment": ("fragment", np.uint8), "payload": ("payload", np.int64), "payload_bytes": ("payload_bytes", np.int64),
    "time_ns": ("packet_ns", np.int64),
}  # fmt: skip
"""The columns of `model.Packets` that are looked at, by what they are called in `DeviceSift`."""
