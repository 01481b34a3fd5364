"""Plain frames first: what nearly all frames are is read at once, and only the others go through the walk.

In: frames. Out: packets of the plain ones, and which are left; in the end all packets in the order of the frames.
Never: an answer that differs from the walk's. A plain frame is Ethernet with or without VLAN tags, a whole IPv4 or IPv6
header without extension, no fragment, and TCP, UDP or ICMP.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from operator import is_
from typing import Any

import numpy as np

from egress_watch.decode.carriers import Tables
from egress_watch.decode.columns import Rows
from egress_watch.decode.plain import VLAN, plain
from egress_watch.decode.reasons import tally
from egress_watch.fast import accelerator
from egress_watch.model import Easy, EasyTables, Flags, Frames, Packets

Walked = Callable[[Frames, Tables], tuple[Packets, Rows]]
"""Reads frames of any kind; returns the packets, and which frame each came from."""

OTHERS = 2


def kinds(readers: Mapping[int, object], vlan: object, others: tuple[int, ...]) -> Flags:
    """Return (65536,) what becomes of each EtherType, from the table of its readers; ``others`` are left too."""
    table = np.zeros(1 << 16, np.uint8)
    for kind, reader in readers.items():
        if kind < len(table):
            table[kind] = VLAN if reader is vlan else OTHERS
    table[list(others)] = OTHERS
    return table


def plain_first(frames: Frames, kinds: Flags, tables: Tables, walked: Walked) -> Packets:
    """Return the packets of all frames: the plain ones at once, the others as ``walked`` reads them."""
    by = easy_tables(kinds, tables)
    easy = frames.easy if frames.easy and _is_of(frames.easy, frames, by) else _easy(frames, by)
    skipped = tally(easy.reason)
    if not len(easy.left):
        columns: dict[str, Any] = easy.columns
        return Packets(data=frames.data, skipped=skipped, **columns)
    packets, kept = walked(_pick(frames, easy.left), tables)
    for reason, count in packets.skipped.items():
        skipped[reason] = skipped.get(reason, 0) + count
    return replace(packets, skipped=skipped, **_woven(easy, packets, kept))


def easy_tables(kinds: Flags, tables: Tables) -> EasyTables:
    """Return how plain frames are read, from the table of EtherTypes."""
    return EasyTables(kinds, tables.busy, tables.prints, tables.marks)


def _is_of(easy: Easy, frames: Frames, by: EasyTables) -> bool:
    """Return whether this was read of these very frames, by the same tables."""
    return easy.start is frames.start and easy.by is not None and all(map(is_, easy.by, by))


def _easy(frames: Frames, by: EasyTables) -> Easy:
    fast = accelerator()
    return fast.frames(frames, by) if fast else plain(frames, by.kinds, by.ports, prints=by.prints, marks=by.marks)


def _pick(frames: Frames, rows: Rows) -> Frames:
    names = ("start", "caught", "wire", "time_ns", "link", "interface")
    return replace(frames, **{name: getattr(frames, name)[rows] for name in names})


def _woven(easy: Easy, packets: Packets, kept: Rows) -> dict[str, Any]:
    """Return the columns with the packets that were left in their places, and without the places of what was none."""
    place = easy.place[kept]
    for name, column in easy.columns.items():
        column[place] = getattr(packets, name)
    if len(kept) == len(easy.left):
        return dict(easy.columns)
    there = np.ones(len(easy.columns["time_ns"]), np.bool_)
    there[np.delete(easy.place, kept)] = False
    rows = np.flatnonzero(there)
    return {name: column[rows] for name, column in easy.columns.items()}
