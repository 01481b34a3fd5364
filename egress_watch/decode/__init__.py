"""Frames become packets.

In: `Frames`. Out: `Packets`, and every other frame counted under a name. Never: an exception, a clock, or a guess.

To add a link type: one function in `link`, `wan` or `wireless` and one line in the table of `linktypes`. To add what
stands between the link and IP: the same in `tags`. To add a tunnel or a mirror: the same in `tunnels` and `carriers`.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from egress_watch.decode import carriers, link, network, reasons
from egress_watch.decode.carriers import Policy, Tables
from egress_watch.decode.columns import DONE, Rows, Walk
from egress_watch.decode.fast import easy_tables, kinds, plain_first
from egress_watch.decode.linktypes import LINKS, WRAPPED
from egress_watch.decode.marks import marks
from egress_watch.decode.prints import fingerprint
from egress_watch.decode.tags import TAGS, vlan
from egress_watch.decode.transport import transport
from egress_watch.fast import accelerator
from egress_watch.model import NO_BEACONS, NO_MARKS, NO_PRINTS, Beacons, EasyTables, Frames, Packets

MOST_TAGS = 16
"""Tags and labels in front of one IP header; more is an attack or a loop."""
MOST_TUNNELS = 8
"""Tunnels and mirrors around one packet."""
MIRRORS = Tables(Policy())
"""What is opened where nobody asked for anything else."""
KINDS = kinds(TAGS, vlan, (link.IPV4, link.IPV6, reasons.LLDP))


def decode(frames: Frames, tables: Tables = MIRRORS) -> Packets:
    """Return the IP packets in these frames, in their order, and count the rest by reason.

    ``tables`` say which mirrors and tunnels are opened (see `carriers`).
    """
    return plain_first(frames, KINDS, tables, walked)


def easily(tables: Tables) -> EasyTables | None:
    """Return how a source may read plain frames on their way in, None where there is no accelerator for that."""
    return easy_tables(KINDS, tables) if accelerator() else None


def walked(frames: Frames, tables: Tables) -> tuple[Packets, Rows]:
    """Return the packets in frames of any kind, and which frame each came from."""
    walk = Walk.over(frames)
    _links(walk, frames)
    rows = _ip(walk, tables)
    unwrapped = _unwrap(walk, tables) if tables.opens else {}
    keep = np.flatnonzero(walk.reason == 0) if unwrapped else rows
    return _packets(walk, frames, keep, unwrapped, tables), keep


def _ip(walk: Walk, tables: Tables) -> Rows:
    """Read on to the transport header; return the rows that are packets."""
    _tags(walk)
    network.ipv4(walk, np.flatnonzero(walk.next == link.IPV4))
    network.ipv6(walk, np.flatnonzero(walk.next == link.IPV6))
    rows = np.flatnonzero(walk.next != DONE)
    network.extensions(walk, rows)
    if tables.prints:
        fingerprint(walk, slice(None) if 2 * len(rows) > len(walk.next) else rows)
    transport(walk, rows)
    return rows


def _unwrap(walk: Walk, tables: Tables) -> dict[str, int]:
    """Open mirrors and tunnels from the outside in; return how many packets came out of each kind."""
    found: Counter[str] = Counter()
    for _ in range(MOST_TUNNELS):
        rows, carrier = carriers.carried(walk, tables)
        if not len(rows):
            return dict(found)
        opened = carriers.enter(walk, rows, carrier)
        _ip(walk, tables)
        opened = carriers.close(walk, opened, carriers.unread(walk, opened, tables))
        found.update(carriers.CARRIERS[number].name for number in opened.carrier.tolist())
    walk.skip(carriers.carried(walk, tables)[0], reasons.TOO_WRAPPED)
    return dict(found)


def _links(walk: Walk, frames: Frames) -> None:
    """Send every frame through the reader of its link type."""
    one = len(frames) and (frames.link == frames.link[0]).all()  # nearly always
    for kind in np.unique(frames.link[:1] if one else frames.link).tolist():
        rows = np.flatnonzero(frames.link == kind)
        if reader := LINKS.get(kind) or WRAPPED.get(kind):
            reader(walk, rows)
        else:
            walk.skip(rows, reasons.LINK + kind)


def _tags(walk: Walk) -> None:
    """Follow tags until only IP is left; what else is announced becomes its own reason."""
    for _ in range(MOST_TAGS + 1):
        rows = _pending(walk)
        if not len(rows):
            return
        for kind in np.unique(walk.next[rows]).tolist():
            here = rows[walk.next[rows] == kind]
            if kind in TAGS:
                TAGS[kind](walk, here)
            else:
                walk.skip(here, kind)
    walk.skip(_pending(walk), reasons.TOO_DEEP)


def _pending(walk: Walk) -> Rows:
    kind = walk.next
    return np.flatnonzero((kind != link.IPV4) & (kind != link.IPV6) & (kind != DONE))


def _packets(walk: Walk, frames: Frames, keep: Rows, unwrapped: dict[str, int], tables: Tables) -> Packets:
    protocol, ports = walk.protocol[keep], (walk.src_port[keep], walk.dst_port[keep])
    payload, payload_bytes = walk.at[keep], walk.payload_bytes[keep]
    return Packets(
        data=frames.data, time_ns=frames.time_ns[keep], src_mac=walk.src_mac[keep], dst_mac=walk.dst_mac[keep],
        vlan=walk.vlan[keep], version=walk.version[keep], src=walk.src[keep], dst=walk.dst[keep],
        src_port=ports[0], dst_port=ports[1], protocol=protocol,
        tcp_flags=walk.tcp_flags[keep], size=walk.size[keep], fragment=walk.fragment[keep],
        fragment_id=walk.fragment_id[keep], payload=payload, payload_bytes=payload_bytes,
        print=walk.print[keep] if tables.prints else NO_PRINTS,
        mark=marks(tables.marks, frames.data, protocol, ports, payload, payload_bytes) if tables.marks else NO_MARKS,
        skipped=reasons.tally(walk.reason), unwrapped=unwrapped, beacons=_beacons(walk, frames),
    )  # fmt: skip


def _beacons(walk: Walk, frames: Frames) -> Beacons:
    """Return the LLDP frames; each stands behind its EtherType, where it was given up."""
    rows = np.flatnonzero(walk.reason == reasons.LLDP)
    if not len(rows):
        return NO_BEACONS
    return Beacons(frames.time_ns[rows], walk.src_mac[rows], walk.vlan[rows], walk.at[rows], walk.end[rows])
